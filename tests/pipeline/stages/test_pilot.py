"""The stage `pilot`: its choice is that of a plain search over the library's scores, and the run is scored by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import spearmanr

from genuq import files
from genuq.analysis.evaluation_entries import SettingEntry, read_evaluation
from genuq.errors import ArtefactError, ConfigurationError
from genuq.pipeline import preflight
from genuq.pipeline.columns import WATCHED
from genuq.pipeline.configured import build_sampler, open_model
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages.pilot import Pilot, check_pilot, counted_settings, measure, read_pilot, settled
from genuq.pipeline.stages.probe import probe_inputs
from genuq.randomness import key
from genuq.scores import Resources, path_disagreement, watch
from genuq.store.shards import read_shards, shard_name
from support.programs import command
from support.small_runs import EXACT, copied, launch, run_of

SCORE = ["score=path_disagreement", "score.path_points=[0.2,0.6,1.0]", "score.also=[]", "score.controls=[random]"]
STAGES = "stages=[fit,pilot,sample,probe]"
BUDGET = [*EXACT, *SCORE, STAGES, "posterior.draws=3", "score.budget=1.6", "score.pilot=40"]


@pytest.fixture(scope="module")
def chosen(exact_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose pilot has 40 samples, in batches of 20, and at most 3.6 evaluations a sample beside the 6."""
    folder = copied(exact_run, tmp_path_factory.mktemp("chosen") / "exact")
    launch(folder, *BUDGET)
    return run_of(folder, *BUDGET)


def plain_scores(run: Run, setting: dict) -> tuple[np.ndarray, float]:
    """The scores and evaluations of the pilot's samples at one setting, by the library alone."""
    model = open_model(run)
    resources = Resources({"draws": load_posterior(run.path("fit"), model)}, 3, run.config.seed)
    sampler = replace(build_sampler(run), seed=key(run.config.seed, 0, "pilot") % 2**32)
    function = {"one": lambda path: path_disagreement(path, tuple(setting["points"]), setting["members"])}
    found = watch(model, sampler, range(40), {}, path_scores=function, resources=resources)
    return found.scores["one"].numpy(), 1 + found.evaluations["one"] / found.evaluations["sampling"]


def test_the_choice_is_that_of_a_plain_search(chosen: Run) -> None:
    entry = read_pilot(chosen.path("pilot"))
    assert len(entry.settings) == 7 * 3 and entry.samples == 40
    full, _ = plain_scores(chosen, dict(entry.settings[-1].setting))
    best, most = None, -2.0
    for row in entry.settings:
        values, cost = plain_scores(chosen, dict(row.setting))
        agreement = float(spearmanr(values, full).statistic)
        assert row.cost == pytest.approx(cost) and row.spearman.value == pytest.approx(agreement, abs=1e-9)
        if cost <= 1.6 and (agreement > most + 1e-9 or (agreement > most - 1e-9 and cost < best.cost)):
            best, most = row, agreement
    assert best is not None and entry.chosen == best
    assert entry.chosen.spearman.low < entry.chosen.spearman.value < 1 and entry.held_out <= 1
    notes = files.read_json(chosen.path("pilot") / "manifest.json")["notes"]
    assert notes["chosen"] == dict(entry.chosen.setting) and notes["cost"] == entry.chosen.cost <= 1.6


def test_costs_are_known_before_the_pilot(chosen: Run) -> None:
    entry = read_pilot(chosen.path("pilot"))
    assert [cost for _, cost in counted_settings(chosen)] == pytest.approx([row.cost for row in entry.settings])


def test_the_run_is_scored_as_one_that_asked_for_the_setting(chosen: Run, tmp_path: Path) -> None:
    """Bit for bit; and that one has no pilot, and the place that it had before there were pilots."""
    setting = read_pilot(chosen.path("pilot")).chosen.setting
    folder = copied(chosen.folder, tmp_path / "exact")
    asked = [*EXACT, *SCORE, STAGES, "posterior.draws=3", f"score.path_points={list(setting['points'])}"]
    asked.append(f"score.members={setting['members']}")
    launch(folder, *asked)
    run = run_of(folder, *asked)
    columns, plain = (read_shards(one.path("sample")) for one in (chosen, run))
    assert columns.keys() == plain.keys() and all(torch.equal(columns[name], plain[name]) for name in plain)
    assert "pilot" not in run.artefacts and "pilot" not in run.artefacts["sample"].identity["inputs"]
    assert chosen.artefacts["sample"].fingerprint != run.artefacts["sample"].fingerprint


def test_without_a_pilot_its_keys_change_nothing(chosen: Run) -> None:
    plain, others = (
        run_of(chosen.folder, *EXACT, *SCORE, *more) for more in ([], ["score.tolerance=0.2", "score.pilot=32"])
    )
    assert plain.artefacts["sample"].fingerprint == others.artefacts["sample"].fingerprint


def test_the_choice_does_not_depend_on_batches_nor_on_how_many_samples_follow(chosen: Run) -> None:
    inputs = Pilot().inputs(chosen)
    assert Pilot().inputs(run_of(chosen.folder, *BUDGET, "sampler.samples=500")).sampler == inputs.sampler
    model = open_model(chosen)
    resources = inputs.resources.open(model, lambda: load_posterior(chosen.path("fit"), model), chosen.config.seed)
    found = []
    for size in (7, 40):
        sampler = replace(inputs.sampler.build(model), seed=5, batch_size=size)
        found.append(measure(inputs, model, sampler, resources))
    np.testing.assert_allclose(found[0].values, found[1].values, rtol=1e-4)
    np.testing.assert_array_equal(found[0].evaluations, found[1].evaluations)


def without_seconds(run: Run) -> dict:
    """pilot.json but for what a clock measured."""
    found = files.read_json(run.path("pilot") / "pilot.json")
    for row in (found["chosen"], *found["settings"]):
        row.pop("seconds")
    return found | {"sampling_seconds": None}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_run_again_it_is_the_same(processes: int, chosen: Run, tmp_path: Path) -> None:
    """Before the pilot was written, with a shard of the samples lost as well."""
    folder = copied(chosen.folder, tmp_path / "exact")
    run = run_of(folder, *BUDGET)
    before, columns = without_seconds(run), read_shards(run.path("sample"))
    (run.path("pilot") / "manifest.json").unlink()
    (run.path("pilot") / "pilot.json").write_text("{")
    for lost in ("manifest.json", shard_name(20, 40)):
        (run.path("sample") / lost).unlink()
    if processes == 1:
        launch(folder, *BUDGET)
    else:
        two = [f"trainer.devices={processes}", "trainer.strategy=ddp", "trainer.accelerator=cpu"]
        command(folder.parent, *BUDGET, *two, f"store={folder}/store", f"hydra.run.dir={folder}")
    assert without_seconds(run) == before
    again = read_shards(run.path("sample"))
    assert all(torch.equal(again[name], columns[name]) for name in columns)


def test_what_is_stable_is_chosen_by_the_half_that_did_not_look(exact_run: Path, tmp_path: Path) -> None:
    """Of a score of finished samples, whose own samples have the place that they have without a pilot."""
    folder = copied(exact_run, tmp_path / "exact")
    stop = [*EXACT, STAGES, "score=renoised_disagreement", "score.controls=[random]"]
    run = run_of(folder, *stop)
    plain = run.artefacts["sample"].fingerprint
    stop += ["score.stop=ranking", "score.tolerance=0.3", "score.probe_noisings=8"]
    launch(folder, *stop)
    run = run_of(folder, *stop)
    entry = read_pilot(run.path("pilot"))
    assert run.artefacts["sample"].fingerprint == plain and "pilot" in run.artefacts["probe"].identity["inputs"]
    assert entry.stable and entry.bound <= 0.3 and entry.held_out is None and entry.samples == 64
    assert entry.chosen.cost <= entry.settings[-1].cost == 1 + 8 * 3 / 6
    scored = settled(probe_inputs(run), run.inputs["probe"].pilot)["renoised_disagreement"]
    assert scored.options == dict(entry.chosen.setting)
    spent = read_shards(run.path("probe"))["evaluations.renoised_disagreement"]
    assert float(spent[0]) == pytest.approx(6 * (entry.chosen.cost - 1))
    assert f"{WATCHED}renoised_disagreement" in read_shards(run.path("probe"))


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (
            ["score.budget=1.1"],
            r"score\.budget = 1\.1, .* 1\.1667 .*\(points = \[0\.2\], members = 1\).*1\.1667",
        ),
        (["score.budget=1.5", "score.name=entropy"], r"score\.budget = 1\.5, but 'entropy' is no score of the path"),
        (["score.frontier=true", "score.name=entropy"], r"score\.frontier = True, but 'entropy'"),
        (["score.frontier=true", "score.stop=ranking"], r"score\.frontier = true .* score\.stop"),
        (["score.stop=decision", "score.tolerance=0.05"], r"score\.tolerance = 0\.05, but score\.pilot = 64"),
        (
            ["score.budget=1.5", "score.path_points=[0,.1,.2,.3,.4,.5,.6,.7,.8,.9]"],
            r"score\.path_points .* 2,046",
        ),
    ],
)
def test_what_cannot_be_chosen_is_said_before_any_work(more: list[str], match: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, *EXACT, *SCORE, STAGES)
    for text in more:
        name, value = text.removeprefix("score.").split("=")
        run.config.score[name] = yaml.safe_load(value)
    with pytest.raises(ConfigurationError, match=match):
        check_pilot(run)


def test_samples_without_their_pilot_are_refused(tmp_path: Path, exact_run: Path) -> None:
    folder = copied(exact_run, tmp_path / "exact")
    run = run_of(folder, *EXACT, *SCORE, "score.budget=1.6", "stages=[sample]")
    with pytest.raises(ArtefactError, match=r"stage 'sample' needs 'pilot'.*stages=\[pilot,sample"):
        preflight.check_upstream(run)


def test_the_frontier_of_all_samples_is_that_of_scores_computed_one_by_one(chosen: Run, tmp_path: Path) -> None:
    """Cost and rank agreement of every setting, beside the library's own scores; nothing else of the run changes."""
    folder = copied(chosen.folder, tmp_path / "exact")
    asked = [*EXACT, *SCORE, "posterior.draws=3", "score.frontier=true"]
    launch(folder, *asked)
    run = run_of(folder, *asked)
    found = read_evaluation(run.path("evaluate"))
    settings = found.frontier
    model, sampler = open_model(run), build_sampler(run)
    resources = Resources({"draws": load_posterior(run.path("fit"), model)}, 3, run.config.seed)
    functions = {str(n): partial(path_disagreement, **at_points(row)) for n, row in enumerate(settings)}
    plain = watch(model, sampler, range(60), {}, path_scores=functions, resources=resources)
    full = plain.scores[str(len(settings) - 1)]
    assert len(settings) == 3 * 3 and settings[-1].setting == {"points": [0.2, 0.6, 1.0], "members": 3}
    for number, row in enumerate(settings):
        assert row.cost == pytest.approx(1 + plain.evaluations[str(number)] / plain.evaluations["sampling"])
        agreement = float(spearmanr(plain.scores[str(number)], full).statistic)
        assert row.spearman.value == pytest.approx(agreement, abs=1e-6)
    plain_run = copied(chosen.folder, tmp_path / "plain")
    launch(plain_run, *asked[:-1])
    scored = read_evaluation(run_of(plain_run, *asked[:-1]).path("evaluate"))
    assert scored.frontier == [] and scored.scores == found.scores


def at_points(row: SettingEntry) -> dict:
    """The options of a setting, as the function takes them."""
    return {"points": tuple(row.setting["points"]), "members": row.setting["members"]}

"""The stage `probe`: its columns are the library's scores of the stored samples, and nothing is sampled again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.pipeline.columns import SPENT, WATCHED
from genuq.pipeline.configured import build_sampler, open_model
from genuq.pipeline.configured_judging import likelihood_inputs
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import embedder, functions_of, path_inputs, probe_inputs, weak_weights
from genuq.pipeline.stages.probe import ALL, read_probed
from genuq.pipeline.stages.sample import read_samples
from genuq.posteriors import isotropic_like
from genuq.scores import SCORES, Probe, Resources, class_prior, score_together, watch
from genuq.store.shards import read_shards
from support.small_runs import IMAGES, copied, launch, run_of

NAMES = [*SCORES.names(source="path"), *SCORES.names(source="probe")]


def overrides_of(root: Path, weak: Path) -> list[str]:
    return [
        *(text for text in IMAGES if not text.startswith(("stages", "score.also"))),
        f"data.root={root}",
        f"score.also=[trace,lmi,{','.join(NAMES)}]",
        "score.probe_noisings=2",
        f"score.weak_checkpoint={weak}",
        "stages=[train,judge,fit,sample,probe,embed,score,evaluate]",
    ]


@pytest.fixture(scope="module")
def probed(images_run: Path, image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Resources]:
    """A small run with every such score; and what its scores ask for."""
    folder = copied(images_run, tmp_path_factory.mktemp("probed") / "images")
    trained = open_model(run_of(folder, *IMAGES, f"data.root={image_root}"))
    weak = folder / "early.safetensors"
    files.write_tensors(weak, {name: 0.9 * value.detach() for name, value in trained.network.named_parameters()})
    launch(folder, *overrides_of(image_root, weak))
    run = run_of(folder, *overrides_of(image_root, weak))
    model = open_model(run)
    posterior = load_posterior(run.path("fit"), model)
    drawn = {"draws": posterior, "isotropic": isotropic_like(posterior, model.network)}
    embed = embedder(likelihood_inputs(run), model)
    return run, Resources(drawn, 2, run.config.seed, weak_weights(weak, model), embed)


def test_columns_are_the_scores_of_all_samples_at_once(probed: tuple[Run, Resources]) -> None:
    run, resources = probed
    stored, samples, model = read_shards(run.path("probe")), read_samples(run.path("sample")), open_model(run)
    probe = Probe(model, samples["image"], range(24), run.config.seed, samples["class"], resources)
    found = score_together(probe, functions_of(probe_inputs(run)))
    on_path = functions_of(path_inputs(run))
    watched = watch(model, build_sampler(run), range(24), {}, None, on_path, resources)
    columns, _ = files.read_tensors(run.path("score") / "scores.safetensors")
    for name, values in (found.values | watched.scores).items():
        torch.testing.assert_close(columns[name], values, rtol=1e-3, atol=1e-7)
    assert float(stored[f"{SPENT}{ALL}"].mean()) == found.evaluations / 24
    for name, cost in found.costs.items():
        assert float(stored[f"{SPENT}{name}"].mean()) == cost.evaluations / 24
        assert torch.equal(stored[f"{WATCHED}{name}"], columns[name])
    assert torch.equal(columns["class_prior"], class_prior(columns["entropy"], samples["class"]))
    assert torch.equal(columns["lmi"], columns["jitter"])  # of the same size


def test_the_table_has_their_costs_and_the_notes_their_seconds(probed: tuple[Run, Resources]) -> None:
    run, _ = probed
    rows = {row["name"]: row for row in files.read_json(run.path("evaluate") / "evaluation.json")["scores"]}
    costs = {name: row["evaluations_per_sample"] for name, row in rows.items()}
    assert (costs["lid"], costs["renoised_disagreement"], costs["class_prior"]) == (2, 2 * 3, 0)
    assert (costs["path_disagreement"], costs["guidance_gap"]) == (2, 2)  # two draws at one step; two steps
    notes = {stage: files.read_json(run.path(stage) / "manifest.json")["notes"] for stage in ("sample", "probe")}
    assert notes["probe"]["score_seconds"].keys() == set(SCORES.names(source="probe"))
    assert notes["sample"]["score_seconds"].keys() == {*SCORES.names(source="path"), "lmi", "jitter"}
    assert min(*notes["probe"]["score_seconds"].values(), *notes["sample"]["score_seconds"].values()) > 0


def test_without_such_a_score_there_is_no_artefact_and_the_samples_keep_their_place(
    probed: tuple[Run, Resources], images_run: Path, image_root: Path
) -> None:
    run, before = probed[0], run_of(images_run, *IMAGES, f"data.root={image_root}")
    assert "probe" not in before.artefacts and read_probed(None) == {}
    alone = [text for text in overrides_of(image_root, Path("unread")) if not text.startswith("score.also")]
    probing = run_of(images_run, *alone, "score.also=[trace,lid]")
    assert probing.artefacts["sample"].fingerprint == before.artefacts["sample"].fingerprint
    assert run.artefacts["sample"].fingerprint != before.artefacts["sample"].fingerprint

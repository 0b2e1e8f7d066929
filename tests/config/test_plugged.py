"""Parts of the user's own, named by class path in the configuration, are options like those of genuq."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.config_store import ConfigStore

from genuq.config import schemas
from genuq.config.compose import configurations, prepared
from genuq.config.plugged import as_options, chosen_parts, in_words, is_path, places, plug, readers_of, settle, unread
from genuq.errors import ConfigurationError
from genuq.parts import register_of
from genuq.pipeline.configured_judging import build_likelihood
from genuq.pipeline.run import Run
from genuq.pipeline.stages.score import draws_inputs
from support import my_lab_parts
from support.programs import COMMAND, environment, program
from support.small_runs import POINTS, composed

LAB = "support.my_lab_parts"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Takes the parts out after each test."""
    schemas.register()
    before = {
        group: set(register_of(group)) for group in ("posterior", "score", "data", "metric", "extractor", "likelihood")
    }
    yield
    for group, names in before.items():
        for name in set(register_of(group)) - names:
            register_of(group).remove(name)


def configured(*texts: str) -> Any:
    ((_, config),) = configurations(prepared(texts))
    return config


def test_a_class_path_is_an_option_with_the_keys_of_its_part() -> None:
    config = configured(f"posterior._target_={LAB}.Narrow", "posterior.rank=3", "posterior.images=100")
    assert (config.posterior.name, config.posterior.rank, config.posterior.images) == ("narrow", 3, 100)
    assert config.parts.posterior == {"narrow": f"{LAB}.Narrow"} and config.name.endswith("narrow-semantic")
    assert "_target_" not in config.posterior and config.posterior.time_bins == 1
    assert configured("posterior._target_=genuq.posteriors.Swag").posterior.rank == 10  # genuq's own, by its path


def test_a_sweep_over_class_paths_and_posteriors_beside() -> None:
    texts = prepared(["-m", f"posterior._target_={LAB}.Narrow,genuq.posteriors.KFACLaplace", "seed=0,1"])
    assert texts[1] == f"posterior={LAB}.Narrow,kfac"
    assert [config.posterior.name for _, config in configurations(texts)] == ["narrow", "narrow", "kfac", "kfac"]
    config = configured(f"beside.mine._target_={LAB}.Narrow", "beside.mine.rank=2")
    assert config.beside.mine.name == "narrow" and config.beside.mine.rank == 2


def test_a_likelihood_need_not_have_the_variance_of_its_observations(tmp_path: Path) -> None:
    config = configured("experiment=mixture", f"likelihood._target_={LAB}.Scaled", "likelihood.factor=3")
    run = Run(config, tmp_path, "genuq")
    assert build_likelihood(run).embed(torch.ones(1, 2)).tolist() == [[3.0, 3.0]]
    assert draws_inputs(run).observation_variance is None


def test_values_that_name_parts_take_class_paths() -> None:
    config = configured(
        f"score.also=[trace,{LAB}.spread]", f"metric.curves=[fid,{LAB}.SHIFT]", f"likelihood.extractor={LAB}.Brightness"
    )
    assert config.score.also == ["trace", "spread"] and config.metric.curves == ["fid", "shift"]
    assert config.likelihood.extractor == "brightness" and set(config.parts) == {"score", "metric", "extractor"}
    assert configured(f"score.also=[{LAB}.spread]", "score.power=3").score.power == 3
    assert not is_path("vit_base_patch14_dinov2.lvd142m") and is_path("genuq.posteriors.Swag")


def test_a_file_of_ones_own_names_one(tmp_path: Path) -> None:
    (tmp_path / "posterior").mkdir()
    option = tmp_path / "posterior" / "mine.yaml"
    option.write_text(f"_target_: {LAB}.Narrow\nname: narrow\nrank: 5\n")
    ((_, config),) = configurations(prepared(["posterior=mine", "posterior.draws=3"], [tmp_path]))
    assert (config.posterior.name, config.posterior.rank, config.posterior.draws) == ("narrow", 5, 3)
    option.write_text(f"_target_: {LAB}.Narrow\n")
    with pytest.raises(ConfigurationError, match="add `name: narrow`"):
        list(configurations(prepared(["posterior=mine"], [tmp_path])))


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["posterior._target_=support.my_lab_parts.OneLayer"], "is not a subclass of genuq.posteriors.Posterior"),
        (["posterior._target_=os.system"], "no configuration may use"),
        (["trainer._target_=support.my_lab_parts.Narrow"], "only data, network, .* take a class path"),
        ([f"posterior._target_={LAB}.Narrow", "posterior.rnk=3"], "'posterior.rnk' .*Did you mean 'rank'"),
        (["posterior=exact_laplace", "posterior.bits=3"], "belongs to posthoc_ensemble"),
    ],
)
def test_what_cannot_be_is_refused(texts: list[str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        configured(*texts)


def test_another_process_has_the_parts_of_the_run() -> None:
    plug({"posterior": {"narrow": f"{LAB}.Narrow"}})
    assert register_of("posterior")["narrow"].resolve() is my_lab_parts.Narrow
    ConfigStore.instance()


@pytest.mark.slow
def test_a_run_with_parts_of_ones_own_and_after_a_change_of_their_source(tmp_path: Path) -> None:
    package = tmp_path / "tiny_lab"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package of one\'s own."""\n')
    source = Path(my_lab_parts.__file__).read_text()
    (package / "parts.py").write_text(source)
    lab = "tiny_lab.parts"
    overrides = [
        *(text for text in POINTS if not text.startswith("network.depth")),
        *(f"{group}._target_={lab}.{name}" for group, name in (("posterior", "Narrow"), ("network", "OneLayer"))),
        *(f"likelihood._target_={lab}.Scaled", "likelihood.factor=3", f"propagator._target_={lab}.OtherTrajectory"),
        *(f"data._target_={lab}.two_dots", f"sampler._target_={lab}.OtherEuler", f"application._target_={lab}.COUNT"),
        *("posterior.rank=3", f"score.also=[{lab}.spread,{lab}.LastNorm,{lab}.DARKNESS]", "name=lab"),
        *(f"metric.curves=[fid,{lab}.SHIFT]", "stages=[train,fit,sample,propagate,embed,score,evaluate,apply,report]"),
    ]

    def said(*more: str) -> str:
        known = environment()
        seeing = known | {"PYTHONPATH": os.pathsep.join([str(tmp_path), known["PYTHONPATH"]])}
        found = program(COMMAND, *more, *overrides, folder=tmp_path, variables=seeing)
        assert found.returncode == 0, found.stderr
        return found.stdout

    first = said()
    assert "reused" not in first
    config = yaml.safe_load((tmp_path / "outputs" / "lab" / "config.yaml").read_text())
    assert config["parts"]["posterior"] == {"narrow": f"{lab}.Narrow"}
    assert (config["likelihood"]["name"], config["propagator"]["name"]) == ("scaled", "other_trajectory")
    results = json.loads((tmp_path / "outputs" / "lab" / "report" / "results.json").read_text())
    assert {"spread", "last_norm", "darkness", "pixel_variance"} <= {score["name"] for score in results["scores"]}
    assert said().count("reused") >= 6
    (package / "parts.py").write_text(source + "\n# changed\n")
    again = said()
    assert "fit: made anew" in again and "evaluate: made anew" in again


NARROW = "support.my_lab_parts.Narrow"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("support.my_lab_parts.Narrow", True),
        ("support.my_lab_parts:Narrow", True),
        ("resnet18.a1_in1k", False),  # a model of timm
        ("no_such_lab.Part", False),
        ("kfac", False),
        ("1.5", False),
        (None, False),
    ],
)
def test_a_path_begins_with_what_can_be_imported(value: object, found: bool) -> None:
    assert is_path(value) is found


def test_a_class_path_becomes_the_option_of_its_group() -> None:
    assert as_options(["seed=1", "posterior=kfac", "a=[b"]) == ["seed=1", "posterior=kfac", "a=[b"]
    assert as_options([f"posterior._target_={NARROW}", f"posterior={NARROW},kfac"]) == [
        f"posterior={NARROW}",
        f"posterior={NARROW},kfac",
    ]
    assert as_options([f"beside.mine._target_={NARROW}"]) == [f"+posterior@beside.mine={NARROW}"]
    assert as_options(["posterior._target_=genuq.posteriors.Swag"]) == ["posterior=swag"]
    with pytest.raises(ConfigurationError, match=r"trainer\._target_: only data, .* take a class path"):
        as_options([f"trainer._target_={NARROW}"])


def test_a_configuration_names_the_part_and_keeps_its_path() -> None:
    ((_, config),) = configurations(as_options([*POINTS[:2], "experiment=mixture", f"posterior._target_={NARROW}"]))
    settle(config)
    assert config.posterior.name == "narrow" and config.parts.posterior.narrow == NARROW
    assert "narrow" in [part.name for part in chosen_parts(config)]


def test_chosen_options_have_their_places() -> None:
    config = composed(*POINTS, "+posterior@beside.other=kfac")
    found = dict(places(config))
    assert found["posterior"] == found["beside.other"] == "posterior" and found["sampler"] == "sampler"
    assert "propagator" not in found
    assert {"exact_laplace", "kfac", "entropy"} <= {part.name for part in chosen_parts(config)}


def test_what_nothing_reads_is_told_with_who_would() -> None:
    config = composed(*POINTS)
    assert unread(["sampler.steps=3", "seed=1"], config) == {}
    told = unread(["posterior.rank=3", "score.probes=2"], config)
    assert "'posterior.rank' is not a key of 'exact_laplace': `rank` belongs to" in told["posterior.rank"]
    assert "is read by no column of this run" in told["score.probes"] and "likelihood" in readers_of("probes")


def test_names_in_words() -> None:
    assert [in_words(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]

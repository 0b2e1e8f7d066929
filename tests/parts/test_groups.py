"""A part of one's own in every group, by class path, used through genuq's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from genuq import data, extractors, likelihoods, models, networks, posteriors, processes, propagators, solvers
from genuq.analysis import SubsetJudge
from genuq.applications import APPLICATIONS
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler
from genuq.parts import Part, identity, plugged, register_of
from genuq.scores import SCORES, functional, watch
from support import my_lab_parts as lab

PATHS = {
    "posterior": "Narrow",
    "network": "OneLayer",
    "model": "own_model",
    "data": "two_dots",
    "solver": "OtherEuler",
    "process": "OtherFlow",
    "propagator": "OtherTrajectory",
    "extractor": "Brightness",
    "likelihood": "Sharp",
    "score": "spread",
    "metric": "SHIFT",
    "application": "COUNT",
}


@pytest.fixture
def plug() -> Iterator[Any]:
    """Plugs a class path in, and takes the part out after the test."""
    entered: list[Part] = []

    def enter(group: str, attribute: str | None = None) -> Part:
        entered.append(plugged(f"support.my_lab_parts.{attribute or PATHS[group]}", group, f"{group}._target_"))
        return entered[-1]

    yield enter
    for part in entered:
        register_of(part.group).remove(part.name)


def test_model(plug: Any) -> None:
    plug("model")
    made = models.build({"part": "own_model", "options": {"width": 3}})
    assert made(torch.ones(5, 2), torch.ones(5)).shape == (5, 2)
    with pytest.raises(ConfigurationError, match=r"model 'own_model' has no option 'widht'"):
        models.build({"part": "own_model", "options": {"widht": 3}})


def toy() -> GenerativeModel:
    torch.manual_seed(0)
    return GenerativeModel(networks.MLP((2,), width=8, depth=1), (2,))


@pytest.mark.parametrize("group", PATHS)
def test_a_class_path_enters_the_register_and_its_code_is_its_identity(group: str, plug: Any) -> None:
    part = plug(group)
    assert register_of(group).get(part.name) is part and not part.builtin and part.label
    known = identity(part)
    assert known["target"].startswith("support.my_lab_parts:") and len(known["sha256"]) == 64
    assert plug(group) == part  # named twice is no clash
    if group != "model":  # of which genuq has none of its own
        assert identity(next(iter(register_of(group).values()))).keys() == {"name"}


def test_posterior(plug: Any) -> None:
    plug("posterior")
    fitted = posteriors.fit(toy(), torch.randn(40, 2), kind="narrow", images=20, held_out=10, rank=3).posterior
    assert isinstance(fitted, lab.Narrow) and fitted.rank == 3
    with pytest.raises(ConfigurationError, match=r"posterior 'narrow' has no option 'rnk'\. Did you mean 'rank'"):
        posteriors.build("narrow", toy(), rnk=3)


def test_posterior_comes_back_from_its_file(plug: Any, tmp_path: Any) -> None:
    plug("posterior")
    model = toy()
    fitted = posteriors.fit(model, torch.randn(40, 2), kind="narrow", images=20, held_out=10, rank=3).posterior
    fitted.save(tmp_path / "narrow.safetensors")
    again = posteriors.load(tmp_path / "narrow.safetensors", model)
    assert isinstance(again, lab.Narrow) and again.rank == 3


def test_network_process_and_solver(plug: Any) -> None:
    for group in ("network", "process", "solver"):
        plug(group)
    network = networks.build("one_layer", shape=(2,), num_classes=0, width=5)
    assert isinstance(network, lab.OneLayer) and network.width == 5
    assert isinstance(processes.build("other_flow", schedule="linear", train_timesteps=1000), lab.OtherFlow)
    assert isinstance(solvers.build("other_euler"), lab.OtherEuler)


def test_data(plug: Any) -> None:
    plug("data")
    assert len(data.load("two_dots", "test", size=8)) == 8


def test_propagator(plug: Any) -> None:
    plug("propagator")
    assert isinstance(propagators.build("other_trajectory", data_variance=0.2), lab.OtherTrajectory)


def test_extractor_and_likelihood(plug: Any) -> None:
    plug("extractor")
    plug("likelihood")
    images = torch.rand(3, 1, 4, 4)
    made = likelihoods.build(
        "sharp", (1, 4, 4), lambda: extractors.build("brightness", image_shape=(1, 4, 4), factor=3.0)
    )
    assert isinstance(made, lab.Sharp)
    torch.testing.assert_close(made.embed(images), 3 * images.mean((1, 2, 3))[:, None])


def test_scores_of_draws_of_the_trajectory_and_of_the_image(plug: Any) -> None:
    plug("score")
    embeddings = torch.randn(4, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(functional("spread", power=1.0)(embeddings, 1.0), lab.spread(embeddings, 1.0, 1.0))
    watcher, image = plug("score", "LastNorm"), plug("score", "DARKNESS")
    assert (watcher.source, watcher.kind, image.source, image.kind) == ("trajectory", "baseline", "image", "control")
    found = watch(toy(), Sampler(steps=2), range(3), {"last_norm": watcher.make})
    torch.testing.assert_close(found.scores["last_norm"], found.samples.norm(dim=1).double())
    images = torch.randint(256, (2, 1, 3, 3), dtype=torch.uint8)
    torch.testing.assert_close(image.values(2, images), -images.double().mean((1, 2, 3)))
    with pytest.raises(ConfigurationError, match=r"'darkness' returned shape \(2,\), not one number for each of 5"):
        image.values(5, images)


def test_options_of_a_score_are_read_by_the_keys_of_the_configuration() -> None:
    settings = {"renoisings": 7, "window": None, "likelihood_steps": 3, "probes": 2, "steps": 99}
    assert SCORES.get("aleatoric").chosen(settings) == {"repeats": 7}
    assert SCORES.get("likelihood").chosen(settings) == {"steps": 3, "probes": 2}


def test_metric(plug: Any) -> None:
    plug("metric")
    fake, real = torch.randn(20, 3), torch.randn(30, 3)
    judge = SubsetJudge(fake, real, 3, metrics=["precision", "shift", "fid"])
    value = judge(torch.arange(10).numpy())
    assert value[1] == pytest.approx(float((fake[:10].double().mean(0) - real.double().mean(0)).norm()))
    assert value[[0, 2]].tolist() == SubsetJudge(fake, real, 3, metrics=["precision", "fid"])(range(10)).tolist()
    assert judge.better.tolist() == [1, -1, -1]


def test_application(plug: Any) -> None:
    plug("application")
    part = APPLICATIONS.get("count")
    settings = part.settings_of({"least": 2})
    outcome, examples = part.run(SimpleNamespace(score=torch.zeros(5)), settings)
    assert outcome.sentence == "5 samples." and examples["index"].tolist() == [0, 1]
    with pytest.raises(ConfigurationError, match=r"has no option 'leats'\. Did you mean 'least'"):
        part.settings_of({"leats": 2})


def test_what_a_function_makes_must_be_what_its_group_asks_for(plug: Any) -> None:
    part = register_of("data").type(name="wrong", target=nn.Identity)
    assert part.problem_of(nn.Identity)
    with pytest.raises(ConfigurationError, match=r"made a int, not a genuq\.data\.base\.Dataset"):
        register_of("data").type(name="wrong", target=lambda split: 3).make(split="train")

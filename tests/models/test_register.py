"""Functions that bring a whole model: their options, what they may return, and checkpoints of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genuq import models
from genuq.errors import CheckpointError, ConfigurationError
from genuq.models import MODELS, GenerativeModel, ModelPart
from genuq.models.checkpoints import is_checkpoint, load_model, restore, save_model
from genuq.models.register import require_usable
from genuq.parts import identity, plugged
from support.their_model import write_package

IMAGES, TIMES, CLASSES = (
    torch.linspace(-1, 1, 512).reshape(2, 1, 16, 16),
    torch.tensor([0.2, 0.9]),
    torch.tensor([0, 2]),
)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelPart]:
    write_package(tmp_path, "registered_lab")
    monkeypatch.syspath_prepend(tmp_path)
    found = plugged("registered_lab.build_model", "model", "model._target_")
    assert isinstance(found, ModelPart)
    yield found
    MODELS.remove(found.name)


def test_its_options_are_its_own_and_what_genuq_does_to_any_model(part: ModelPart) -> None:
    assert part.option_names == ["width", "side", "classes", "weights", "head", "checkpoint"]
    assert {each.name: each.default for each in dataclasses.fields(part.options)}["width"] == 4
    assert part.files == ["weights"]
    assert part.plain_options({"width": 6, "weights": "a", "head": "encoder"}) == {"width": 6}
    assert identity(part)["target"] == "registered_lab:build_model"


def test_the_model_is_called_as_its_function_says(part: ModelPart) -> None:
    model = part.make(width=6, head="encoder")
    out = model(IMAGES, TIMES, CLASSES)
    assert torch.equal(out, model.network(IMAGES, timestep=1000 * TIMES, labels=CLASSES)["sample"])
    assert (model.head_name, part.make().head_name) == ("encoder", "decoder.final")
    with pytest.raises(ConfigurationError, match=r"model 'build_model' has no option 'widht'\. Did you mean 'width'"):
        part.make(widht=6)
    with pytest.raises(ConfigurationError, match=r"model\.head = 'final' is not a Conv2d or Linear layer of Theirs"):
        part.make(head="final")


def test_a_file_of_weights_reaches_it_as_a_path(part: ModelPart, tmp_path: Path) -> None:
    weights = part.make().network.state_dict()
    save_file({name: torch.full_like(value, 0.5) for name, value in weights.items()}, tmp_path / "w.safetensors")
    model = part.make(weights=str(tmp_path / "w.safetensors"))
    assert all(bool((value == 0.5).all()) for value in model.network.state_dict().values())


def test_its_weights_come_back_from_a_checkpoint_into_what_the_configuration_builds(
    part: ModelPart, tmp_path: Path
) -> None:
    description = {"part": "build_model", "options": {"width": 6, "head": None, "weights": None}}
    model, path = models.build(description).eval(), tmp_path / "model.safetensors"
    save_model(path, model, description, {"note": 1}, half=False)
    again, notes = load_model(path, description)
    assert notes == {"note": 1} and torch.equal(again(IMAGES, TIMES, CLASSES), model(IMAGES, TIMES, CLASSES))
    other = restore(models.build(description), path)
    assert torch.equal(other(IMAGES, TIMES, CLASSES), model(IMAGES, TIMES, CLASSES))
    assert is_checkpoint(path) and not is_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match=r"options\.width: 6 in the file, 8 in the configuration"):
        load_model(path, description | {"options": {"width": 8}})


def test_no_file_says_which_function_is_run(part: ModelPart, tmp_path: Path) -> None:
    description = {"part": "build_model", "options": {"width": 6}}
    save_model(tmp_path / "model.safetensors", models.build(description), description, {})
    with pytest.raises(CheckpointError, match=r"'build_model', which is no model of genuq's own.*restore"):
        load_model(tmp_path / "model.safetensors")


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"made a Linear, not a .*GenerativeModel"):
        ModelPart(name="linear", target=lambda: nn.Linear(2, 2)).make()
    with pytest.raises(ConfigurationError, match=r"is not a subclass of .*GenerativeModel"):
        plugged("torch.nn.Linear", "model", "model._target_")


def test_networks_that_the_posteriors_cannot_work_with_are_refused() -> None:
    compiled = nn.Sequential(torch.compile(nn.Linear(2, 2)))
    in_place = nn.Linear(2, 2)
    in_place.compile()
    scripted = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    half = nn.Sequential(nn.Linear(2, 2).half())
    for network, words in (
        (compiled, "layer 0 is compiled"),
        (in_place, "its network is compiled"),
        (scripted, "its network is TorchScript"),
        (half, r"weight '0\.weight' is float16.*Return network\.float\(\)"),
    ):
        with pytest.raises(ConfigurationError, match=f"model 'mine': {words}"):
            require_usable(network, "mine")
    require_usable(GenerativeModel(nn.Linear(2, 2), (2,)).network, "mine")

"""Files of models: what comes back, and files that hold something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from genuq import files
from genuq.errors import ArtefactError, CheckpointError, ConfigurationError
from genuq.models import GenerativeModel, build
from genuq.models.checkpoints import (
    load_classifier,
    load_model,
    reference_members,
    reference_name_of,
    reference_path,
    require_checkpoint,
    save_classifier,
    save_model,
)
from genuq.networks import Classifier
from support.small_members import DESCRIPTION


def model() -> GenerativeModel:
    torch.manual_seed(0)
    return build(DESCRIPTION)


@pytest.mark.parametrize(("half", "rounding"), [(True, 2.0**-11), (False, 0.0)])
def test_weights_come_back_to_the_precision_of_the_file(half: bool, rounding: float, tmp_path: Path) -> None:
    one = model()
    save_model(tmp_path / "m.safetensors", one, DESCRIPTION, {"steps": 7}, half)
    found, notes = load_model(tmp_path / "m.safetensors", DESCRIPTION)
    assert notes == {"steps": 7} and not found.training
    for name, value in one.state_dict().items():
        assert found.state_dict()[name].dtype == torch.float32
        assert float((found.state_dict()[name] - value).abs().max()) <= rounding * float(value.abs().max())


def test_another_model_than_expected_is_named_key_by_key(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", model(), DESCRIPTION, {})
    other: dict[str, Any] = {**DESCRIPTION, "network": {**DESCRIPTION["network"], "width": 9}, "num_classes": 3}
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "m.safetensors", other)
    assert "network.width: 8 in the file, 9 in the configuration" in str(caught.value)
    assert "num_classes: 0 in the file, 3 in the configuration" in str(caught.value)
    assert load_model(tmp_path / "m.safetensors", {**DESCRIPTION, "head": "head"}), "the head is no part of the weights"


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "t.safetensors", {"a": torch.zeros(1)}, {"format": "theirs"})
    with pytest.raises(CheckpointError, match=r"no checkpoint of genuq \(format 'theirs'"):
        load_model(tmp_path / "t.safetensors")
    with pytest.raises(CheckpointError, match="no classifier of genuq"):
        load_classifier(tmp_path / "t.safetensors")
    with pytest.raises(ArtefactError):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("length", range(256, 512, 8))
def test_a_header_of_any_length_is_no_other_format(length: int, tmp_path: Path) -> None:
    """A safetensors file begins with the length of its header, whose bytes can be those that another format has."""
    path = tmp_path / "model.safetensors"
    bare = len(header_of(path, {"a": ""}).rstrip())  # it is filled up with blanks to a multiple of eight
    assert len(header_of(path, {"a": "x" * (length - bare)})) == length
    require_checkpoint(path, "model.checkpoint")


def header_of(path: Path, metadata: dict[str, str]) -> bytes:
    """The header of a file that is written with some metadata."""
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, metadata)
    written = path.read_bytes()
    return written[8 : 8 + int.from_bytes(written[:8], "little")]


def test_a_judge_comes_back_with_its_accuracy(tmp_path: Path) -> None:
    options = {"shape": [1, 8, 8], "num_classes": 3}
    judge = Classifier(**options).eval()
    save_classifier(tmp_path / "judge.safetensors", judge, options, 0.75)
    found, accuracy = load_classifier(tmp_path / "judge.safetensors")
    x = torch.rand(2, 1, 8, 8)
    assert accuracy == 0.75 and not found.training
    torch.testing.assert_close(found(x), judge(x), rtol=1e-2, atol=1e-2)


def test_what_is_shipped_is_found_and_what_is_not_is_named_with_the_nearest() -> None:
    assert reference_path("flow_matching_fashion_mnist").is_file()
    with pytest.raises(
        ConfigurationError, match=r"'flow_matching_fashon_mnist' is shipped\. Did you mean 'flow_matching_fa"
    ):
        reference_path("flow_matching_fashon_mnist")
    with pytest.raises(ConfigurationError, match="no deep_ensemble of 'nothing' is shipped"):
        reference_members("nothing", "deep_ensemble")


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ("reference", "a"),
        ("reference:starved", "a_starved"),
        ("reference:starved:early", "a_starved_early"),
        ("outputs/reference:starved", None),
        ("references", None),
        (None, None),
        (["reference"], None),
    ],
)
def test_a_configuration_names_what_is_shipped_by_a_word_and_a_variant(chosen: object, name: str | None) -> None:
    assert reference_name_of(chosen, "a") == name

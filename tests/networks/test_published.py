"""Presets of released files, and files that are of another network than was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from genuq.errors import CheckpointError, ConfigurationError, NonFiniteError
from genuq.networks.published import FAMILIES, fill, outlined, presets_of, shapes_of
from support import released

SMALL = FAMILIES["adm"].settings("imagenet_64", released.ADM)


def zeros(family: str, settings: Any) -> dict[str, Tensor]:
    """Weights without memory of their own."""
    return {key: torch.zeros([]).expand(shape) for key, shape in shapes_of(outlined(family, settings)).items()}


def said(tensors: Mapping[str, Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        fill(outlined("adm", SMALL), tensors, "ADM imagenet_64", "model.checkpoint = w.pt")
    return str(caught.value)


@pytest.mark.parametrize(
    ("family", "preset", "title"),
    [
        ("adm", "imagenet_256_unconditional", "ADM"),
        ("adm_classifier", "imagenet_128", "the classifier of ADM"),
        ("uvit", "imagenet_256_huge", "U-ViT"),
        ("edm2", "imagenet_512_xs", "EDM2"),
    ],
)
def test_a_file_of_another_released_network_is_named(family: str, preset: str, title: str) -> None:
    found = said(zeros(family, FAMILIES[family].settings(preset)))
    assert found == f"model.checkpoint = w.pt is {title} {preset}, but ADM imagenet_64 was asked for."


def test_one_that_nobody_released_is_told_by_what_differs() -> None:
    tensors = zeros("adm", FAMILIES["adm"].settings("imagenet_256"))
    tensors["more"] = tensors.pop("out.2.bias")
    found = said(tensors)
    assert "is no released network that genuq knows (nearest: ADM imagenet_256, with" in found
    assert "unexpected (input_blocks.10" in found and "of another shape (input_blocks.0.0.bias (256,) in" in found
    assert "nearest" not in said({"a": torch.zeros(1)}) and "missing (input_blocks" in said({"a": torch.zeros(1)})


def test_presets_are_told_apart_by_their_shapes() -> None:
    for family in ("adm", "adm_classifier", "uvit"):
        known = list(presets_of(family).values())
        assert all(one != other for place, one in enumerate(known) for other in known[:place])


def test_weights_are_float32_and_whole() -> None:
    tensors = {key: torch.ones(value.shape, dtype=torch.float16) for key, value in zeros("adm", SMALL).items()}
    network = fill(outlined("adm", SMALL), tensors, "ADM", "w.pt")
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert all(value.requires_grad and not value.is_meta for value in network.parameters())
    tensors["out.2.bias"][3] = torch.nan
    with pytest.raises(NonFiniteError, match=r"weight 'out\.2\.bias' of w\.pt"):
        fill(outlined("adm", SMALL), tensors, "ADM", "w.pt")


@pytest.mark.parametrize(
    ("preset", "changed", "expected"),
    [
        (
            "imagenet_63",
            {},
            r"model\.preset = 'imagenet_63' is no released network of ADM\. Did you mean 'imagenet_64'",
        ),
        ("imagenet_64", {"num_heds": 3}, r"model\.changed: 'num_heds' is no setting of ADM\. Did you mean 'num_heads'"),
        ("imagenet_64", {"num_res_blocks": 0}, r"model\.changed\.num_res_blocks = 0; it must lie in"),
        ("imagenet_64", {"channel_mult": 3}, r"model\.changed\.channel_mult = 3; a list is written"),
    ],
)
def test_settings_that_cannot_be_are_named(preset: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        FAMILIES["adm"].settings(preset, changed)


def test_lists_of_a_configuration_are_settings() -> None:
    assert SMALL.channel_mult == (1, 2) and SMALL.use_new_attention_order
    assert FAMILIES["adm"].settings("imagenet_64").channel_mult == (1, 2, 3, 4)

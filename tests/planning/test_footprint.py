"""Bytes from shapes alone, beside files that hold tensors of these shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genuq.planning.footprint import (
    NAMES,
    of_manifest,
    of_safetensors,
    of_shards,
    of_training,
    shapes_of,
    shard_sizes,
)
from genuq.planning.planned import PlannedRun
from support.small_runs import POINTS, composed

TENSORS = {
    "index": torch.zeros(7, dtype=torch.int64),
    "wide/variance": torch.zeros(7, 3, dtype=torch.float64),
    "image": torch.zeros(7, 1, 2, 2),
    "draws": torch.zeros(7, 2, dtype=torch.float16),
    "few": torch.zeros(3, dtype=torch.int8),
    "flag": torch.zeros((), dtype=torch.bool),
}


@pytest.mark.parametrize("metadata", [None, {"fingerprint": "0" * 64}])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_file_of_tensors_is_known_to_the_byte(count: int, metadata: dict[str, str] | None, tmp_path: Path) -> None:
    tensors = dict(list(TENSORS.items())[:count])
    save_file(tensors, tmp_path / "file", metadata)
    assert of_safetensors(shapes_of(tensors), metadata) == (tmp_path / "file").stat().st_size


@pytest.mark.parametrize("dtype", NAMES)
def test_every_precision_has_safetensors_name(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(5, dtype=dtype)}, tmp_path / "file")
    assert of_safetensors(shapes_of({"x": torch.zeros(5, dtype=dtype)})) == (tmp_path / "file").stat().st_size


def test_floating_weights_are_kept_in_another_precision() -> None:
    assert shapes_of({"w": torch.zeros(2), "n": torch.zeros(1, dtype=torch.int64)}, "F16") == {
        "w": ("F16", (2,)),
        "n": ("I64", (1,)),
    }


def test_shards_are_whole_batches_and_a_rest(tmp_path: Path) -> None:
    run = PlannedRun(composed(*POINTS, "sampler.samples=10", "sampler.batch_size=4"), tmp_path, "genuq")
    assert shard_sizes(run) == [4, 4, 2]
    whole, rest = (of_safetensors({"index": ("I64", (size,))}) for size in (4, 2))
    assert of_shards(run, {"index": ("I64", ())}) == 2 * whole + rest


def test_checkpoints_hold_weights_and_two_moments_and_a_new_one_lies_beside_the_last() -> None:
    network = nn.Linear(100, 10)
    assert of_training([network], network, steps=4, every=5) == 0
    one = of_training([network], network, steps=5, every=5)
    assert one == pytest.approx(3 * 4 * 1010, abs=5000)
    assert of_training([network], network, steps=50, every=5) == 2 * one
    network.requires_grad_(False)
    assert of_training([network], network, steps=5, every=5) == pytest.approx(one - 2 * 4 * 1010, abs=3000)


def test_a_manifest_grows_with_its_identity_and_files() -> None:
    small, large = (of_manifest({"stage": "fit", "settings": {"x": "a" * size}}, files=1) for size in (10, 510))
    assert large - small == 500 and of_manifest({"stage": "fit"}, files=3) > of_manifest({"stage": "fit"}, files=1)

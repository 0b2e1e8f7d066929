"""Bytes of the weights that a card must hold."""

from __future__ import annotations

from pathlib import Path

import torch

from genuq.planning.holding import held_by
from genuq.pretrained.outline import from_configuration
from support.pretrained_cases import opened
from support.small_pipelines import options_of, saved


def test_network_and_autoencoder_in_the_asked_precision(tmp_path: Path) -> None:
    folder, options, real = saved("flux", tmp_path), options_of("flux"), opened("flux")[0]
    half, single = (held_by(from_configuration(folder, dtype, **options)) for dtype in (torch.bfloat16, torch.float32))
    assert half.weights == sum(weight.numel() for weight in real.network.parameters())
    assert (half.precision, single.precision) == ("bfloat16", "float32")
    assert 2 * half.bytes == single.bytes == 4 * sum(weight.numel() for weight in real.parameters())

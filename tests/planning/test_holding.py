"""Bytes of the weights that a card must hold."""

from __future__ import annotations

from pathlib import Path

import torch

from genuq.planning.holding import held_by
from genuq.pretrained.outline import from_configuration
from support.full_size import configured


def test_network_and_autoencoder_in_the_asked_precision(tmp_path: Path) -> None:
    folder = configured("stable_diffusion_xl", tmp_path)
    half, single = (
        held_by(from_configuration(folder, dtype, prompts="a cat")) for dtype in (torch.bfloat16, torch.float32)
    )
    assert (half.weights, half.precision, single.precision) == (2_567_463_684, "bfloat16", "float32")
    assert 2 * half.bytes == single.bytes == 4 * (2_567_463_684 + 83_653_863)

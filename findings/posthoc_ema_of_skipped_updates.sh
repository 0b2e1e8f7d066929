#!/usr/bin/env bash
# PostHocEMA of ema-pytorch averages over far more of the training than its sigma_rel says, unless it updates every step.
#
# The power-function average of Karras et al. (arXiv 2312.02696) is asked for by its width: sigma_rel=0.05 looks back over
# about the last tenth of the training. `update_every` (100 if it is not given, 10 in the package's own example) is said
# to save computation, and one would guess that the skipped steps are made up for. They are not: each update decays by
# the factor of one single step, so the exponent gamma + 1 is divided by update_every. At the default the weights of the
# very first step make up 40 % of the narrower average and 94 % of the wider one after 10,000 steps, and a synthesised
# width is as wrong as those it is made of. Nothing warns, and each width asked for does give another average.
#
# Seen with ema-pytorch 0.8.3, torch 2.13.0 (CPU), Python 3.11: a weight that runs from 0 to 1 in 10,000 steps
#     sigma_rel                      0.05   0.10   0.15   0.28   (0.10 and 0.15 synthesised)
#     mean of the profile asked for: 0.947  0.888  0.820  0.539
#     update_every=1:                0.947  0.888  0.820  0.539
#     update_every=10:               0.642  0.351  0.242  0.105
#     update_every=100:              0.151  0.070  0.041  0.012
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ema-pytorch==0.8.3 torch==2.13.0 numpy
"$place/venv/bin/python" - "$place" <<'PYTHON'
import pathlib
import sys

import numpy as np
import torch
from ema_pytorch import PostHocEMA

STEPS, KEPT, SYNTHESISED = 10_000, (0.05, 0.28), (0.05, 0.10, 0.15, 0.28)
place = pathlib.Path(sys.argv[1])


class Clock(torch.nn.Module):
    """Its one weight is the share of the training that is done: an average of it says when the average lives."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))


def asked_for(sigma_rel):
    """Mean of the density t^gamma on [0, 1] whose standard deviation is sigma_rel (bisection)."""
    low, high = 0.0, 1e4
    for _ in range(200):
        gamma = (low + high) / 2
        wide = np.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) > sigma_rel
        low, high = (gamma, high) if wide else (low, gamma)
    return (gamma + 1) / (gamma + 2)


def averaged(update_every):
    network = Clock()
    averages = PostHocEMA(
        network,
        sigma_rels=KEPT,
        update_every=update_every,
        checkpoint_every_num_steps=1000,
        checkpoint_folder=str(place / f"every_{update_every}"),
        checkpoint_dtype=torch.float64,
    )
    for step in range(1, STEPS + 1):
        network.share.data.fill_(step / STEPS)
        averages.update()
    return [float(averages.synthesize_ema_model(sigma_rel=width).ema_model.share) for width in SYNTHESISED]


def told(name, means):
    print(f"{name:30} {'  '.join(f'{mean:.3f}' for mean in means)}")


expected = [asked_for(width) for width in SYNTHESISED]
told("mean of the profile asked for:", expected)
seen = {}
for update_every in (1, 10, 100):
    seen[update_every] = averaged(update_every)
    told(f"update_every={update_every}:", seen[update_every])
right = np.allclose(seen[1], expected, atol=0.002)
early = seen[10][0] < 0.7 and max(seen[100]) < 0.2
sys.exit(0 if right and early else 1)
PYTHON

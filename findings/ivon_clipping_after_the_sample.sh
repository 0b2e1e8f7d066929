#!/usr/bin/env bash
# IVON does not see what becomes of the gradients before its step: clipping them is in vain, and a GradScaler blows it up.
#
# The variational optimizer draws weights inside `with optimizer.sampled_params(train=True):`, and its guide puts the
# backward pass there and `optimizer.step()` behind it. Between the two every training loop and trainer clips the
# gradients, and torch.amp.GradScaler divides them by its scale, within its `step`. One would guess that an optimizer
# reads `.grad` in its step; IVON copies it as the context closes. Clipping changes nothing, not even for gradients
# clipped to almost zero, and with a GradScaler momentum and Hessian are estimated from gradients 65,536 times too large,
# without an error: the scaler finds its own, unscaled ones finite. What works is to clip, and to unscale, inside.
#
# Seen with ivon-opt 0.1.3, torch 2.13.0 (CPU), Python 3.11: length of the first step, of momentum, largest Hessian
#     nothing between: 45.2717, 46.7517, 1.104
#     clipped to 0.001 between: 45.2717, 46.7517, 1.104
#     clipped to 0.001 inside: 0.0001, 0.0001, 1.000
#     GradScaler's step: 0.8938, 3063920.7500, 20989662.000
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ivon-opt==0.1.3 torch==2.13.0 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import ivon
import torch
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

SCALE = 65536.0


def first_step(words, clipped=None, scaled=False):
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 1)
    optimizer = ivon.IVON(network.parameters(), lr=0.1, ess=1000.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, enabled=scaled)
    inputs = torch.randn(32, 4)
    targets = 100 * inputs.sum(1, keepdim=True)
    before = parameters_to_vector(network.parameters()).detach()
    with optimizer.sampled_params(train=True):
        optimizer.zero_grad()
        scaler.scale(torch.nn.functional.mse_loss(network(inputs), targets)).backward()
        if clipped == "inside":
            clip_grad_norm_(network.parameters(), 1e-3)
    if clipped == "between":
        clip_grad_norm_(network.parameters(), 1e-3)
    scaler.step(optimizer)
    length = float((parameters_to_vector(network.parameters()).detach() - before).norm())
    state = optimizer.param_groups[0]
    momentum, hessian = float(state["momentum"].norm()), float(state["hess"].max())
    print(f"{words}: {length:.4f}, {momentum:.4f}, {hessian:.3f}")
    return length, momentum, hessian


plain = first_step("nothing between")
between = first_step("clipped to 0.001 between", clipped="between")
inside = first_step("clipped to 0.001 inside", clipped="inside")
scaled = first_step("GradScaler's step", scaled=True)
ignored = between == plain and inside[0] < 1e-3 * plain[0]
sys.exit(0 if ignored and abs(scaled[1] / plain[1] / SCALE - 1) < 1e-3 else 1)
PYTHON

#!/usr/bin/env bash
# diffusers' multistep schedulers noise an image backwards until their steps have been set.
#
# Every scheduler has `add_noise(image, noise, timestep)`, and what training scripts and probes of a pipeline do with it
# is to take the pipeline's scheduler as it was loaded. DDPMScheduler, DDIMScheduler and PNDMScheduler keep
# sqrt(alphas_cumprod[t]) of the image at timestep t. DPMSolverMultistepScheduler, UniPCMultistepScheduler and
# DEISMultistepScheduler, built from the same betas, look the timestep up in a list that runs the other way: before
# `set_timesteps` was called timestep 999 leaves the image nearly clean and timestep 0 is nearly pure noise, without a
# warning. After any `set_timesteps` they agree with the others.
#
# Seen with diffusers 0.42.1 and torch 2.14.1 (CPU), Python 3.11: share of the image that is left at timesteps 0 and 999
#     DDPMScheduler 0.9999 0.0064, after set_timesteps(20) 0.0064
#     DDIMScheduler 0.9999 0.0064, after set_timesteps(20) 0.0064
#     PNDMScheduler 0.9999 0.0064, after set_timesteps(20) 0.0064
#     DPMSolverMultistepScheduler 0.0064 1.0000, after set_timesteps(20) 0.0064
#     UniPCMultistepScheduler 0.0064 1.0000, after set_timesteps(20) 0.0064
#     DEISMultistepScheduler 0.0064 1.0000, after set_timesteps(20) 0.0064
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check diffusers==0.42.1 torch==2.14.1 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import diffusers
import torch

image, noise = torch.ones(1, 1), torch.zeros(1, 1)  # what is left of the image is read off directly
FORWARDS = ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler"]
MULTISTEP = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"]


def left(scheduler, timestep):
    return float(scheduler.add_noise(image, noise, torch.tensor([timestep])))


seen = {}
for name in FORWARDS + MULTISTEP:
    scheduler = getattr(diffusers, name)(num_train_timesteps=1000)
    before = left(scheduler, 0), left(scheduler, 999)
    scheduler.set_timesteps(20)
    seen[name] = (*before, left(scheduler, 999))
    print(f"{name} {before[0]:.4f} {before[1]:.4f}, after set_timesteps(20) {seen[name][2]:.4f}")

forwards = all(seen[name][0] > 0.99 and seen[name][1] < 0.01 for name in FORWARDS)
backwards = all(seen[name][0] < 0.01 and seen[name][1] > 0.99 for name in MULTISTEP)
agree_later = all(values[2] < 0.01 for values in seen.values())
sys.exit(0 if forwards and backwards and agree_later else 1)
PYTHON

#!/usr/bin/env bash
# 61 steps of diffusers' DDIM with trailing timesteps are 62, and the last one takes the finished image for pure noise.
#
# Trailing timesteps, the spacing that is advised for few steps and for schedules that end in pure noise, are made by
# np.arange(1000, 0, -1000 / steps). Where the quotient is rounded down (61, 103, 121, 122, 201, ... steps) the range
# has one entry more, about zero, which becomes timestep -1. To Python that is the last entry of alphas_cumprod: DDIM
# ends with a step from the noisiest level straight to the image, PNDM from there too. One would guess that a step more
# costs little and that 61 lies between 60 and 62; instead all samples become the data's mean, without a warning.
#
# Seen with diffusers 0.42.1, torch 2.13.0 (CPU), Python 3.11: data of mean 2 and standard deviation 0.5, exact network
#     DDIMScheduler of 60 steps: 60 timesteps, the last 16; samples of mean 1.94, standard deviation 0.497
#     DDIMScheduler of 61 steps: 62 timesteps, the last -1; samples of mean 2.00, standard deviation 0.001
#     DDIMScheduler of 62 steps: 62 timesteps, the last 15; samples of mean 1.98, standard deviation 0.485
#     PNDMScheduler of 61 steps: 71 timesteps, the last -1; samples of mean -394.18, standard deviation 92.473
#     numbers of steps up to 1000 with a timestep too many: 62
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check diffusers==0.42.1 torch==2.13.0 numpy
"$place/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import DDIMScheduler, PNDMScheduler

MEAN, DEVIATION = 2.0, 0.5


def exact_noise(noisy, alpha_bar):
    """What a perfect network predicts: the expected noise in `noisy`, given normally distributed data."""
    gain = alpha_bar.sqrt() * DEVIATION**2 / (alpha_bar * DEVIATION**2 + 1 - alpha_bar)
    image = MEAN + gain * (noisy - alpha_bar.sqrt() * MEAN)
    return (noisy - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()


def sampled(kind, steps, **options):
    scheduler = kind(timestep_spacing="trailing", **options)
    scheduler.set_timesteps(steps)
    torch.manual_seed(0)
    x = torch.randn(20_000, dtype=torch.float64)
    for time in scheduler.timesteps:
        x = scheduler.step(exact_noise(x, scheduler.alphas_cumprod[time].double()), time, x).prev_sample
    times, mean, deviation = scheduler.timesteps, float(x.mean()), float(x.std())
    print(
        f"{kind.__name__} of {steps} steps: {len(times)} timesteps, the last {int(times[-1])}; "
        f"samples of mean {mean:.2f}, standard deviation {deviation:.3f}"
    )
    return len(times), int(times[-1]), mean, deviation


def has_one_more(steps):
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return len(scheduler.timesteps) > steps


fewer, odd, more = (sampled(DDIMScheduler, steps, clip_sample=False) for steps in (60, 61, 62))
pndm = sampled(PNDMScheduler, 61)
too_many = [steps for steps in range(1, 1001) if has_one_more(steps)]
print("numbers of steps up to 1000 with a timestep too many:", len(too_many))
around = all(0.45 < seen[3] < 0.55 for seen in (fewer, more))
collapsed = odd[:2] == (62, -1) and odd[3] < 0.01 and pndm[2] < -100
sys.exit(0 if around and collapsed and too_many[:5] == [61, 103, 121, 122, 201] else 1)
PYTHON

#!/usr/bin/env bash
# azula's REABSampler, after DPM-Solver-v3, is of first order whatever its `order`, and for VE far worse than Euler.
#
# azula has multi-step samplers of several parametrisations and orders, and its Rosenbrock-type one is the most
# elaborate: the linear part taken out, exponential weights, any order. One would guess that it needs the fewest steps.
# Its docstring scales the integral over a step by sqrt(1 + e^(2 s)), of the step's end; the code takes alpha of the end
# and sigma of the beginning. Each step is then wrong in second order, and the samples in first, most for
# variance-exploding schedules, whose sigma falls by a large factor in a step. It does converge, so that images of many
# steps show nothing.
#
# Seen with azula 0.11.1, torch 2.14.1 (CPU), Python 3.11: mean error of samples against the exact solution, exact
# denoiser of data of mean 2 and standard deviation 0.5, at 32, 64, 128, 256 steps
#     VESchedule, Euler: 0.0614 0.0315 0.0160 0.0080
#     VESchedule, Heun: 0.0157 0.0037 0.0009 0.0002
#     VESchedule, zEAB of order 2: 0.0105 0.0028 0.0007 0.0002
#     VESchedule, REAB of order 2: 0.3470 0.1661 0.0812 0.0401
#     VESchedule, REAB of order 3: 0.3367 0.1645 0.0809 0.0401
#     RectifiedSchedule, Euler: 0.0271 0.0137 0.0069 0.0035
#     RectifiedSchedule, Heun: 0.0044 0.0008 0.0002 0.0000
#     RectifiedSchedule, zEAB of order 2: 0.0022 0.0007 0.0002 0.0001
#     RectifiedSchedule, REAB of order 2: 0.0323 0.0169 0.0087 0.0044
#     RectifiedSchedule, REAB of order 3: 0.0380 0.0184 0.0090 0.0045
#     CosineSchedule, Euler: 0.0281 0.0142 0.0072 0.0036
#     CosineSchedule, Heun: 0.0106 0.0016 0.0003 0.0000
#     CosineSchedule, zEAB of order 2: 0.0053 0.0016 0.0005 0.0001
#     CosineSchedule, REAB of order 2: 0.0140 0.0083 0.0046 0.0024
#     CosineSchedule, REAB of order 3: 0.0259 0.0114 0.0053 0.0026
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 einops==0.8.2 tqdm==4.70.1
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps azula==0.11.1
"$place/venv/bin/python" - <<'PYTHON'
import sys
from types import SimpleNamespace

import torch
from azula.noise import CosineSchedule, RectifiedSchedule, VESchedule
from azula.sample import EulerSampler, HeunSampler, REABSampler, zEABSampler

torch.set_default_dtype(torch.float64)
MEAN, DEVIATION, STEPS = 2.0, 0.5, (32, 64, 128, 256)
START, END = torch.tensor(1.0), torch.tensor(0.0)


class Exact(torch.nn.Module):
    """The denoiser of normal data."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, noisy, time):
        alpha, sigma = self.schedule(time)
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        return SimpleNamespace(mean=MEAN + gain * (noisy - alpha * MEAN))


def at(schedule, time, quantiles):
    """Where the flow of the data has standardised values at a time."""
    alpha, sigma = schedule(time)
    return alpha * MEAN + (alpha**2 * DEVIATION**2 + sigma**2).sqrt() * quantiles


def errors(sampler, schedule, **options):
    quantiles = torch.linspace(-2, 2, 5)[:, None]
    begun, exact = at(schedule, START, quantiles), at(schedule, END, quantiles)
    solved = [sampler(Exact(schedule), steps=steps, silent=True, **options)(begun) for steps in STEPS]
    return [float((samples - exact).abs().mean()) for samples in solved]


as_said = True
samplers = {
    "Euler": (EulerSampler, {}),
    "Heun": (HeunSampler, {}),
    "zEAB of order 2": (zEABSampler, {"order": 2}),
    "REAB of order 2": (REABSampler, {"order": 2}),
    "REAB of order 3": (REABSampler, {"order": 3}),
}
for schedule in (VESchedule(), RectifiedSchedule(), CosineSchedule()):
    seen = {name: errors(sampler, schedule, **options) for name, (sampler, options) in samplers.items()}
    for name, values in seen.items():
        print(f"{type(schedule).__name__}, {name}: {' '.join(f'{value:.4f}' for value in values)}")
    orders = {name: torch.log2(torch.tensor(values[-2] / values[-1])) for name, values in seen.items()}
    as_said &= all(abs(orders[name] - 1) < 0.15 for name in ("Euler", "REAB of order 2", "REAB of order 3"))
    as_said &= orders["Heun"] > 1.6 and orders["zEAB of order 2"] > 1.6
    if isinstance(schedule, VESchedule):
        as_said &= seen["REAB of order 3"][1] > 3 * seen["Euler"][1]
sys.exit(0 if as_said else 1)
PYTHON

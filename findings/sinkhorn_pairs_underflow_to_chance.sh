#!/usr/bin/env bash
# torchcfm's Sinkhorn pairs images with noise by chance, and one outlier leaves a batch of 128 with some 25 samples.
#
# SchrodingerBridgeConditionalFlowMatcher has ot_method="sinkhorn", of which its docstring says that it is the right one
# in theory; OTPlanSampler has it for all. A weak regularisation makes the entropic plan sharp: for images almost one
# partner each, as by "exact". But POT's plain Sinkhorn is called, on exp(-squared distance / (2 sigma^2)) in the data's
# own precision, and a squared distance above some 206 sigma^2 is zero there in float32 (1490 sigma^2 in float64). Two
# standard normal points are that far apart in 104 dimensions. If all are, the plan becomes the uniform one: the bridge
# is trained on independent pairs, the opposite of what was asked for. If one sample is that far from all others, as an
# outlier is in a few dimensions, the iteration stops at its first step and what comes out is the kernel itself, whose
# mass lies on the nearest pairs: training sees a part of the batch. Both warn (POT of numerical errors, torchcfm of the
# first case), once per process; no training stops. (Any plan is drawn from with replacement, by NumPy's generator: 63 %
# of a batch are used at best, and torch.manual_seed does not fix them.)
#
# Seen with torchcfm 1.0.7, POT 0.9.7.post1, torch 2.14.1 (CPU), Python 3.11, sigma 1, batches of 128: partners of a
# sample (exponential of their entropy), mean squared distance of pairs over that of chance, samples used of 128
#     2 dimensions, sinkhorn: 82.9, 0.42, 81
#     2 dimensions, exact: 1.0, 0.06, 81
#     2 dimensions, sinkhorn in the log domain: 82.9, 0.42, 82
#     784 dimensions, sinkhorn: 128.0, 1.00, 81
#     784 dimensions, exact: 1.0, 0.91, 81
#     784 dimensions, sinkhorn in the log domain: 1.5, 0.91, 81
#     10 dimensions, sinkhorn: 3.0, 0.42, 82
#     10 dimensions, exact: 1.0, 0.41, 81
#     10 dimensions, sinkhorn in the log domain: 3.0, 0.42, 81
#     10 dimensions, one outlier, sinkhorn: 1.7, 0.13, 25
#     10 dimensions, one outlier, exact: 1.0, 0.42, 82
#     10 dimensions, one outlier, sinkhorn in the log domain: 3.0, 0.43, 81
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 \
  scipy==1.17.1 pot==0.9.7.post1
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps torchcfm==1.0.7
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import ot
import torch
from torchcfm.conditional_flow_matching import SchrodingerBridgeConditionalFlowMatcher

BATCH, SIGMA, REPEATS = 128, 1.0, 100


def seen(plan, sampler, distances):
    """Partners of a sample, cost over that of independent pairs, mean number of distinct samples that a batch has."""
    plan = plan.astype(np.float64) / plan.sum()
    rows = plan / np.maximum(plan.sum(1, keepdims=True), 1e-300)
    entropies = -(rows * np.log(np.maximum(rows, 1e-300))).sum(1)
    used = [len(set(sampler.sample_map(plan, BATCH)[1])) for _ in range(REPEATS)]
    return float(np.exp(entropies @ plan.sum(1))), float((plan * distances).sum() / distances.mean()), np.mean(used)


def plans(start, end):
    """By Sinkhorn in torchcfm, by the exact method in torchcfm, and what the first shall be, in the log domain."""
    distances = (torch.cdist(start, end) ** 2).double().numpy()
    even = np.full(BATCH, 1 / BATCH)
    matchers = {name: SchrodingerBridgeConditionalFlowMatcher(SIGMA, ot_method=name) for name in ("sinkhorn", "exact")}
    found = {name: matcher.ot_sampler.get_map(start, end) for name, matcher in matchers.items()}
    found["sinkhorn in the log domain"] = ot.bregman.sinkhorn_log(even, even, distances, 2 * SIGMA**2)
    return {name: seen(plan, matchers["exact"].ot_sampler, distances) for name, plan in found.items()}


torch.manual_seed(0)
np.random.seed(0)
start, end = 2 * torch.randn(BATCH, 10), 2 * torch.randn(BATCH, 10) + 1
strayed = end.clone()
strayed[0] = 7
cases = {
    "2 dimensions": (torch.randn(BATCH, 2), torch.randn(BATCH, 2)),
    "784 dimensions": (torch.randn(BATCH, 784), torch.randn(BATCH, 784)),
    "10 dimensions": (start, end),
    "10 dimensions, one outlier": (start, strayed),
}
results = {case: plans(*points) for case, points in cases.items()}
for case, rows in results.items():
    for name, (partners, cost, used) in rows.items():
        print(f"{case}, {name}: {partners:.1f}, {cost:.2f}, {used:.0f}")
right = all(
    np.allclose(results[case]["sinkhorn"][:2], results[case]["sinkhorn in the log domain"][:2], rtol=1e-3)
    for case in ("2 dimensions", "10 dimensions")
)
chance, meant = (results["784 dimensions"][name] for name in ("sinkhorn", "sinkhorn in the log domain"))
few = results["10 dimensions, one outlier"]["sinkhorn"][2]
as_said = right and chance[0] > 127.9 and meant[0] < 2 and few < 40
sys.exit(0 if as_said else 1)
PYTHON

#!/usr/bin/env bash
# bayesian-torch's KL term of a layer with a million weights is as large as that of a layer with a hundred.
#
# Its guide minimises the cross entropy plus get_kl_loss(model) over the batch's size, and one would guess an evidence
# lower bound, at worst one with a batch in place of the data set. But the divergence of each layer's weights is their
# mean, not their sum, and only the means are added up, so that the prior counts for less the wider a layer is, and one
# bias counts for as much as a whole row of weights: no factor before the term makes it the bound. And what is called
# prior_variance (each layer's docstring says so too) is the prior's standard deviation.
#
# Seen with bayesian-torch 0.5.0, torch 2.13.0 (CPU), Python 3.11: layers with prior_variance=0.25
#     10 x 10: get_kl_loss 2.494; the divergence of a prior of variance 0.25 is 203, of standard deviation 0.25 135
#     100 x 100: get_kl_loss 2.475; the divergence of a prior of variance 0.25 is 18761, of standard deviation 0.25 12514
#     1000 x 1000: get_kl_loss 2.472; the divergence of a prior of variance 0.25 is 1858072, of standard deviation 0.25 1238722
#     means of a prior of standard deviation 0.25: 2.494 2.475 2.472
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  bayesian-torch==0.5.0 torch==2.13.0 torchvision==0.28.0
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from bayesian_torch.layers import LinearReparameterization
from bayesian_torch.models.dnn_to_bnn import get_kl_loss
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

GIVEN = 0.25  # as prior_variance


def divergences(layer, prior_deviation):
    """The divergence of every weight and of every bias from the prior."""
    prior = Normal(0.0, prior_deviation)
    weights = kl_divergence(Normal(layer.mu_weight, softplus(layer.rho_weight)), prior)
    return weights, kl_divergence(Normal(layer.mu_bias, softplus(layer.rho_bias)), prior)


as_said, means = True, []
for width in (10, 100, 1000):
    torch.manual_seed(0)
    layer = LinearReparameterization(width, width, prior_mean=0.0, prior_variance=GIVEN)
    with torch.no_grad():
        seen = float(get_kl_loss(layer))
        of_variance = sum(float(part.sum()) for part in divergences(layer, GIVEN**0.5))
        of_deviation = sum(float(part.sum()) for part in divergences(layer, GIVEN))
        means.append(sum(float(part.mean()) for part in divergences(layer, GIVEN)))
    print(
        f"{width} x {width}: get_kl_loss {seen:.3f}; the divergence of a prior of variance {GIVEN} is {of_variance:.0f}, "
        f"of standard deviation {GIVEN} {of_deviation:.0f}"
    )
    as_said &= abs(seen / means[-1] - 1) < 1e-4 and of_deviation > 10 * seen
print("means of a prior of standard deviation 0.25:", *(f"{mean:.3f}" for mean in means))
sys.exit(0 if as_said and abs(means[2] / means[0] - 1) < 0.05 else 1)
PYTHON

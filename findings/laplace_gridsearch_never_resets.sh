#!/usr/bin/env bash
# laplace-torch's grid search scores a prior precision by the mean over it and all before it, and chooses one too large.
#
# optimize_prior_precision(method="gridsearch"), as in its README, takes one torchmetrics metric for the whole grid,
# updates it on the validation set for each prior precision, and never resets it: the score of a grid point is the mean
# of all up to there. The grid begins at 1e-4, where predictions are nearly uniform, so that this mean still falls long
# after the score itself has begun to rise. The posterior of an overconfident network comes out too narrow; if the
# network alone is better than the mean, the end of the grid is chosen, 1e4, which is no posterior at all; another grid
# chooses otherwise; and one infinite score makes all that follow infinite. A plain function as `loss` is right, which
# one would not guess to differ from the default metric of the same formula. In regression the default is the squared
# error of the mean, which with pred_type="glm" no prior precision changes: rounding chooses among equal scores.
#
# Seen with laplace-torch 0.3, curvlinops-for-pytorch 3.0.1, torchmetrics 1.9.0, torch 2.14.1 (CPU), Python 3.11: last
# layer, Kronecker factors, glm, probit; prior precisions, and behind them negative log-likelihoods of the validation
# set
#     overconfident network: 1.524 by itself
#         best of the grid: 0.1177, 0.735
#         grid search chooses 0.628, 0.883; of a grid from 0.1: 0.1123
#         grid search by a function chooses 0.1177
#     decayed network: 0.604 by itself
#         best of the grid: 0.9112, 0.576
#         grid search chooses 1e+04, 0.604; of a grid from 0.1: 11.77
#         grid search by a function chooses 0.9112
#     regression, precision 0.0001: squared error 0.046598, standard deviation 0.9479
#     regression, precision 10000: squared error 0.046598, standard deviation 0.0316
#     regression: grid search chooses 3944
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check laplace-torch==0.3 torchmetrics==1.9.0 torch==2.14.1 \
  torchvision==0.29.1 curvlinops-for-pytorch==3.0.1 asdfghjkl==0.1a4
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from laplace import Laplace
from torch.nn.functional import cross_entropy, mse_loss, nll_loss
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanSquaredError

torch.set_default_dtype(torch.float64)
GRID = torch.logspace(-4, 4, 100)


def trained(inputs, targets, loss, outputs, decay):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 50), torch.nn.Tanh(), torch.nn.Linear(50, outputs))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=decay)
    for _ in range(500):
        optimizer.zero_grad()
        loss(network(inputs), targets).backward()
        optimizer.step()
    return network


def points(number, seed):
    """Three classes in the plane that overlap."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (number,), generator=source)
    centres = torch.tensor([[0.0, 1.2], [1.1, -0.6], [-1.1, -0.6]])
    return centres[labels] + 0.8 * torch.randn(number, 2, generator=source), labels


def fitted(network, likelihood, inputs, targets):
    posterior = Laplace(network, likelihood, subset_of_weights="last_layer", hessian_structure="kron")
    posterior.fit(DataLoader(TensorDataset(inputs, targets), batch_size=len(inputs)))
    return posterior


def searched(posterior, held_out, **options):
    loader = DataLoader(TensorDataset(*held_out), batch_size=len(held_out[0]))
    posterior.optimize_prior_precision(
        method="gridsearch", pred_type="glm", link_approx="probit", val_loader=loader, **options
    )
    return float(posterior.prior_precision)


def score(posterior, precision, held_out):
    posterior.prior_precision = precision
    probabilities = posterior(held_out[0], pred_type="glm", link_approx="probit")
    return float(nll_loss(probabilities.log(), held_out[1]))


as_said = True
seen, held_out = points(60, 0), points(500, 1)
for name, decay in (("overconfident", 1e-3), ("decayed", 1e-2)):
    network = trained(*seen, cross_entropy, 3, decay)
    posterior = fitted(network, "classification", *seen)
    scores = [score(posterior, precision, held_out) for precision in GRID]
    best = min(range(len(GRID)), key=scores.__getitem__)
    means = torch.tensor(scores).cumsum(0) / torch.arange(1, len(GRID) + 1)
    chosen = searched(posterior, held_out)
    by_function = searched(posterior, held_out, loss=lambda chances, labels: nll_loss(chances.log(), labels))
    from_one_tenth = searched(posterior, held_out, log_prior_prec_min=-1)
    own, right = score(posterior, chosen, held_out), scores[best]
    print(f"{name} network: {float(cross_entropy(network(held_out[0]), held_out[1])):.3f} by itself")
    print(f"    best of the grid: {float(GRID[best]):.4g}, {right:.3f}")
    print(f"    grid search chooses {chosen:.4g}, {own:.3f}; of a grid from 0.1: {from_one_tenth:.4g}")
    print(f"    grid search by a function chooses {by_function:.4g}")
    as_said &= abs(chosen / float(GRID[means.argmin()]) - 1) < 1e-9 and abs(by_function / float(GRID[best]) - 1) < 1e-9
    as_said &= chosen > 4 * by_function

inputs = seen[0]
targets = torch.sin(2 * inputs[:, :1]) + 0.1 * inputs[:, 1:]
posterior = fitted(trained(inputs, targets, mse_loss, 1, 1e-3), "regression", inputs, targets)
new, spreads, errors = held_out[0], {}, {}
for precision in (1e-4, 1e4):
    posterior.prior_precision = precision
    mean, variance = posterior(new)
    spreads[precision] = float(variance.mean().sqrt())
    errors[precision] = error = float(mse_loss(mean, torch.sin(2 * new[:, :1]) + 0.1 * new[:, 1:]))
    spread = spreads[precision]
    print(f"regression, precision {precision:g}: squared error {error:.6f}, standard deviation {spread:.4f}")
as_said &= spreads[1e-4] > 10 * spreads[1e4] and abs(errors[1e-4] - errors[1e4]) < 1e-9
asked = []  # of the default loss, squared error, at least once for each precision
update = MeanSquaredError.update
MeanSquaredError.update = lambda self, *given: (asked.append(1), update(self, *given))[1]
chosen = searched(posterior, (new, torch.sin(2 * new[:, :1]) + 0.1 * new[:, 1:]))
as_said &= len(asked) >= len(GRID)
print(f"regression: grid search chooses {chosen:.4g}")
sys.exit(0 if as_said else 1)
PYTHON

#!/usr/bin/env bash
# scoringrules' fast CRPS estimators (akr) score a sorted ensemble or a Markov chain for a spread that it does not have.
#
# `estimator="akr"` and "akr_circperm" of crps_ensemble and es_ensemble replace the mean distance of all pairs of
# members by that of M of them, which costs O(M) in place of O(M^2). One would guess a noisier estimate of the same
# score; it is that for members in random order alone. The pairs are each member with the one before it, or with the one
# half the ensemble away. Members that come sorted (quantiles, an ensemble that another estimator has sorted) or as a
# chain have neighbours that are too near or partners that are too far, and what is left is no proper score: one prefers
# forecasts of hardly any spread, the other ever wider ones, at any number of forecasts. The docstrings name no order,
# the other five estimators do not see it. backend="numba" besides pairs the first member with the last but one, which
# of two members is itself: there its score is another than backend="numpy"'s.
#
# Seen with scoringrules 0.10.0, numba 0.68.1, numpy 2.4.6, Python 3.11: mean score of 100 members of standard deviation
# 0.25, 0.5, 1, 1.5, 2, the observations' being 1
#     in random order, fair: 0.683 0.610 0.563 0.591 0.654
#     in random order, akr: 0.683 0.610 0.561 0.588 0.651
#     in random order, akr_circperm: 0.683 0.611 0.564 0.592 0.656
#     sorted, fair: 0.683 0.610 0.563 0.591 0.654
#     sorted, akr: 0.812 0.868 1.078 1.363 1.683
#     sorted, akr_circperm: 0.626 0.497 0.335 0.249 0.199
#     a chain, fair: 0.699 0.642 0.626 0.683 0.776
#     a chain, akr: 0.782 0.807 0.956 1.179 1.436
#     a chain, akr_circperm: 0.684 0.611 0.564 0.591 0.653
#     a chain, shuffled, fair: 0.699 0.642 0.626 0.683 0.776
#     a chain, shuffled, akr: 0.699 0.642 0.626 0.684 0.777
#     a chain, shuffled, akr_circperm: 0.699 0.642 0.627 0.685 0.778
#     two members of standard deviation 1, akr: 0.559 by numpy, 0.841 by numba
#
# Fails (exit status 1) if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check scoringrules==0.10.0 numba==0.68.1 numpy==2.4.6 \
  scipy==1.17.1
"$place/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import scoringrules

FORECASTS, MEMBERS, SPREADS = 2000, 100, (0.25, 0.5, 1.0, 1.5, 2.0)
ESTIMATORS = ("fair", "akr", "akr_circperm")
source = np.random.default_rng(0)


def chain(number, members, correlation=0.9):
    """Stationary, normal, of standard deviation 1: what a sampler gives that was not thinned."""
    steps = source.normal(size=(members, number))
    values = [steps[0]]
    for step in steps[1:]:
        values.append(correlation * values[-1] + np.sqrt(1 - correlation**2) * step)
    return np.stack(values, axis=1)


def scores(members, estimator, backend=None):
    backend = backend or ("numba" if estimator == "fair" else "numpy")
    return [
        float(np.mean(scoringrules.crps_ensemble(observed, spread * members, estimator=estimator, backend=backend)))
        for spread in SPREADS
    ]


observed, members = source.normal(size=FORECASTS), source.normal(size=(FORECASTS, MEMBERS))
orders = {"in random order": members, "sorted": np.sort(members, axis=1), "a chain": chain(FORECASTS, MEMBERS)}
orders["a chain, shuffled"] = source.permuted(orders["a chain"], axis=1)
seen = {(name, estimator): scores(order, estimator) for name, order in orders.items() for estimator in ESTIMATORS}
for (name, estimator), values in seen.items():
    print(f"{name}, {estimator}: {' '.join(f'{value:.3f}' for value in values)}")
preferred = {key: SPREADS[int(np.argmin(values))] for key, values in seen.items()}
as_said = all(preferred[name, "fair"] == 1 for name in orders)
as_said &= all(preferred[name, "akr"] == 1 for name in ("in random order", "a chain, shuffled"))
as_said &= preferred["sorted", "akr"] == 0.25 and preferred["sorted", "akr_circperm"] == 2
as_said &= preferred["a chain", "akr"] < 1
two = {backend: scores(members[:, :2], "akr", backend)[2] for backend in ("numpy", "numba")}
print(f"two members of standard deviation 1, akr: {two['numpy']:.3f} by numpy, {two['numba']:.3f} by numba")
as_said &= two["numba"] > 1.3 * two["numpy"]
sys.exit(0 if as_said else 1)
PYTHON

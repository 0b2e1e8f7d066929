#!/usr/bin/env bash
# laplace-torch's Kronecker posterior of a convolution is sharper by the number of its positions if BackPACK computes it.
#
# laplace-torch offers BackPACK, ASDL and curvlinops as backends of one approximation, and one would guess that they give
# one posterior: of linear layers, and as full or diagonal matrices, they do. BackPACK sums both Kronecker factors of a
# convolution over all positions of its output, which its source says is the paper's (KFC, arXiv 1602.01407) times their
# number; the other two divide by it. laplace-torch takes the factors as they come. The weights' curvature is then H * W
# times too large and the biases' is right, so that no prior precision mends it, and predictions look far more certain.
# A convolution of 1 x 1 with a squared error shows who is right: its Kronecker product is the exact Gauss-Newton block.
#
# Seen with laplace-torch 0.3, backpack-for-pytorch 1.7.1, curvlinops-for-pytorch 3.0.1, asdfghjkl 0.1a4, torch 2.14.1
# (CPU), Python 3.11: curvature of weights and of biases, Kronecker over exact
#     1 x 1, AsdlGGN: 1.00 and 1.00
#     1 x 1, CurvlinopsGGN: 1.00 and 1.00
#     1 x 1, BackPackGGN: 1.00 and 1.00
#     8 x 8, AsdlGGN: 1.00 and 1.00
#     8 x 8, CurvlinopsGGN: 1.00 and 1.00
#     8 x 8, BackPackGGN: 64.00 and 1.00
#     predicted standard deviation of two convolutions, AsdlGGN: 0.3347
#     predicted standard deviation of two convolutions, CurvlinopsGGN: 0.3347
#     predicted standard deviation of two convolutions, BackPackGGN: 0.0837
#
# Fails (exit status 1) if that changes. Installs about 3 GB (torch) into a temporary folder.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check laplace-torch==0.3 backpack-for-pytorch==1.7.1 \
  curvlinops-for-pytorch==3.0.1 asdfghjkl==0.1a4 torch==2.14.1 torchvision==0.29.1
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from laplace import Laplace
from laplace.curvature import AsdlGGN, BackPackGGN, CurvlinopsGGN
from torch.nn import Conv2d, Flatten, Sequential, Tanh
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float64)
BACKENDS = (AsdlGGN, CurvlinopsGGN, BackPackGGN)


def fitted(network, images, structure, backend):
    torch.manual_seed(1)
    data = TensorDataset(images, torch.randn(len(images), network(images).shape[1]))
    posterior = Laplace(network, "regression", subset_of_weights="all", hessian_structure=structure, backend=backend)
    posterior.fit(DataLoader(data, batch_size=len(data)))
    return posterior


def too_large(side, backend):
    """Curvature of the weights and of the biases, over the exact matrix's, of one 1 x 1 convolution."""
    torch.manual_seed(0)
    network, images = Sequential(Conv2d(3, 2, 1), Flatten()), torch.randn(20, 3, side, side)
    exact = fitted(network, images, "full", CurvlinopsGGN).H.diagonal()
    ratio = fitted(network, images, "kron", backend).H.diag() / exact
    return float(ratio[:6].mean()), float(ratio[6:].mean())


def deviation(backend):
    """Mean standard deviation of what a network of two convolutions says of new images of 8 x 8."""
    torch.manual_seed(0)
    network = Sequential(Conv2d(3, 8, 3, padding=1), Tanh(), Conv2d(8, 3, 3, padding=1), Flatten())
    posterior = fitted(network, torch.randn(20, 3, 8, 8), "kron", backend)
    _, covariance = posterior(torch.randn(4, 3, 8, 8))
    return float(covariance.diagonal(dim1=-2, dim2=-1).sqrt().mean())


as_said = True
for side in (1, 8):
    seen = {backend: too_large(side, backend) for backend in BACKENDS}
    for backend, (weights, biases) in seen.items():
        print(f"{side} x {side}, {backend.__name__}: {weights:.2f} and {biases:.2f}")
        right = side**2 if backend is BackPackGGN else 1
        as_said &= abs(weights / right - 1) < 1e-6 and abs(biases - 1) < 1e-6
spread = {backend: deviation(backend) for backend in BACKENDS}
for backend, value in spread.items():
    print(f"predicted standard deviation of two convolutions, {backend.__name__}: {value:.4f}")
as_said &= abs(spread[AsdlGGN] / spread[CurvlinopsGGN] - 1) < 1e-3 and spread[BackPackGGN] < 0.5 * spread[AsdlGGN]
sys.exit(0 if as_said else 1)
PYTHON

"""Posteriors over several layers, fed exactly, and the dense matrices that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from genuq.models import GenerativeModel
from genuq.posteriors.curvature.capture import fisher_gradients, layer_features
from support.posterior_oracles import network_case

Batch = tuple[Tensor, Tensor, Tensor | None]


def in_double(network: nn.Module, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    return network(x)


def plain_model(network: nn.Module, shape: tuple[int, ...]) -> GenerativeModel:
    """A model around a network of x alone."""
    return GenerativeModel(network, shape, call=in_double)


def plain_batch(shape: tuple[int, ...], images: int = 4, seed: int = 5) -> Batch:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(images, *shape, generator=numbers, dtype=torch.float64), torch.rand(images), None


def case(name: str, images: int = 4) -> tuple[GenerativeModel, Batch]:
    """A small network of ours in float64 and a batch for it."""
    model, _ = network_case(name)
    numbers = torch.Generator().manual_seed(5)
    x = torch.randn(images, *model.shape, generator=numbers, dtype=torch.float64)
    return model, (x, torch.rand(images, generator=numbers), torch.arange(images) % 2)


def exact_draws(prediction: Tensor) -> Tensor:
    """Numbers (S, B, ...) whose second moment over S is the identity, in place of random ones."""
    size = prediction.shape[1:].numel()
    basis = size**0.5 * torch.eye(size, dtype=prediction.dtype).reshape(size, 1, *prediction.shape[1:])
    return basis.expand(size, *prediction.shape)


def feed(posterior, model: GenerativeModel, batch: Batch, numbers: Tensor | None = None) -> None:
    """Update with a batch; without `numbers`, the Fisher is exact."""
    prediction, inputs, outputs = layer_features(model, posterior.layer_names, *batch)
    sent = exact_draws(prediction) if numbers is None else numbers
    posterior.update(inputs, fisher_gradients(prediction, outputs, sent))


def part(batch: Batch, rows: slice) -> Batch:
    x, t_B, y_B = batch
    return x[rows], t_B[rows], None if y_B is None else y_B[rows]


def layer_jacobian(model: GenerativeModel, name: str, batch: Batch) -> Tensor:
    """d prediction / d (weight, bias) of one layer, (B, values, O, K)."""
    layer, x = model.network.get_submodule(name), batch[0]
    parameters = {key: value.detach() for key, value in layer.named_parameters()}

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = model.network

        def forward(self):
            return model._call(self.network, *batch).reshape(len(x), -1)

    prefix = f"network.{name}." if name else "network."
    derivative = jacrev(
        lambda values: functional_call(Called(), {prefix + key: value for key, value in values.items()}, ())
    )(parameters)
    outputs = layer.weight.shape[0]
    blocks = [value.reshape(*value.shape[:2], outputs, -1) for value in derivative.values()]
    return torch.cat(blocks, dim=3).detach()


def gauss_newton(jacobian_BDOK: Tensor) -> Tensor:
    """Summed over the batch, (O, K, O, K)."""
    return torch.einsum("bdok,bdpl->okpl", jacobian_BDOK, jacobian_BDOK)


def kronecker(posterior, name: str) -> Tensor:
    """The curvature that KFAC states, (O, K, O, K)."""
    gram_KK, arrived_OO = posterior.factors(name)
    return torch.einsum("kl,op->okpl", gram_KK, arrived_OO)


def square(matrix_OKOK: Tensor) -> Tensor:
    """(O, K, O, K) as a matrix."""
    size = matrix_OKOK.shape[0] * matrix_OKOK.shape[1]
    return matrix_OKOK.reshape(size, size)

"""Small heads, models and data for the posterior tests, and what autograd says about them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from genuq.data.base import ArrayDataset
from genuq.models import GenerativeModel
from genuq.networks import MLP, DiT, UNet
from genuq.posteriors.fitting.regression import RegressionBatches, regress


def _conv(*arguments, shape=(3, 6, 7), **options) -> tuple[Callable[[], nn.Module], tuple[int, ...]]:
    return lambda: nn.Conv2d(*arguments, **options), shape


HEADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1x1": _conv(3, 2, 1),
    "1x1, padded": _conv(3, 2, 1, padding=1),
    "3x3": _conv(3, 2, 3, padding=1),
    "3x3, no bias": _conv(3, 2, 3, padding=1, bias=False),
    "3x3, valid": _conv(3, 2, 3, padding="valid"),
    "3x3, same": _conv(3, 2, 3, padding="same"),
    "3x3, padding beyond the kernel": _conv(2, 2, 3, padding=4, shape=(2, 3, 4)),
    "5x5": _conv(2, 2, 5, padding=2, shape=(2, 6, 7)),
    "5x5 on 5x5, valid": _conv(2, 2, 5, shape=(2, 5, 5)),
    "5x5 larger than the map": _conv(2, 2, 5, padding=2, shape=(2, 2, 3)),
    "2x2": _conv(3, 2, 2),
    "2x2, same": _conv(3, 2, 2, padding="same"),
    "4x4, same, no bias": _conv(2, 2, 4, padding="same", bias=False, shape=(2, 5, 6)),
    "2x3, padding (2, 1)": _conv(3, 2, (2, 3), padding=(2, 1)),
    "3x1, padding (1, 0)": _conv(3, 2, (3, 1), padding=(1, 0)),
    "linear on tokens": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear on a grid of tokens": (lambda: nn.Linear(4, 3), (2, 3, 4)),
    "linear, flat": (lambda: nn.Linear(4, 3), (4,)),
    "linear, no bias": (lambda: nn.Linear(4, 3, bias=False), (5, 4)),
}


def head_case(name: str, images: int = 4) -> tuple[nn.Module, Tensor]:
    """A float64 layer and features for it, the same at every call."""
    make, shape = HEADS[name]
    torch.manual_seed(0)
    return make().double(), torch.randn(images, *shape, dtype=torch.float64)


def jacobian(layer: nn.Module, function: Callable[[dict[str, Tensor]], Tensor]) -> Tensor:
    """d function / d (weight, bias) by autograd, (values of the function, O, K)."""
    parameters = {name: value.detach() for name, value in layer.named_parameters()}
    derivative = jacrev(function)(parameters)
    outputs = layer.weight.shape[0]
    values = derivative["weight"].numel() // layer.weight.numel()
    blocks = [derivative["weight"].reshape(values, outputs, -1)]
    if "bias" in derivative:
        blocks.append(derivative["bias"].reshape(values, outputs, 1))
    return torch.cat(blocks, dim=2).detach()


def layer_jacobian(layer: nn.Module, features: Tensor, behind: Callable[[Tensor], Tensor] = lambda f: f) -> Tensor:
    return jacobian(layer, lambda values: behind(functional_call(layer, values, (features,))))


def gauss_newton(jacobian_NOK: Tensor) -> Tensor:
    """J^T J over all parameters of the head, (O, K, O, K)."""
    return torch.einsum("nok,npl->okpl", jacobian_NOK, jacobian_NOK)


def independent_channels(gram_KK: Tensor, active_O: Tensor) -> Tensor:
    """What an exact last layer claims the GGN to be: A for each active channel, nothing between channels."""
    return torch.einsum("kl,op->okpl", gram_KK, torch.diag(active_O.to(gram_KK)))


def relative_error(value: Tensor, wanted: Tensor) -> float:
    return float((value - wanted).abs().max() / wanted.abs().max())


def image_data(images: int = 24, shape: tuple[int, ...] = (1, 8, 8)) -> ArrayDataset:
    numbers = torch.Generator().manual_seed(3)
    items = torch.randint(0, 256, (images, *shape), generator=numbers, dtype=torch.uint8)
    return ArrayDataset(items, torch.arange(images) % 2, ["even", "odd"], "noise")


def point_data(points: int = 24) -> ArrayDataset:
    numbers = torch.Generator().manual_seed(3)
    return ArrayDataset(torch.randn(points, 2, generator=numbers), torch.arange(points) % 2, ["even", "odd"], "points")


def in_double(network: nn.Module, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    """The call adapter of a network in float64."""
    return network(x.double(), t_B.double(), y_B)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "unet": (lambda: UNet((1, 8, 8), channels=(8, 16), num_classes=2), (1, 8, 8)),
    "dit": (lambda: DiT((1, 8, 8), patch=2, width=16, depth=1, heads=2, num_classes=2), (1, 8, 8)),
    "mlp": (lambda: MLP((2,), width=16, depth=2, num_classes=2), (2,)),
}


def network_case(name: str) -> tuple[GenerativeModel, ArrayDataset]:
    """A small network of ours in float64, with no weight at zero, and data for it."""
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    network = make().double()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    data = point_data() if len(shape) == 1 else image_data(shape=shape)
    return GenerativeModel(network, shape, num_classes=2, call=in_double, head="head"), data


class Tiny(nn.Module):
    """A network of one hidden layer; `behind` follows its head."""

    def __init__(self, head: nn.Module | None = None, behind: Callable[[Tensor], Tensor] = lambda f: f) -> None:
        super().__init__()
        self.entry = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 1, 3, padding=1) if head is None else head
        self.behind = behind

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.behind(self.head(torch.tanh(self.entry(x))))


def tiny_model(**options) -> GenerativeModel:
    torch.manual_seed(2)
    return GenerativeModel(Tiny(**options), (1, 8, 8), head="head")


def rows(model, data, stream, images, seed=0, repeats=1):
    """All rows of a pass as one batch."""
    return regress(model, RegressionBatches(data, images, model.latent_shape, 1000, seed, stream, repeats)[0])

"""What one evaluation is: a row forwards, or as much arithmetic backwards."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genuq.models import GenerativeModel, metered
from genuq.networks import DiT, UNet

SHAPE = (1, 8, 8)
NETWORKS = {
    "unet": lambda: UNet(SHAPE, channels=(16, 32), num_classes=3),
    "dit": lambda: DiT(SHAPE, width=32, depth=3, heads=2, num_classes=3),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_vector_jacobian_product_is_twice_the_arithmetic_of_an_evaluation(network):
    model = GenerativeModel(NETWORKS[network](), SHAPE, num_classes=3)
    x, t, y = torch.randn(2, *SHAPE), torch.full((2,), 0.5), torch.tensor([0, 1])
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(x, t, y)
    with metered(model) as meter, FlopCounterMode(display=False) as product:
        x.requires_grad_()
        torch.autograd.grad(model(1 * x, t, y).sum(), x)  # the flop counter's own hooks want no leaf
    assert meter.evaluations["sampling"] == 2 * 2
    assert product.get_total_flops() / forward.get_total_flops() == pytest.approx(2, rel=0.1)


def test_rows_are_charged_to_the_purpose_and_nothing_outside_is_counted():
    model = GenerativeModel(NETWORKS["unet"](), SHAPE, num_classes=3)
    x, t, y = torch.randn(5, *SHAPE), torch.full((5,), 0.5), torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        with metered(model) as meter:
            model(x, t, y)
            with pytest.raises(RuntimeError, match="inside"), meter.charging("draws"):
                model.guided(x, t, y, 2.0)
                raise RuntimeError("inside")
            model(x[:1], t[:1], y[:1])
        model(x, t, y)
    assert dict(meter.evaluations) == {"sampling": 6, "draws": 10}
    assert meter.seconds.keys() == {"draws"} and meter.seconds["draws"] > 0
    assert meter.per_sample(5) == {"sampling": 1.2, "draws": 2.0}

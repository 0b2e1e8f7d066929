"""The passes of a fit: shards add up."""

import torch

from genuq.posteriors import ExactLastLayerLaplace
from genuq.posteriors.fitting.passes import CurvaturePass
from genuq.posteriors.fitting.regression import RegressionBatches, regress
from genuq.randomness import FITTING
from support.posterior_oracles import network_case, relative_error


def test_shards_of_a_binned_pass_add_up():
    model, data = network_case("unet")
    batches = RegressionBatches(data, range(9), model.latent_shape, 2, 0, FITTING)
    make = lambda: CurvaturePass(lambda: ExactLastLayerLaplace(model.head), bins=2)  # noqa: E731
    whole, first, second = make(), make(), make()
    for number in range(len(batches)):
        whole.add(model, regress(model, batches[number]))
        (first if number % 2 else second).add(model, regress(model, batches[number]))
    added = {name: first.sums()[name] + second.sums()[name] for name in first.sums()}
    first.restore(added)
    weights_T = torch.tensor([2.0, 0.5], dtype=torch.float64)
    assert relative_error(first.combined(weights_T).curvature, whole.combined(weights_T).curvature) < 1e-12

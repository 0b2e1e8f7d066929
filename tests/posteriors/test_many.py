"""Many draws of the head at once, against the same draws one after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.posteriors import ExactLastLayerLaplace, Scale, swapped
from genuq.posteriors.curvature.head import head_of
from genuq.posteriors.many import ManyDraws
from support.posterior_oracles import HEADS, NETWORKS, Tiny, head_case, network_case


def prior(layer: nn.Module, precision: float = 25.0) -> ExactLastLayerLaplace:
    posterior = ExactLastLayerLaplace(layer)
    posterior.n_seen = 1
    return posterior.finalise(Scale(1.0, 1.0, precision))


@pytest.mark.parametrize("name", HEADS)
def test_a_draw_flattens_to_the_matrix_it_was_made_of(name):
    layer, _ = head_case(name)
    head = head_of(layer)
    assert torch.equal(head.flattened(head.parameters(head.matrix() + 1)), head.matrix() + 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_draws_prediction_comes_from_one_pass_of_the_trunk(name):
    model, data = network_case(name)
    x, t, y = data.batch(range(3))[0], torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0, 1, 0])
    posterior, rows = prior(model.head), []
    many = ManyDraws(model, posterior, draws=[4, 0, 7], seed=3)
    many(x[:1], t[:1], y[:1])  # finds the rearrangement
    model.head.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    together = many(x, t, y)
    assert rows == [3] and together.shape == (3, *x.shape)
    for place, index in enumerate([4, 0, 7]):
        with swapped(model.head, posterior.draw(index, seed=3)), torch.no_grad():
            wanted = model(x, t, y)
        assert not torch.allclose(wanted, model(x, t, y), atol=1e-3)
        assert torch.allclose(together[place], wanted, atol=1e-11)


def test_dropped_channels_and_constants_behind_the_head_are_seen_through():
    torch.manual_seed(0)
    network = Tiny(nn.Conv2d(4, 6, 1), behind=lambda f: F.pixel_shuffle(f[:, 1:5], 2) + 3.0).double()
    model = GenerativeModel(network, (1, 8, 8), head="head")
    x, t = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.rand(2)
    posterior = prior(model.head)
    with swapped(model.head, posterior.draw(0)), torch.no_grad():
        wanted = model(x, t)
    assert torch.allclose(ManyDraws(model, posterior, [0])(x, t, None)[0], wanted, atol=1e-12)


def test_a_nonlinearity_behind_the_head_is_refused():
    model = GenerativeModel(Tiny(nn.Conv2d(4, 1, 1), behind=torch.tanh), (1, 8, 8), head="head")
    with pytest.raises(ConfigurationError, match="not a mere rearrangement"):
        ManyDraws(model, prior(model.head), [0])(torch.randn(2, 1, 8, 8), torch.rand(2), None)

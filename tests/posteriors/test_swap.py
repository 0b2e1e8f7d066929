import pytest
import torch
from diffusers import UNet2DModel
from torch import nn
from torch.nn.functional import linear

from genuq.errors import CheckpointError, ConfigurationError
from genuq.posteriors import swapped


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).to(dtype)


def bits(module):
    """Every value of the state, bit for bit, with the place it is stored in."""
    return {
        name: (
            value.dtype,
            value.data_ptr(),
            value.contiguous().view(torch.uint8).tolist() if value.ndim else value.item(),
        )
        for name, value in module.state_dict().items()
    }


def other_values(module):
    return {f"2.{name}": torch.randn_like(value) for name, value in module[2].named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_trained_weights_come_back_bit_for_bit(dtype):
    module = network(dtype)
    module[2].weight.data[0, 0] = -0.0
    before, values = bits(module), other_values(module)
    with swapped(module, values) as inside:
        assert inside is module
        assert all(torch.equal(module.get_parameter(name), value) for name, value in values.items())
    assert bits(module) == before


def test_they_come_back_after_an_exception():
    module = network()
    before = bits(module)
    with pytest.raises(KeyboardInterrupt), swapped(module, other_values(module)):
        module[2].weight.data.zero_()
        raise KeyboardInterrupt
    assert bits(module) == before


def test_contexts_nest():
    module = network()
    before, outer, inner = bits(module), other_values(module), other_values(module)
    with swapped(module, outer):
        with swapped(module, inner):
            assert torch.equal(module[2].weight, inner["2.weight"])
        assert torch.equal(module[2].weight, outer["2.weight"])
    assert bits(module) == before


def test_values_of_another_precision_are_cast():
    module = network(torch.float16)
    with swapped(module, {"2.weight": torch.full((2, 4), 1 / 3, dtype=torch.float64)}):
        assert module[2].weight.dtype == torch.float16
        assert (module[2].weight == torch.tensor(1 / 3, dtype=torch.float16)).all()


def test_the_optimiser_and_the_graph_keep_their_parameters():
    module = network()
    parameter = module[2].weight
    with swapped(module, other_values(module)):
        pass
    assert module[2].weight is parameter and parameter.requires_grad
    module(torch.randn(5, 3)).sum().backward()
    assert parameter.grad is not None


@pytest.mark.parametrize(
    "wrong", [{"2.weights": torch.zeros(2, 4)}, {"2.weight": torch.zeros(4, 2)}, {"1.running_mean": torch.zeros(4)}]
)
def test_what_the_module_does_not_have_is_refused_and_nothing_changed(wrong):
    module = network()
    before = bits(module)
    name = next(iter(wrong))
    values = {"2.bias": torch.ones(2), **wrong}
    with pytest.raises(CheckpointError, match=f"no parameter '{name}'"), swapped(module, values):
        pytest.fail("the body ran")
    assert bits(module) == before


FINE = 1e-4  # of the weights: half precision rounds it away


def drawn_near(module, dtype=torch.float32):
    """Values a little beside the trained ones."""
    return {
        name: (value.double() * (1 + FINE * torch.randn(value.shape, dtype=torch.float64))).to(dtype)
        for name, value in module.named_parameters()
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
class TestHalfPrecision:
    def test_a_head_computes_and_answers_in_float32(self, dtype):
        torch.manual_seed(0)
        head, x = nn.Linear(5, 3).to(dtype), torch.randn(4, 5).to(dtype)
        values, before = drawn_near(head), bits(head)
        with swapped(head, values):
            found = head(x)
            assert head.weight.dtype == dtype and isinstance(head.weight, nn.Parameter)
        torch.testing.assert_close(found, linear(x.float(), values["weight"], values["bias"]))
        assert bits(head) == before and head(x).dtype == dtype and not head._forward_hooks

    def test_layers_within_a_network_hand_on_its_own_precision(self, dtype):
        torch.manual_seed(0)
        whole = nn.Sequential(nn.Embedding(6, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.SiLU()).to(dtype)
        numbers, values = torch.tensor([1, 4]), drawn_near(whole)
        with swapped(whole, values):
            found = whole(numbers)
        fine = nn.Sequential(nn.Embedding(6, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.SiLU())
        fine.load_state_dict(values)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), fine(numbers), rtol=0.02, atol=0.02)

    def test_what_stands_in_no_layer_is_rounded(self, dtype):
        class Shifted(nn.Module):
            def __init__(self):
                super().__init__()
                self.table, self.inner = nn.Parameter(torch.ones(3)), nn.Linear(3, 3)

            def forward(self, x):
                return self.inner(x) + self.table

        module = Shifted().to(dtype)
        with swapped(module, {"table": torch.full((3,), 1 + FINE)}):
            assert torch.equal(module.table, torch.ones(3, dtype=dtype))
            module(torch.ones(1, 3, dtype=dtype))

    def test_the_trained_weights_come_back_where_a_layer_fails(self, dtype):
        head = nn.Linear(5, 3).to(dtype)
        before = bits(head)
        with pytest.raises(RuntimeError), swapped(head, drawn_near(head)):
            head(torch.randn(4, 7))
        assert bits(head) == before and isinstance(head.weight, nn.Parameter)

    def test_gradients_are_those_of_the_drawn_weights(self, dtype):
        head, x = nn.Linear(5, 1).to(dtype), torch.randn(2, 5, requires_grad=True)
        values = drawn_near(head)
        with swapped(head, values):
            (slope,) = torch.autograd.grad(head(x).sum(), x)
        torch.testing.assert_close(slope, values["weight"].expand(2, 5))


def test_a_network_of_diffusers_keeps_its_own_precision_under_fine_draws():
    torch.manual_seed(0)
    network = UNet2DModel(
        8,
        block_out_channels=(8,),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=4,
        down_block_types=("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",),
    ).to(torch.bfloat16)
    x, t = torch.randn(2, 3, 8, 8).bfloat16(), torch.tensor([3.0, 700.0])
    plain = network(x, t).sample
    with swapped(network, drawn_near(network)):
        assert network.dtype == torch.bfloat16
        found = network(x, t).sample
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, plain, rtol=0.05, atol=0.05)


def test_weights_that_something_puts_in_place_of_the_drawn_ones_are_noticed():
    """As offloading with streams does, which brings copies of the trained weights before each pass."""
    module = network().eval()
    before, trained = bits(module), module[2].weight.data.clone()
    module[2].register_forward_pre_hook(lambda layer, inputs: setattr(layer.weight, "data", trained))
    said = pytest.raises(ConfigurationError, match=r"weight '2\.weight' of Sequential was replaced")
    with said, swapped(module, other_values(module)):
        module(torch.randn(5, 3))
    assert bits(module) == before

import pytest
import torch
from torch import nn

from genuq.errors import CheckpointError
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

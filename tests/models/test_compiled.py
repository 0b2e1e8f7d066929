"""torch.compile around a model or within it: what is found, and what is said."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, sample_latents
from genuq.models.compiled import compiled_part, original, require_uncompiled
from genuq.networks import MLP, UNet
from genuq.posteriors import NetworkNoise, Scale, swapped


def test_the_module_within_is_found() -> None:
    plain = nn.Linear(2, 2)
    assert original(plain) is plain
    assert original(torch.compile(plain)) is plain
    assert GenerativeModel(torch.compile(plain), (2,)).network is plain


def test_the_first_compiled_part_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert compiled_part(network) is None
    network[1].compile()
    assert compiled_part(network) == "1" and compiled_part(network[1]) == ""
    with pytest.raises(ConfigurationError, match=r"the model: 1 is compiled.*`_orig_mod`.*`\.compile\(\)`"):
        require_uncompiled(network)
    with pytest.raises(ConfigurationError, match="my layer: it is compiled"):
        require_uncompiled(network[1], "my layer")


class Counting:
    """A backend of torch.compile that runs the graph as it is, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        def run(*given: Tensor) -> object:
            self.calls += 1
            return graph(*given)

        return run


SAMPLER = Sampler(steps=3)


def compiled_model() -> tuple[GenerativeModel, Tensor, Counting]:
    """(the model, its latents before it was compiled, what counts passes of the compiled network)."""
    torch.manual_seed(0)
    model, counting = GenerativeModel(UNet((1, 4, 4), channels=(8,)), (1, 4, 4)).eval(), Counting()
    plain = sample_latents(model, SAMPLER, [0, 1])
    model.compile_network(counting)
    torch.testing.assert_close(sample_latents(model, SAMPLER, [0, 1]), plain)
    assert counting.calls == 3
    return model, plain, counting


def test_draws_that_are_swapped_in_are_those_that_the_compiled_network_runs_with() -> None:
    model, plain, counting = compiled_model()
    noise = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=100.0))
    for draw in (0, 1):
        with swapped(model.network, noise.draw(draw)):
            found = sample_latents(model, SAMPLER, [0, 1])
            model._compiled, kept = None, model._compiled
            expected = sample_latents(model, SAMPLER, [0, 1])
            model._compiled = kept
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, plain, rtol=1e-2)
    torch.testing.assert_close(sample_latents(model, SAMPLER, [0, 1]), plain)
    assert counting.calls == 4 * 3


def test_what_watches_finds_the_network_as_it_is() -> None:
    model, _, counting = compiled_model()
    x, t_B = torch.randn(2, 1, 4, 4), torch.full((2,), 0.5)
    seen: list[Tensor] = []
    handle = model.head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(x, t_B)
    handle.remove()
    (slope,) = torch.autograd.grad(model(x, t_B).sum(), model.head.bias)
    assert len(seen) == 1 and slope.any() and counting.calls == 3
    assert copy.deepcopy(model)._compiled is None
    require_uncompiled(model)


def test_what_is_compiled_already_is_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].compile()
    with pytest.raises(ConfigurationError, match="the network: 0 is compiled"):
        GenerativeModel(network, (2,)).compile_network()


def test_weight_draws_and_numbers_of_rows_need_few_graphs(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval()
    with caplog.at_level("DEBUG", "genuq.models.compiled"):
        found = worked_through(model, Counting())
    assert found == [1, 1, 1, 2, 2]
    told = [record.getMessage() for record in caplog.records if record.name == "genuq.models.compiled"]
    assert told == ["MLP: graph 1 is compiled", "MLP: graph 2 is compiled"]


def worked_through(model: GenerativeModel, backend: Any) -> list[int]:
    """The samples and those of two draws, then other numbers of rows: each as without; graphs compiled so far."""
    noise, found = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=100.0)), []
    model.compile_network(backend)
    for draw, count in ((None, 2), (0, 2), (1, 2), (None, 3), (0, 5)):
        with contextlib.nullcontext() if draw is None else swapped(model.network, noise.draw(draw)):
            samples = sample_latents(model, SAMPLER, range(count))
            kept, model._compiled = model._compiled, None
            torch.testing.assert_close(samples, sample_latents(model, SAMPLER, range(count)), rtol=1e-4, atol=1e-5)
            model._compiled = kept
        found.append(kept.graphs)
    return found


@pytest.mark.slow
def test_by_inductor() -> None:
    """A few fused kernels, each of which takes a C++ compiler some seconds: a network of images has dozens."""
    torch.manual_seed(0)
    assert worked_through(GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval(), "inductor")[-1] == 2

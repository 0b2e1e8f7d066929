"""How a network is evaluated: what enters an identity, and the models that come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.identity import identity_of
from genuq.models import Engine, GenerativeModel, Sampler, sample_latents
from genuq.networks import MLP
from genuq.posteriors import swapped


def small() -> GenerativeModel:
    torch.manual_seed(0)
    return GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval()


def test_only_what_changes_numbers_is_part_of_an_identity() -> None:
    assert not Engine() and identity_of(Engine()) == {} and Engine().notes == {}
    assert identity_of(Engine("bfloat16")) == {"precision": "bfloat16", "large draws": "rounded"}
    assert identity_of(Engine(compile=True)) == {"compile": True}
    assert Engine("float16", compile=True).notes == {"engine": {"precision": "float16", "compile": True}}
    with pytest.raises(ConfigurationError, match=r"sampler\.precision.*bfloat16"):
        Engine("half")


def test_in_float32_the_model_is_the_given_one_and_compiled_it_is_another_of_the_same_network() -> None:
    model = small()
    assert Engine().of(model) is model
    compiled = Engine(compile=True).of(model)
    assert compiled.network is model.network and compiled._compiled is not None and model._compiled is None
    assert model.for_evaluation()._forward_hooks is not model._forward_hooks


def test_draws_that_are_rounded_count_in_a_compiled_network_too() -> None:
    model = small()
    weights = dict(model.network.named_parameters())
    half, eager = (Engine("bfloat16", compile=one).of(model, (), weights.values()) for one in (True, False))
    half.compile_network("eager")
    found = []
    for scale in (0.0, 0.3, 0.6):
        with swapped(model.network, {name: value + scale * torch.randn_like(value) for name, value in weights.items()}):
            found.append(sample_latents(half, Sampler(steps=2), [0, 1]))
            torch.testing.assert_close(found[-1], sample_latents(eager, Sampler(steps=2), [0, 1]))
    assert half._compiled.graphs == 1 and not torch.allclose(found[1], found[2], rtol=1e-2)


def test_half_precision_runs_compiled_also_under_draws_of_the_head() -> None:
    model, calls = small(), []

    def counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        return lambda *given: calls.append(len(given)) or graph(*given)

    half, eager = Engine("bfloat16", compile=True).of(model), Engine("bfloat16").of(model)
    assert half._compiled.network is half.network is not model.network
    half.compile_network(counted)
    sampler, found = Sampler(steps=2), []
    for scale in (0.0, 0.1, 0.2):
        drawn = {name: value + scale * torch.randn_like(value) for name, value in model.head.named_parameters()}
        with swapped(model.head, drawn):
            found.append(sample_latents(half, sampler, [0, 1]))
            torch.testing.assert_close(found[-1], sample_latents(eager, sampler, [0, 1]))
    assert len(calls) == 3 * 2 and half._compiled.graphs == 1
    assert not torch.allclose(found[0], found[1], rtol=1e-2)

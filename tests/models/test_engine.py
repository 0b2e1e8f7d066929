"""How a network is evaluated: what enters an identity, and the models that come of it."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.identity import identity_of
from genuq.models import Engine, GenerativeModel, Sampler, sample_latents
from genuq.networks import MLP


def small() -> GenerativeModel:
    torch.manual_seed(0)
    return GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval()


def test_only_what_changes_numbers_is_part_of_an_identity() -> None:
    assert not Engine() and identity_of(Engine()) == {} and Engine().notes == {}
    assert identity_of(Engine("bfloat16")) == {"precision": "bfloat16"}
    assert Engine("float16", compile=True).notes == {"engine": {"precision": "float16", "compile": True}}
    with pytest.raises(ConfigurationError, match=r"sampler\.precision.*bfloat16"):
        Engine("half")


def test_in_float32_the_model_is_the_given_one_and_compiled_it_is_another_of_the_same_network() -> None:
    model = small()
    assert Engine().of(model) is model
    compiled = Engine(compile=True).of(model)
    assert compiled.network is model.network and compiled._compiled is not None and model._compiled is None
    assert model.for_evaluation()._forward_hooks is not model._forward_hooks


def test_half_precision_and_compiled() -> None:
    model = small()
    half = Engine("bfloat16", compile=True).of(model)
    assert half._compiled.network is half.network is not model.network
    half.compile_network("eager")
    found = sample_latents(half, Sampler(steps=2), [0, 1])
    torch.testing.assert_close(found, sample_latents(Engine("bfloat16").of(model), Sampler(steps=2), [0, 1]))
    assert half._compiled.graphs == 1

"""Networks that are offloaded: all that genuq does with them is what it does with the same network in place."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import genuq
from genuq.errors import ConfigurationError
from genuq.models import sample_latents
from genuq.models.offloaded import execution_device, parameters_of, sources
from genuq.posteriors import NetworkNoise, Posterior, Scale, swapped
from genuq.posteriors.members import DeepEnsemble
from genuq.pretrained import PretrainedModel
from genuq.propagators import Coherent
from genuq.scores.generative import regenerate
from support.offloading import OFFLOADED, ON_META, grouped
from support.small_pipelines import PIPELINES, options_of

pytest.importorskip("accelerate", reason="diffusers' and accelerate's hooks need it")

FAMILY = "stable_diffusion"


def pipeline(way: str | None, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    pipe = PIPELINES[FAMILY]()
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.to(dtype)
    if way is not None:
        OFFLOADED[way](pipe.unet, folder)
    return pipe


def model_of(pipe: Any) -> PretrainedModel:
    return genuq.from_pipeline(pipe, **options_of(FAMILY))


def fitted(model: PretrainedModel, kind: str, **options: Any) -> Posterior:
    images = torch.rand(4, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return genuq.fit(model, images, kind, labels=[0, 1] * 2, images=2, held_out=2, **options).posterior


def latents(model: PretrainedModel) -> Tensor:
    return sample_latents(model, model.sampler(steps=1), [0, 1])


def drawn(model: PretrainedModel, posterior: Posterior) -> Tensor:
    return regenerate(model, posterior, model.sampler(steps=1), [0, 1], draws=2)


def wide(network: torch.nn.Module, count: int = 2) -> DeepEnsemble:
    """Members beside the network's weights."""
    posterior = DeepEnsemble(network, bits=32)
    for number in range(count):
        source = torch.Generator().manual_seed(number)
        weights = parameters_of(network)
        posterior.update(
            {n: v.detach().float() + 0.1 * torch.randn(v.shape, generator=source) for n, v in weights.items()}
        )
    return posterior.finalise(Scale(1, 1.0, 1.0))


def made(model: PretrainedModel) -> dict[str, Any]:
    """What is compared, of all kinds of work on a network."""
    head, layers = fitted(model, "exact_laplace"), fitted(model, "kfac", layers=["conv_in", "conv_out"])
    sampler = model.sampler(steps=2)
    found: dict[str, Any] = {f"head, {name}": value for name, value in head.sums().items()}
    found |= {f"layers, {name}": value for name, value in layers.sums().items()}
    found |= {"latents": latents(model), "head draws": drawn(model, head), "layer draws": drawn(model, layers)}
    found["member draws"] = drawn(model, wide(model.network))
    score = genuq.generative_uncertainty(model, head, genuq.PixelLikelihood(model.shape), sampler, [0], draws=2)
    found["score"] = score.score
    found["variance"] = genuq.propagate(model, head, sampler, [0], Coherent(draws=2)).variance
    noise = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=1e4))
    found["variance of the network"] = genuq.propagate(model, noise, sampler, [0], Coherent(draws=2)).variance
    found["digests"] = torch.tensor([int(each.weights_digest()[:12], 16) for each in (head, layers)])
    return found


@cache
def plain() -> dict[str, Any]:
    return made(model_of(pipeline(None, Path())))


def of_the_pipeline(pipe: Any) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.as_tensor(
        pipe("a red cat", height=16, width=16, num_inference_steps=1, generator=source, output_type="pt").images
    )


WAYS = [pytest.param(way, marks=pytest.mark.slow if way == "disk" else ()) for way in OFFLOADED]


@pytest.mark.parametrize("way", WAYS)
def test_offloaded_is_as_in_place(way: str, tmp_path: Path) -> None:
    pipe = pipeline(way, tmp_path)
    before, hooks = of_the_pipeline(pipe), hooks_of(pipe.unet)
    torch.testing.assert_close(before, of_the_pipeline(pipeline(None, tmp_path)))
    model = model_of(pipe)
    found = made(model)
    for name, expected in plain().items():
        torch.testing.assert_close(found[name], expected, msg=lambda text, name=name: f"{name}: {text}")
    for name in ("head draws", "layer draws", "member draws"):
        assert (found[name][:, 0] != found[name][:, 1]).any(), name
    assert torch.equal(of_the_pipeline(pipe), before) and hooks_of(pipe.unet) == hooks
    assert all(value.is_meta for value in pipe.unet.conv_out.parameters()) == (way in ON_META)


def hooks_of(network: torch.nn.Module) -> list[tuple[str, int]]:
    """Of each layer, as the things they are."""
    names = "_hf_hook", "_diffusers_hook"
    return [(name, id(vars(part)[key])) for name, part in network.named_modules() for key in names if key in vars(part)]


@pytest.mark.parametrize("way", ["sequential", "leaves", "leaves on disk"])
def test_half_precision_is_drawn_in_float32(way: str, tmp_path: Path) -> None:
    found = []
    for each in (way, None):
        network = pipeline(each, tmp_path, torch.bfloat16).unet
        head, x = network.conv_out, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
        trained = parameters_of(head)
        with swapped(head, {"weight": trained["weight"].float() * (1 + 1e-4)}), torch.no_grad():
            found.append(head(x))
        assert found[-1].dtype == torch.float32 and head.weight.dtype == torch.bfloat16
        with torch.no_grad():
            assert head(x).dtype == torch.bfloat16
    assert torch.equal(*found) and (found[0] != found[0].bfloat16().float()).any()


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.float8_e4m3fn])
def test_layerwise_casting(storage: torch.dtype) -> None:
    """Kept coarsely, computed finely: as the network with rounded weights, and draws are not rounded."""
    pipe, other = pipeline(None, Path()), pipeline(None, Path())
    pipe.unet.enable_layerwise_casting(storage_dtype=storage, compute_dtype=torch.float32)
    rounded = {name: value.float() for name, value in pipe.unet.state_dict().items()}
    other.unet.load_state_dict(rounded)
    hooks = hooks_of(pipe.unet)
    model, expected = model_of(pipe), model_of(other)
    torch.testing.assert_close(latents(model), latents(expected))
    for kind, options in (("exact_laplace", {}), ("kfac", {"layers": ["conv_in", "conv_out"]})):
        posteriors = [fitted(each, kind, **options) for each in (model, expected)]
        for name, value in posteriors[1].sums().items():
            torch.testing.assert_close(posteriors[0].sums()[name], value)
        draws = [drawn(each, posterior) for each, posterior in zip((model, expected), posteriors)]
        torch.testing.assert_close(*draws)
    torch.testing.assert_close(drawn(model, wide(pipe.unet)), drawn(expected, wide(other.unet)))
    assert pipe.unet.conv_out.weight.dtype == storage and hooks_of(pipe.unet) == hooks
    torch.testing.assert_close(latents(model), latents(expected))


def test_a_whole_pipeline_offloaded_sequentially(tmp_path: Path) -> None:
    """Autoencoder and text encoders too, as `enable_sequential_cpu_offload` leaves them."""
    pipe, other = pipeline(None, tmp_path), pipeline(None, tmp_path)
    for name in ("unet", "vae", "text_encoder"):
        OFFLOADED["sequential"](getattr(pipe, name), tmp_path)
    model, expected = model_of(pipe), model_of(other)
    images = [genuq.sample(each, each.sampler(steps=1), [0, 1]) for each in (model, expected)]
    torch.testing.assert_close(*images)
    torch.testing.assert_close(fitted(model, "exact_laplace").sums(), fitted(expected, "exact_laplace").sums())


@pytest.mark.parametrize("way", ["sequential", "leaves", "as a whole"])
def test_training_is_refused_where_a_copy_would_not_be_one(way: str, tmp_path: Path) -> None:
    model = model_of(pipeline(way, tmp_path))
    images = torch.zeros(4, *model.shape)
    if way == "as a whole":  # which a copy carries along
        genuq.finetune_ensemble(model, images, labels=[0, 1] * 2, members=1, steps=1, batch_size=2)
        return
    with pytest.raises(ConfigurationError, match=r"posthoc_ensemble: UNet2DConditionModel is offloaded.*without"):
        genuq.finetune_ensemble(model, images, labels=[0, 1] * 2, members=1, steps=1, batch_size=2)


def test_groups_of_many_layers_on_disk_are_refused(tmp_path: Path) -> None:
    pipe = pipeline(None, tmp_path)
    grouped("block_level", on_disk=True)(pipe.unet, tmp_path)
    with pytest.raises(ConfigurationError, match=r"offloaded together with other layers.*leaf_level"):
        model_of(pipe)


def test_tangents_of_weights_that_hooks_bring_are_refused(tmp_path: Path) -> None:
    model = model_of(pipeline("sequential", tmp_path))
    noise = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=1e4))
    with pytest.raises(ConfigurationError, match=r"propagator\.derivative=difference"):
        genuq.propagate(model, noise, model.sampler(steps=1), [0], Coherent(draws=2, derivative="forward"))


def test_where_a_pass_takes_place_is_what_the_hooks_say(tmp_path: Path) -> None:
    network = pipeline(None, tmp_path).unet
    assert execution_device(network) == torch.device("cpu") and not sources(network)
    network.enable_group_offload(torch.device("cuda:0"), torch.device("cpu"), offload_type="leaf_level")
    assert execution_device(network) == torch.device("cuda:0") and not sources(network)


def test_nested_draws_come_back(tmp_path: Path) -> None:
    network = pipeline("leaves on disk", tmp_path).unet
    head, x = network.conv_out, torch.ones(1, 4, 8, 8)
    with torch.no_grad():
        before = head(x)
        with swapped(head, {"weight": torch.zeros_like(parameters_of(head)["weight"])}):
            zeroed = head(x)
            with swapped(head, {"bias": torch.ones(4)}):
                assert torch.equal(head(x), torch.ones_like(before))
            assert torch.equal(head(x), zeroed)
        assert torch.equal(head(x), before)


class Streamed:
    """A group of diffusers' as streams leave it on an accelerator: each pass begins with copies of the weights."""

    offload_to_disk_path, stream, onload_device, parameters = None, object(), torch.device("cpu"), ()

    def __init__(self, layer: torch.nn.Module) -> None:
        self.modules = [layer]
        self.cpu_param_dict = {value: value.data.clone() for value in layer.parameters()}
        layer.__dict__["_diffusers_hook"] = SimpleNamespace(hooks={"group": SimpleNamespace(group=self)})
        layer.register_forward_pre_hook(lambda module, inputs: self.onload_())

    def onload_(self) -> None:
        for value, copied in self.cpu_param_dict.items():
            value.data = copied


def test_copies_that_streams_bring_are_drawn_too() -> None:
    layer, x, drawn_one = torch.nn.Linear(3, 2), torch.ones(1, 3), torch.full((2, 3), 0.5)
    expected, group = layer(x), Streamed(layer)
    with swapped(layer, {"weight": drawn_one}):
        torch.testing.assert_close(layer(x), drawn_one.sum(1) + layer.bias[None])
    assert torch.equal(layer(x), expected) and "onload_" not in vars(group)
    assert torch.equal(parameters_of(layer)["weight"], layer.weight)

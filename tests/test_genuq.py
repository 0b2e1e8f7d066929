"""The library without Hydra: a network that genuq has never seen, plain tensors, and the names that stay."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

import genuq
from genuq.errors import ConfigurationError
from genuq.extractors import FromCallable
from support.their_network import TheirNetwork, their_call


@pytest.fixture
def network() -> TheirNetwork:
    torch.manual_seed(0)
    return TheirNetwork()


@pytest.fixture
def training_images() -> Tensor:
    return (255 * torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))).byte()


def test_ten_lines_on_a_network_that_genuq_has_never_seen(network: TheirNetwork, training_images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    model = genuq.GenerativeModel(
        network, shape=(1, 8, 8), num_classes=3, call=their_call, head="decoder.to_pixels", process="flow_matching"
    )
    fitted = genuq.fit(model, training_images, labels=torch.arange(96) % 3, images=64, held_out=32)
    halves = FromCallable(lambda images: nn.functional.avg_pool2d(images, 4).flatten(1), "blocks", dimension=4)
    result = genuq.generative_uncertainty(
        model, fitted.posterior, genuq.SemanticLikelihood(halves), genuq.Sampler(steps=3), range(12), draws=4
    )

    assert result.images.shape == (12, 1, 8, 8) and result.images.dtype == torch.uint8
    assert result.draws.shape == (12, 4, 1, 8, 8) and result.embeddings.shape == (12, 5, 4)
    assert result.score.shape == (12,) and bool(result.score.isfinite().all()) and result.score.std() > 0
    assert set(fitted.chosen.how) >= {"observation_noise", "prior_precision", "temperature"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_diffusers_unet_through_the_call_adapter(training_images: Tensor) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=2,
    )
    model = genuq.GenerativeModel(
        unet,
        shape=(1, 8, 8),
        process="variance_preserving",
        prediction="epsilon",
        call=lambda unet, x, t, y: unet(x, 999 * t).sample,
        head="conv_out",
    )
    posterior = genuq.fit(model, training_images, images=32, held_out=16).posterior
    likelihood = genuq.PixelLikelihood((1, 8, 8))
    result = genuq.generative_uncertainty(model, posterior, likelihood, genuq.Sampler(steps=3), range(3), draws=2)
    assert result.score.shape == (3,) and bool(result.score.isfinite().all())


def test_a_head_of_another_name_is_refused_with_the_candidates(network: TheirNetwork) -> None:
    with pytest.raises(ConfigurationError, match=r"decoder\.to_pixel.*decoder\.to_pixels"):
        genuq.GenerativeModel(network, (1, 8, 8), num_classes=3, call=their_call, head="decoder.to_pixel")


PUBLIC = {
    "genuq": [
        "GenerativeModel",
        "Sampler",
        "sample",
        "fit",
        "finetune_ensemble",
        "propagate",
        "SemanticLikelihood",
        "PixelLikelihood",
        "generative_uncertainty",
        "regenerate",
        "score_images",
        "load_reference",
        "from_pipeline",
        "from_pretrained",
        "__version__",
    ],
    "genuq.posteriors": ["ExactLastLayerLaplace", "DiagonalLaplace"],
    "genuq.likelihoods": ["gaussian_entropy"],
    "genuq.metrics": ["frechet_distance", "precision_recall", "realism"],
}


def test_the_list_of_public_names_is_whole() -> None:
    assert sorted(genuq.__all__) == sorted(PUBLIC["genuq"])


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_public_names_stay(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_public_functions_take_what_the_documentation_says() -> None:
    """Names and order of the arguments, as other code calls them."""
    from genuq.likelihoods import gaussian_entropy
    from genuq.metrics import frechet_distance, precision_recall, realism

    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(60, 3, generator=source), torch.randn(50, 3, generator=source)
    assert gaussian_entropy(torch.randn(6, 4, 3, generator=source), 1e-3).shape == (6,)
    assert frechet_distance(real, fake) > 0
    precision, recall, density, coverage = precision_recall(real, fake, 5)
    assert all(0 <= float(value) <= 1 for value in (precision, recall, coverage)) and float(density) > 0
    assert realism(real, fake, 5).shape == (50,)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = genuq.nonsense
    assert {"fit", "sample"} <= set(dir(genuq))

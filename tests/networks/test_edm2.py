"""EDM2: names of weights, what normalisation leaves unchanged, its attention in float64, and the published sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genuq.networks.edm2 import EDM2, Block, EDM2Settings, NormalisedLayer, blend, joined, normalised, silu
from genuq.networks.published import FAMILIES, outlined, shapes_of
from support import released
from support.released import millions
from support.small_pipelines import seeded

SETTINGS = EDM2Settings(**released.EDM2)


@seeded
def network() -> EDM2:
    made = EDM2(SETTINGS).eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith("_gain"):
                value.fill_(0.7)
    return made


def noised() -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 8, 8, generator=source), torch.tensor([0.1, 5.0]), torch.eye(3)[[0, 2]]


@pytest.mark.parametrize(
    ("preset", "published"),
    [("imagenet_512_xs", 125), ("imagenet_512_s", 280), ("imagenet_64_m", 498), ("imagenet_512_xxl", 1523)],
)
def test_sizes_are_those_of_the_paper(preset: str, published: int) -> None:
    """Millions of weights. Source: Karras et al. 2024, table 2."""
    assert round(millions(outlined("edm2", FAMILIES["edm2"].settings(preset)))) == published


def test_weights_are_called_as_in_its_own_code() -> None:
    names, blocks = set(shapes_of(network())), []
    for half, entries in {
        "enc": {"8x8_block0": "", "4x4_down": "", "4x4_block0": "sa"},
        "dec": {"4x4_in0": "a", "4x4_in1": "", "4x4_block0": "sa", "4x4_block1": "sa", "8x8_up": ""}
        | {"8x8_block0": "s", "8x8_block1": "s"},
    }.items():
        for entry, extra in entries.items():
            layers = ["conv_res0", "emb_linear", "conv_res1", *(["conv_skip"] if "s" in extra else [])]
            layers += ["attn_qkv", "attn_proj"] if "a" in extra else []
            blocks += [f"unet.{half}.{entry}.{layer}.weight" for layer in layers]
            blocks.append(f"unet.{half}.{entry}.emb_gain")
    rest = ["unet.out_gain", "unet.emb_fourier.freqs", "unet.emb_fourier.phases", "unet.emb_noise.weight"]
    rest += ["unet.emb_label.weight", "unet.enc.8x8_conv.weight", "unet.out_conv.weight"]
    rest += ["logvar_fourier.freqs", "logvar_fourier.phases", "logvar_linear.weight"]
    assert names == {*blocks, *rest}


def test_the_size_of_a_stored_weight_is_of_no_account() -> None:
    one, other = network(), network()
    with torch.no_grad():
        for layer in other.modules():
            if isinstance(layer, NormalisedLayer):
                layer.weight.mul_(30 * torch.rand(len(layer.weight)).reshape(-1, *[1] * (layer.weight.ndim - 1)) + 20)
    x, sigma, labels = noised()
    torch.testing.assert_close(other(x, sigma, labels), one(x, sigma, labels), rtol=1e-3, atol=1e-3)


def test_training_stores_weights_of_size_one() -> None:
    made = network().train()
    x, sigma, labels = noised()
    made(3 * x, sigma, labels)
    stored = made.unet.out_conv.weight
    torch.testing.assert_close(stored.square().mean((1, 2, 3)), torch.ones(3), rtol=1e-3, atol=1e-3)


def test_functions_keep_the_magnitude_of_unrelated_input() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, width, 32, 32, generator=source) for width in (3, 9))
    one = pytest.approx(1.0, rel=0.01)
    assert float(silu(a).square().mean()) ** 0.5 == one
    assert float(blend(a, b[:, :3], 0.3).square().mean()) ** 0.5 == one
    both = joined(a, b)
    assert float(both.square().mean()) ** 0.5 == one
    assert float(both[:, :3].square().sum()) == pytest.approx(float(both[:, 3:].square().sum()), rel=0.02)
    torch.testing.assert_close(normalised(7 * b, [1]).square().mean(1), torch.ones(64, 32, 32), rtol=1e-2, atol=1e-3)


def test_attention_is_softmax_of_cosines_in_float64() -> None:
    torch.manual_seed(0)
    block = Block(SETTINGS, 8, 8, attends=True).double().eval()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    assert block.attn_qkv is not None and block.attn_proj is not None
    qkv = block.attn_qkv(x).reshape(2, block.heads, 4, 3, 9)
    query, key, value = (part / (1e-4 + part.norm(dim=2, keepdim=True) / math.sqrt(4)) for part in qkv.unbind(3))
    weights = torch.einsum("nhcq,nhck->nhqk", query, key / math.sqrt(4)).softmax(-1)
    mixed = torch.einsum("nhqk,nhck->nhcq", weights, value).reshape(x.shape)
    expected = (0.7 * x + 0.3 * block.attn_proj(mixed)) / math.sqrt(0.58)
    torch.testing.assert_close(block._attending(x), expected, rtol=1e-6, atol=1e-6)


def test_no_class_is_a_row_of_noughts() -> None:
    made = network()
    x, sigma, _ = noised()
    torch.testing.assert_close(made(x, sigma), made(x, sigma, torch.zeros(2, 3)))


def test_the_denoiser_is_that_of_the_paper_around_f() -> None:
    """D = c_skip x + c_out F(c_in x; c_noise), in float64."""
    made = network().double()
    x, sigma, labels = (part.double() for part in noised())
    s, total = sigma.reshape(-1, 1, 1, 1), sigma.square().reshape(-1, 1, 1, 1) + 0.25
    inner = made.unet(x / total.sqrt(), sigma.log() / 4, labels)
    torch.testing.assert_close(
        made(x, sigma, labels), 0.25 / total * x + 0.5 * s / total.sqrt() * inner, rtol=1e-5, atol=1e-6
    )


def test_what_it_is_uncertain_of_hangs_on_the_noise_alone() -> None:
    made = network()
    found = made.log_variance(torch.tensor([0.1, 0.1, 5.0]))
    assert found.shape == (3,) and found[0] == found[1] != found[2]

"""U-ViT: the original's answers and keys, a block beside torch's own, and the published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.networks.published import FAMILIES, outlined, shapes_of
from genuq.networks.uvit import Block, UViT, UViTSettings
from support import released
from support.released import difference, manifest, millions


def test_it_answers_as_the_original() -> None:
    assert difference(UViT(released.published("uvit_tiny.config.json", UViTSettings)), "uvit_tiny") < 1e-5


def test_every_key_of_the_full_size_file_is_consumed() -> None:
    settings = released.published("uvit_huge_imagenet256.json", UViTSettings)
    assert settings == FAMILIES["uvit"].settings("imagenet_256_huge")
    assert shapes_of(outlined("uvit", settings)) == manifest("uvit_huge_imagenet256.json")


@pytest.mark.parametrize(
    ("preset", "published"),
    [("cifar10_small", 44), ("imagenet_64_mid", 131), ("imagenet_256_large", 287), ("imagenet_512_huge", 501)],
)
def test_sizes_are_those_of_the_paper(preset: str, published: int) -> None:
    """Millions of weights. Source: Bao et al. 2023, table 1."""
    assert round(millions(outlined("uvit", FAMILIES["uvit"].settings(preset)))) == published


def test_a_block_is_torchs() -> None:
    torch.manual_seed(0)
    width, heads = 16, 2
    theirs = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    block = Block(width, heads).double()
    pairs = {
        "norm1": theirs.norm1,
        "norm2": theirs.norm2,
        "attn.proj": theirs.self_attn.out_proj,
        "mlp.fc1": theirs.linear1,
        "mlp.fc2": theirs.linear2,
    }
    with torch.no_grad():
        for name, layer in pairs.items():
            block.get_submodule(name).load_state_dict(layer.state_dict())
        block.attn.qkv.weight.copy_(theirs.self_attn.in_proj_weight)
        theirs.self_attn.in_proj_bias.zero_()
    x = torch.randn(3, 5, width, dtype=torch.float64)
    torch.testing.assert_close(block(x), theirs(x))


def test_classes_are_a_token_and_pixels_may_have_a_last_convolution() -> None:
    conditional, plain = UViT(UViTSettings(**released.UVIT)), UViT(UViTSettings(**released.UVIT | {"num_classes": 0}))
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([1.0, 1000.0])
    assert conditional(x, t, torch.tensor([0, 3])).shape == plain(x, t).shape == x.shape
    assert conditional.pos_embed.shape[1] == 18 and plain.pos_embed.shape[1] == 17
    assert plain.final_layer.weight.shape == (3, 3, 3, 3)


def test_a_side_that_patches_do_not_divide_is_named() -> None:
    with pytest.raises(ConfigurationError, match="img_size = 9 is not divisible by 2"):
        UViT(UViTSettings(**released.UVIT | {"img_size": 9}))

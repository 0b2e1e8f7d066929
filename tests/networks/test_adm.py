"""ADM: the original's answers and keys, its attention beside torch's, and the published sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.networks.adm import ADM, ADMClassifier, ADMSettings, AttentionBlock, AttentionPool
from genuq.networks.published import FAMILIES, outlined, shapes_of
from support import released
from support.released import difference, manifest, millions

SETTINGS = ADMSettings(**released.ADM)


def test_it_answers_as_the_original() -> None:
    assert difference(ADM(released.published("adm_tiny.config.json", ADMSettings)), "adm_tiny") < 1e-5


def test_every_key_of_the_full_size_file_is_consumed() -> None:
    settings = released.published("adm_imagenet128.json", ADMSettings)
    assert shapes_of(outlined("adm", settings)) == manifest("adm_imagenet128.json")
    preset = FAMILIES["adm"].settings("imagenet_128", {"attention_resolutions": [4, 8, 16]})
    assert shapes_of(outlined("adm", preset)) == manifest("adm_imagenet128.json")


@pytest.mark.parametrize(
    ("preset", "published"), [("imagenet_64", 296), ("imagenet_128", 422), ("imagenet_256", 554), ("imagenet_512", 559)]
)
def test_sizes_are_those_of_the_paper(preset: str, published: int) -> None:
    """Millions of weights. Source: Dhariwal & Nichol 2021, tables 11 and 13."""
    assert round(millions(outlined("adm", FAMILIES["adm"].settings(preset)))) == published


def doubled(settings: ADMSettings, **changed: object) -> ADM:
    torch.manual_seed(0)
    return ADM(dataclasses.replace(settings, **changed)).double().eval()  # type: ignore[arg-type]


def test_both_orders_of_attention_are_torchs() -> None:
    """Heads first or queries first is a matter of how rows of one matrix are sorted."""
    torch.manual_seed(0)
    heads, width = 2, 32
    theirs = nn.MultiheadAttention(width, heads, batch_first=True).double()
    x = torch.randn(3, width, 4, 4, dtype=torch.float64)
    for new in (True, False):
        block = AttentionBlock(dataclasses.replace(SETTINGS, use_new_attention_order=new), width).double()
        rows = torch.arange(3 * width).reshape(3, heads, -1)
        order = (rows if new else rows.transpose(0, 1)).flatten()
        with torch.no_grad():
            block.qkv.weight.copy_(theirs.in_proj_weight[order][:, :, None])
            block.qkv.bias.copy_(nn.init.normal_(theirs.in_proj_bias)[order])
            block.proj_out.weight.copy_(theirs.out_proj.weight[:, :, None])
            block.proj_out.bias.copy_(theirs.out_proj.bias)
            tokens = block.norm(x).flatten(2).mT
            expected = theirs(tokens, tokens, tokens)[0].mT.reshape(x.shape)
            torch.testing.assert_close(block(x), x + expected)


def test_the_classifiers_pool_is_the_mean_attending() -> None:
    torch.manual_seed(0)
    pool, theirs = AttentionPool(4, 32, 2, 5).double(), nn.MultiheadAttention(32, 2, batch_first=True).double()
    x = torch.randn(3, 32, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(pool.qkv_proj.weight[:, :, 0])
        theirs.in_proj_bias.copy_(pool.qkv_proj.bias)
        theirs.out_proj.weight.copy_(torch.eye(32))
        theirs.out_proj.bias.zero_()
        flat = x.flatten(2)
        tokens = (torch.cat([flat.mean(-1, keepdim=True), flat], -1) + pool.positional_embedding).mT
        attended = theirs(tokens[:, :1], tokens, tokens)[0][:, 0]
        expected = attended @ pool.c_proj.weight[:, :, 0].T + pool.c_proj.bias
    torch.testing.assert_close(pool(x), expected)


def test_the_classifier_gives_a_logit_a_class() -> None:
    classifier = ADMClassifier(ADMSettings(**released.CLASSIFIER))
    assert classifier(torch.randn(2, 3, 8, 8), torch.tensor([0.0, 999.0])).shape == (2, 3)
    keys = shapes_of(outlined("adm_classifier", FAMILIES["adm_classifier"].settings("imagenet_64")))
    assert keys["out.2.positional_embedding"] == (512, 65) and keys["out.2.c_proj.weight"] == (1000, 512, 1)
    assert "label_emb.weight" not in keys and sum(key.startswith("input_blocks") for key in keys) > 100


def test_sides_may_change_by_a_convolution_as_in_the_older_networks() -> None:
    network = doubled(SETTINGS, resblock_updown=False, use_scale_shift_norm=False)
    keys = shapes_of(network)
    assert keys["input_blocks.2.0.op.weight"] == (32, 32, 3, 3) and keys["output_blocks.1.2.conv.bias"] == (64,)
    assert keys["input_blocks.1.0.emb_layers.1.weight"] == (32, 128)
    x, y = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 2])
    found = network(x, torch.tensor([3.0, 700.0]), y)
    assert found.shape == (2, 6, 8, 8) and not torch.allclose(found, network(x, torch.tensor([3.0, 700.0]), 2 - y))


def test_widths_that_its_norms_cannot_group_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"model_channels times .* = 48 is not divisible by 32"):
        doubled(SETTINGS, model_channels=48)
    with pytest.raises(ConfigurationError, match="channels of an attention block = 64 is not divisible by 48"):
        doubled(SETTINGS, num_head_channels=48)

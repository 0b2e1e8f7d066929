"""Parts of the networks against their formulas."""

from __future__ import annotations

import pytest
import torch

from genuq.networks.layers import SelfAttention, SinusoidalEmbedding
from support.stirred import stirred


def test_time_embedding_is_the_ddpm_one():
    frequencies = [1000 * 10_000 ** (-k / 4) for k in range(4)]
    angles = torch.tensor([[0.25 * frequency for frequency in frequencies]], dtype=torch.float64)
    expected = torch.cat([angles.cos(), angles.sin()], 1)
    found = SinusoidalEmbedding(8)(torch.tensor([0.25])).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [16, 72, 96, 100, 104])
def test_attention_equals_the_softmax_formula(channels):
    layer = stirred(SelfAttention(channels))
    assert channels % layer.heads == 0
    x = torch.randn(2, channels, 3, 3)
    qkv = layer.query_key_value(layer.norm(x)).reshape(2, 3, layer.heads, channels // layer.heads, 9)
    query, key, value = qkv.unbind(1)
    weights = torch.einsum("bhcp,bhcq->bhpq", query, key) / (channels // layer.heads) ** 0.5
    attended = torch.einsum("bhpq,bhcq->bhcp", weights.softmax(-1), value).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.projection(attended), rtol=1e-4, atol=1e-4)

"""One number an image from its pixels' variances."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.propagators import image_score

VARIANCE = torch.arange(2 * 1 * 10 * 10, dtype=torch.float32).reshape(2, 1, 10, 10)


def test_reductions():
    assert image_score(VARIANCE).tolist() == [4950.0, 14950.0]
    assert image_score(VARIANCE, "mean").tolist() == [49.5, 149.5]
    assert image_score(VARIANCE, "top").tolist() == [99.0, 199.0]
    assert image_score(VARIANCE, "top", share=0.03).tolist() == [98.0, 198.0]
    assert image_score(VARIANCE).dtype == torch.float64


def test_within_a_mask():
    rows = torch.zeros(10, 10, dtype=torch.bool)
    rows[:2] = True
    assert image_score(VARIANCE, mask=rows).tolist() == [190.0, 190.0 + 2000]
    assert image_score(VARIANCE, "mean", rows).tolist() == [9.5, 109.5]
    assert image_score(VARIANCE, "top", rows, share=0.1).tolist() == [18.5, 118.5]
    own = torch.zeros(2, 1, 10, 10, dtype=torch.bool)
    own[0, 0, 0, 1], own[1, 0, 9] = True, True
    assert image_score(VARIANCE, mask=own).tolist() == [1.0, sum(range(190, 200))]


def test_refusals():
    empty = torch.ones(2, 1, 10, 10, dtype=torch.bool)
    empty[1] = False
    with pytest.raises(ConfigurationError, match=r"^mask selects nothing of image 1 \(1 such of 2\)"):
        image_score(VARIANCE, mask=empty)
    with pytest.raises(ConfigurationError, match=r"^mask has type torch.float32"):
        image_score(VARIANCE, mask=torch.ones(10, 10))
    with pytest.raises(ConfigurationError, match=r"^mask of shape \(9, 10\) does not fit"):
        image_score(VARIANCE, mask=torch.ones(9, 10, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match=r"^reduce = 'max'; choose sum, mean or top"):
        image_score(VARIANCE, "max")
    with pytest.raises(ConfigurationError, match=r"^share = 0"):
        image_score(VARIANCE, "top", share=0)

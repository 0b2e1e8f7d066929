"""What metrics ask of features: a finite matrix, pairs of one dimension, enough samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.metrics.checks import feature_matrix, feature_pair, require_count, require_neighbours


def test_arrays_and_tensors_pass_in_their_own_precision_without_their_graph():
    assert feature_matrix(np.ones((2, 3), dtype=np.float32), "x").dtype == torch.float32
    tracked = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    assert feature_matrix(tracked, "x").dtype == torch.float64 and not feature_matrix(tracked, "x").requires_grad


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3), (3, 0)])
def test_another_shape_is_named(shape):
    with pytest.raises(DataError, match=rf"x must be a matrix.*not of shape {str(shape)[:-1].replace('(', '.')}"):
        feature_matrix(torch.zeros(shape), "x")


def test_nan_is_counted_under_the_matrix_name():
    with pytest.raises(NonFiniteError, match="real features has 1 NaN and 0 infinite of 4 values"):
        feature_pair(torch.tensor([[0.0, torch.nan], [0.0, 0.0]]), torch.zeros(2, 2))


def test_a_pair_has_one_dimension():
    with pytest.raises(DataError, match="dimension 3 and fake features 4"):
        feature_pair(torch.zeros(2, 3), torch.zeros(2, 4))


def test_every_sample_needs_k_others():
    require_neighbours(torch.zeros(4, 1), 3, "real samples")
    with pytest.raises(DataError, match="3 real samples are too few for k = 3 neighbours: at least 4"):
        require_neighbours(torch.zeros(3, 1), 3, "real samples")
    with pytest.raises(ConfigurationError, match=r"k = 0.*metric\.k"):
        require_neighbours(torch.zeros(3, 1), 0, "real samples")
    with pytest.raises(DataError, match=r"1 fakes are too few for it: at least 2 are needed.*or stop"):
        require_count(1, 2, "fakes", "for it", "stop")

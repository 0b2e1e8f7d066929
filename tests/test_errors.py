"""Errors that help: near matches, counts of what is not finite, one family."""

from __future__ import annotations

import pytest
import torch

from genuq import errors
from genuq.errors import GenuqError, NonFiniteError, did_you_mean, require_finite


def test_near_match_and_all_candidates():
    assert did_you_mean("epsilom", ["sample", "epsilon"]) == " Did you mean 'epsilon'? Known: epsilon, sample."


def test_no_near_match_still_lists_the_candidates():
    assert did_you_mean("zzz", ["b", "a"]) == " Known: a, b."


def test_of_very_many_the_nearest_are_listed() -> None:
    said = did_you_mean("layer7", [f"layer{number}" for number in range(100)])
    assert said.startswith(" Did you mean 'layer7'? Known: ") and said.endswith("and 85 more.") and "layer77" in said


def test_nothing_known():
    assert did_you_mean("zzz", []) == ""


def test_every_error_is_one_of_ours_and_a_value_error():
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and name.endswith("Error")}
    ours = ["Artefact", "Checkpoint", "Configuration", "Data", "Genuq", "NonFinite", "Process", "Search", "Storage"]
    assert sorted(kinds) == [f"{name}Error" for name in ours]
    assert all(issubclass(kind, GenuqError) for kind in kinds.values()) and issubclass(GenuqError, ValueError)


def test_finite_and_integer_tensors_pass_and_stay():
    for tensor in (torch.tensor([1.0, -3e38]), torch.tensor([1, 2]), torch.empty(0)):
        before = tensor.clone()
        require_finite(tensor, "x", "")
        assert torch.equal(tensor, before)
    with pytest.raises(NonFiniteError):
        require_finite(torch.tensor([1.0, torch.nan]), "x", "")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_what_is_not_finite_is_counted(dtype):
    broken = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, 2.0], dtype=dtype)
    with pytest.raises(NonFiniteError, match=r"^weight 'a' has 1 NaN and 2 infinite of 5 values\. Train again\.$"):
        require_finite(broken, "weight 'a'", "Train again.")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_stored_in_float8_are_looked_at_too(dtype):
    require_finite(torch.ones(3).to(dtype), "weight 'a'", "")
    with pytest.raises(NonFiniteError, match="weight 'a' has 1 NaN and 0 infinite of 2 values"):
        require_finite(torch.tensor([1.0, torch.nan]).to(dtype), "weight 'a'", "")

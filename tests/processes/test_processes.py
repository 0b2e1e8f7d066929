"""The register of processes: built by name, with the near match of a wrong one."""

from __future__ import annotations

import pytest

from genuq.errors import ConfigurationError
from genuq.processes import FlowMatching, VariancePreserving, build


def test_unknown_names_get_the_near_match():
    with pytest.raises(ConfigurationError, match="Did you mean 'scaled_linear'"):
        VariancePreserving("scaled_linar")
    with pytest.raises(ConfigurationError, match="Did you mean 'flow_matching'"):
        build("flow_maching")


def test_build_passes_the_options_on():
    assert isinstance(build("flow_matching"), FlowMatching)
    built = build("variance_preserving", schedule="cosine", train_timesteps=500)
    assert isinstance(built, VariancePreserving)
    assert (built.schedule, built.train_timesteps) == ("cosine", 500)

"""Propagators by name."""

from __future__ import annotations

import pytest

from genuq.errors import ConfigurationError
from genuq.propagators import PROPAGATORS, Propagator, build


@pytest.mark.parametrize("name", PROPAGATORS)
def test_each_is_built_by_the_name_that_it_has(name):
    found = build(name)
    assert isinstance(found, Propagator) and type(found) is PROPAGATORS[name].resolve() and found.name == name


def test_an_unknown_name_or_option_is_refused():
    with pytest.raises(ConfigurationError, match=r"'corected' does not exist\. Did you mean 'corrected'"):
        build("corected")
    with pytest.raises(ConfigurationError, match=r"propagator 'trajectory' has no option 'drws'"):
        build("trajectory", drws=3)

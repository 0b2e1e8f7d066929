"""Plugins of Hydra that are not installed are named with what brings them."""

from __future__ import annotations

import pytest

from genuq.config import plugins
from genuq.errors import ConfigurationError


@pytest.mark.parametrize(("option", "extra"), [(option, extra) for option, (_, extra) in plugins.EXTRAS.items()])
def test_a_missing_plugin_is_named_with_its_extra(option: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "is_installed", lambda module: False)
    with pytest.raises(ConfigurationError, match=rf"{option} needs .*pip install 'genuq\[{extra}\]'"):
        plugins.check_plugins(["seed=1", option])
    monkeypatch.setattr(plugins, "is_installed", lambda module: True)
    plugins.check_plugins(["seed=1", option])


def test_another_packages_sweeper_is_refused_with_ours() -> None:
    with pytest.raises(ConfigurationError, match=r"choose hydra/sweeper=search"):
        plugins.check_plugins(["hydra/sweeper=optuna"])


def test_a_module_is_found_without_its_parent() -> None:
    assert plugins.is_installed("json.decoder")
    assert not plugins.is_installed("json.nothing") and not plugins.is_installed("no_such_package.inner")

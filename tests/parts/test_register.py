"""Registers: installed packages' parts, those that are broken, clashes, and which class paths are refused."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genuq.errors import ConfigurationError
from genuq.parts import entry_points, identity, plugged, register_of
from genuq.posteriors import POSTERIORS, PosteriorPart
from genuq.scores import SCORES, ScorePart
from support import my_lab_parts as lab

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs entry points: names with what loading them gives, or an error that it raises."""

    def installed(**points: Any) -> None:
        made = [entry_point(name, loaded) for name, loaded in points.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made if group == "genuq.parts" else [])
        entry_points.installed.cache_clear()

    yield installed
    monkeypatch.undo()
    entry_points.installed.cache_clear()


def entry_point(name: str, loaded: Any) -> Any:
    def load() -> Any:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    return SimpleNamespace(
        name=name, value=f"my_lab:{name}", load=load, dist=SimpleNamespace(name="my-lab", version="1.2")
    )


NARROW = PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow", label="Narrow")


def test_a_package_brings_one_part_several_or_a_function(install: Install) -> None:
    install(one=NARROW, several=[ScorePart(name="spread", target=lab.spread)], function=lambda: [lab.DARKNESS])
    assert POSTERIORS.get("narrow").resolve() is lab.Narrow and POSTERIORS.get("narrow").distribution == "my-lab 1.2"
    assert {"spread", "darkness"} <= set(SCORES) and SCORES.names(source="image") == ["complexity", "darkness"]
    assert list(SCORES)[-2:] == ["darkness", "spread"] and not SCORES.broken()
    assert identity(POSTERIORS.get("narrow"))["distribution"] == "my-lab 1.2"


def test_a_broken_package_is_an_error_only_where_it_is_asked_for(install: Install) -> None:
    install(spectral=ImportError("no module named fft_lab"), narrow=NARROW, number=3)
    assert POSTERIORS.get("narrow") and POSTERIORS.get("exact_laplace")
    with pytest.raises(ConfigurationError, match=r"posterior\.name: 'spectral' .*my-lab 1\.2.*no module named fft_lab"):
        POSTERIORS.get("spectral")
    reasons = {broken.name: broken.reason for broken in POSTERIORS.broken()}
    assert "fft_lab" in reasons["spectral"] and "not int" in reasons["number"]


def test_a_part_that_cannot_be_imported_says_so_when_it_is_used(install: Install) -> None:
    install(gone=PosteriorPart(name="gone", target="my_lab_that_is_not:Gone"))
    assert "gone" not in POSTERIORS and "exact_laplace" in POSTERIORS
    with pytest.raises(ConfigurationError, match=r"'gone' \(my_lab_that_is_not:Gone\), of .* package my-lab"):
        POSTERIORS.get("gone")
    install(wrong=PosteriorPart(name="wrong", target="support.my_lab_parts:OneLayer"))
    with pytest.raises(ConfigurationError, match=r"is not a subclass of genuq\.posteriors\.Posterior"):
        POSTERIORS.get("wrong")


def test_two_parts_of_one_name_are_an_error_where_the_name_is_used(install: Install) -> None:
    install(map=PosteriorPart(name="map", target="support.my_lab_parts:Narrow"))
    with pytest.raises(ConfigurationError, match=r"'map' of the installed package my-lab 1\.2 .*genuq itself has"):
        POSTERIORS.get("map")
    assert POSTERIORS.get("swag") and [each.name for each in POSTERIORS.broken()] == ["map"]
    with pytest.raises(ConfigurationError, match="'entropy' is registered already"):
        SCORES.register(ScorePart(name="entropy", target=lab.spread))


def test_an_unknown_name_is_answered_with_the_nearest_and_with_what_is_broken(install: Install) -> None:
    install(other=ImportError("gone"))
    with pytest.raises(ConfigurationError, match=r"beside\.x\.name: 'swga' .* Did you mean 'swag'.*'other'"):
        POSTERIORS.get("swga", "beside.x.name")


REFUSED = {
    "os.system": "no configuration may use",
    "subprocess.Popen": "no configuration may use",
    "builtins.eval": "no configuration may use",
    "torch.load": "no configuration may use",
    "torch.hub.load": "no configuration may use",
    "genuq.files.write_json": "no configuration may use",
    "my_lab_refused.os.system": "no configuration may use",
    "my_lab_refused.alias": "no configuration may use",
    "my_lab_refused.NOTHING": "is a int, not a class or a function",
    "my_lab_refused.missing": "has no 'missing'",
    "my_lab_that_is_not.Thing": "there is no module 'my_lab_that_is_not'",
    "my lab.Thing": "is no class path",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_no_part_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lab_refused.py").write_text("import os\nalias = os.system\nNOTHING = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"data\._target_ = .*{REFUSED[path]}"):
        plugged(path, "data", "data._target_")
    sys.modules.pop("my_lab_refused", None)


def test_a_class_path_must_answer_to_the_interface_of_its_group() -> None:
    for group, path in (("posterior", "OneLayer"), ("network", "Narrow"), ("solver", "OtherFlow"), ("score", "SHIFT")):
        with pytest.raises(ConfigurationError, match=rf"{group}\._target_ = 'support\.my_lab_parts\.{path}' is "):
            plugged(f"support.my_lab_parts.{path}", group, f"{group}._target_")
    with pytest.raises(ConfigurationError, match=r"no parts called 'postrior'\. Did you mean 'posterior'"):
        register_of("postrior")


def test_genuqs_own_class_path_is_its_own_part() -> None:
    assert plugged("genuq.posteriors.Swag", "posterior", "posterior._target_") is POSTERIORS.get("swag")


def test_a_changed_package_has_another_identity_and_a_moved_one_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(place: str, content: str) -> str:
        folder = tmp_path / place / "my_lab_moved"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("from my_lab_moved.inner import dots\n")
        (folder / "inner.py").write_text("def dots(split): ...\n")
        (folder / "unread.py").write_text(content)
        for name in [name for name in sys.modules if name.startswith("my_lab_moved")]:
            del sys.modules[name]
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            part = register_of("data").type(name="dots", target="my_lab_moved.inner:dots")
            return identity(part)["sha256"]

    first = known("here", "x = 1\n")
    assert known("here", "x = 2\n") != first
    assert known(f"there{os.sep}deeper", "x = 1\n") == first

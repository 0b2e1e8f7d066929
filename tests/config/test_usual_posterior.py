"""The posterior of a run that names none: over all layers where these are few, else over the last one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genuq.config import schemas
from genuq.config.compose import choices_of, configurations, prepared
from genuq.config.usual_posterior import ALL_LAYERS, LAST_LAYER
from genuq.errors import ConfigurationError
from genuq.parts import register_of

PARTS = """
from dataclasses import dataclass
from genuq.applications.register import ApplicationPart
from genuq.propagators import Coherent, Trajectory
from genuq.propagators.register import PropagatorPart

def made(width: int = 3):
    return None

class Covariant(Trajectory):
    name = "covariant"

class Drawing(Coherent):
    name = "drawing"

@dataclass
class Along:
    propagator: str = "trajectory"

@dataclass
class Alone:
    share: float = 0.5

def apply(finished, settings):
    return None

along = ApplicationPart.of(apply, name="along", settings=Along, control="nothing")
alone = ApplicationPart.of(apply, name="alone", settings=Alone, control="nothing")
drawing = PropagatorPart.of(Drawing, name="drawing", needs_variance=False)
"""


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    schemas.register()
    before = {group: set(register_of(group)) for group in ("model", "propagator", "application")}
    (tmp_path / "lab_of_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for group, names in before.items():
        for name in set(register_of(group)) - names:
            register_of(group).remove(name)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of option files."""
    written = {
        "model/net.yaml": "_target_: lab_of_parts.made\nwidth: 5\n",
        "model/wider.yaml": "defaults: [net, _self_]\nwidth: 7\n",
        "model/whole.yaml": "# @package _global_\nmodel: {_target_: lab_of_parts.made, width: 9}\n",
        "model/other.yaml": "defaults: [override /posterior@_global_.posterior: swag, _self_]\n"
        "_target_: lab_of_parts.made\n",
        "model/longer.yaml": "# @package _global_\ndefaults: [flow_matching]\nmodel: {prediction: flow}\n",
        "propagator/covariant.yaml": "_target_: lab_of_parts.Covariant\nname: covariant\n",
        "propagator/drawing.yaml": "_target_: lab_of_parts.drawing\nname: drawing\n",
        "application/along.yaml": "_target_: lab_of_parts.along\nname: along\n",
        "application/alone.yaml": "_target_: lab_of_parts.alone\nname: alone\n",
        "propagator/shared.yaml": "defaults: [trajectory, _self_]\n",
        "experiment/of_net.yaml": "# @package _global_\ndefaults: [{override /model: net}]\n",
        "experiment/with_swag.yaml": "# @package _global_\ndefaults: [{override /model: net}, "
        "{override /posterior: swag}]\n",
        "experiment/by_covariant.yaml": "# @package _global_\ndefaults: [{override /propagator: covariant}]\n",
    }
    for name, text in written.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "own"


def chosen(*texts: str, folders: tuple[Path, ...] = ()) -> list[str]:
    found: list[Any] = [config for _, config in configurations(prepared(texts, folders))]
    return [config.posterior.name for config in found]


@pytest.mark.parametrize(
    ("texts", "posterior"),
    [
        (["model=net"], LAST_LAYER),
        (["model=wider"], LAST_LAYER),
        (["model=whole"], LAST_LAYER),
        (["experiment=of_net"], LAST_LAYER),
        (["model=net", "posterior=kfac"], ALL_LAYERS),
        (["model=other"], "swag"),
        (["experiment=with_swag"], "swag"),
        (["experiment=with_swag", "posterior=kfac"], ALL_LAYERS),
        (["model=longer"], ALL_LAYERS),  # one of genuq's, with other values
        (["propagator=covariant"], LAST_LAYER),
        (["experiment=by_covariant"], LAST_LAYER),
        (["propagator=covariant", "posterior=diagonal_laplace"], "diagonal_laplace"),
        (["propagator=drawing"], ALL_LAYERS),
        (["propagator=shared"], LAST_LAYER),
        (["application=along"], LAST_LAYER),
        (["application=along", "posterior=diagonal_laplace"], "diagonal_laplace"),
        (["application=alone"], ALL_LAYERS),
        (["~propagator", "~application"], ALL_LAYERS),
        (["posterior.draws=3"], ALL_LAYERS),
        (["~propagator"], ALL_LAYERS),
    ],
)
def test_of_option_files(texts: list[str], posterior: str, own: Path) -> None:
    assert chosen(*texts, folders=(own,)) == [posterior]
    assert choices_of(prepared(texts, [own]))["posterior"] == posterior


def test_each_job_of_a_sweep_has_its_own(own: Path) -> None:
    models = chosen("-m", "model=net,flow_matching", "propagator=none,covariant,drawing", folders=(own,))
    assert models == [LAST_LAYER] * 3 + [ALL_LAYERS, LAST_LAYER, ALL_LAYERS]


def test_the_values_are_those_of_the_posterior_itself(own: Path) -> None:
    found = [config for more in ([], ["posterior=exact_laplace"])
             for _, config in configurations(prepared(["model=net", *more], [own]))]  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("texts", "posterior"),
    [
        (["propagator._target_=lab_of_parts.Covariant"], LAST_LAYER),
        (["propagator._target_=lab_of_parts.Covariant", "posterior=diagonal_laplace"], "diagonal_laplace"),
        (["propagator._target_=lab_of_parts.Covariant", "experiment=glyphs"], "deep_ensemble"),
        (["propagator._target_=lab_of_parts.drawing"], ALL_LAYERS),
        (["application._target_=lab_of_parts.along"], LAST_LAYER),
        (["application._target_=lab_of_parts.alone"], ALL_LAYERS),
        (["model._target_=lab_of_parts.made"], LAST_LAYER),
        (["model._target_=lab_of_parts.made", "experiment=glyphs"], "deep_ensemble"),
    ],
)
def test_of_class_paths(texts: list[str], posterior: str) -> None:
    assert chosen(*texts) == [posterior]


def test_a_folder_that_is_no_longer_searched_counts_no_more(own: Path) -> None:
    assert chosen("model=net", folders=(own,)) == [LAST_LAYER]
    (own / "model" / "net.yaml").write_text("# @package _global_\ndefaults: [flow_matching]\n")
    assert chosen("model=net", folders=(own,)) == [ALL_LAYERS]


def test_a_path_that_leads_nowhere_is_named(own: Path) -> None:
    (own / "propagator" / "lost.yaml").write_text("_target_: lab_of_parts.Lost\nname: lost\n")
    with pytest.raises(ConfigurationError, match="has no 'Lost'"):
        chosen("propagator=lost", folders=(own,))
    (own / "model" / "broken.yaml").write_text("_target_: [\n")
    with pytest.raises(ConfigurationError, match="is no YAML"):
        chosen("model=broken", folders=(own,))

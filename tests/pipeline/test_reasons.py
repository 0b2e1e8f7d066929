"""Why a stage is made anew, told by what differs between the identities."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genuq import files
from genuq.display import Display
from genuq.pipeline import execute
from genuq.pipeline.reasons import why_anew, written_identity
from genuq.store.artefact import StageFolder
from support.small_runs import POINTS, composed, copied

OLD, NEW = "a" * 64, "b" * 64


def identity(stage: str = "fit", version: int = 1, inputs: dict[str, Any] | None = None, **settings: Any) -> Any:
    return {"stage": stage, "version": version, "settings": settings, "inputs": inputs or {}}


def told(old: Any, new: Any, store: Path = Path("absent"), *known: StageFolder) -> str | None:
    return why_anew(old, StageFolder(Path("x/fit/y"), new), store, known)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ({"steps": 3}, {"steps": 3}, None),
        ({"trainer": {"steps": 3}}, {"trainer": {"steps": 4}}, "trainer.steps: 3 -> 4"),
        ({}, {"trainer": {"precision": "32-true"}}, "trainer.precision is new in its identity"),
        ({"trainer": {}}, {"trainer": {"precision": "32-true"}}, "trainer.precision is new in its identity"),
        ({"trainer": {"judge_steps": 3}}, {"trainer": {}}, "trainer.judge_steps is no longer in its identity"),
        ({"data": {"name": "x", "root": "y"}}, {"data": {"train": NEW}}, "data is identified by content now"),
        ({"options": {"checkpoint": "x"}}, {"options": {"checkpoint": NEW}}, "options.checkpoint is identified by"),
        ({"data": {"train": OLD}}, {"data": {"train": NEW}}, "the content of data.train changed"),
        ({"mask": None}, {"mask": NEW}, f"mask: None -> {NEW[:24]}..."),
    ],
)
def test_what_differs_is_told_by_its_key(old: dict[str, Any], new: dict[str, Any], text: str | None) -> None:
    found = told(identity(**old), identity(**new))
    assert found == text or (text is not None and found is not None and found.startswith(text))


def test_versions_and_inputs_are_told() -> None:
    old = identity(version=1, inputs={"sample": OLD, "fit": OLD})
    assert told(old, identity(version=2, inputs={"sample": NEW, "fit": OLD})) == "its version: 1 -> 2; upstream sample"


def test_an_identity_in_an_older_layout_is_told_as_such() -> None:
    """Not key by key: all of them have changed their places."""
    old = {"stage": "fit", "version": 4, "settings": {"posterior": {"name": "exact_laplace"}}, "inputs": {}}
    new = {
        "stage": "fit",
        "version": 5,
        "layout": 2,
        "settings": {"posterior": {"kind": "exact_laplace"}},
        "inputs": {},
    }
    reason = told(old, new)
    assert reason is not None and reason.startswith("another version of genuq made it")


def test_nothing_is_told_without_a_former_artefact(tmp_path: Path) -> None:
    assert written_identity(tmp_path / "fit") is None
    assert told(None, identity(steps=3)) is None


def test_what_is_named_by_a_fingerprint_is_looked_into(tmp_path: Path) -> None:
    """A fit names its posteriors by their fingerprints; what differs in them is told by their own keys."""
    former = StageFolder.in_store(tmp_path, identity("posterior", steps=3))
    files.write_json(former.manifest_path, {"made_from": former.identity})
    latter = StageFolder.in_store(tmp_path, identity("posterior", steps=4))
    old, new = ({"draws": one.fingerprint} for one in (former, latter))
    assert told(identity(posteriors=old), identity(posteriors=new), tmp_path, latter) == "steps: 3 -> 4"


def test_many_differences_are_counted() -> None:
    old, new = ({f"key{n}": n + shift for n in range(11)} for shift in (0, 1))
    found = told(identity(**old), identity(**new))
    assert found is not None and found.startswith("key0: 0 -> 1; ") and found.endswith("; and 3 more")


def test_a_run_says_why_before_it_makes_a_stage_anew(points_run: Path, tmp_path: Path) -> None:
    folder, output = copied(points_run, tmp_path / "points"), StringIO()
    config = composed(f"store={folder}/store", *POINTS, "posterior.repeats=2", "stages=[train,fit,sample]")
    execute.execute(config, folder, "genuq", Display(Console(file=output, width=200)))
    lines = output.getvalue().splitlines()
    assert "fit: made anew: posterior.repeats: 1 -> 2" in lines
    assert "sample: made anew: upstream fit" in lines
    assert not any(line.startswith("train: made anew") for line in lines)
    assert lines.index("fit: made anew: posterior.repeats: 1 -> 2") < next(
        number for number, line in enumerate(lines) if line.startswith("fit: ") and line.endswith(" s")
    )

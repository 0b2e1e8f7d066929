"""The table of CONTRIBUTING.md, followed: a part of each kind is one new file, made from the one that the table says to
copy, and one option file; nothing else is touched."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import genuq
from genuq.parts import GROUPS, Part, register_of
from support.programs import environment

ROOT = Path(__file__).parents[2]
PACKAGE = Path(genuq.__file__).parent
NAMED = {"data set": "data", "baseline": "score", "control": "score"}  # kinds that a group does not bear the name of

BUILD = """
import io, json, sys
import torch
from omegaconf import OmegaConf
from genuq import data, extractors, likelihoods, networks, posteriors, processes, propagators, solvers
from genuq.analysis import SubsetJudge
from genuq.applications import APPLICATIONS
from genuq.cli import parts
from genuq.config import schemas
from genuq.config.compose import configurations
from genuq.models import GenerativeModel
from genuq.scores import SCORES

model = GenerativeModel(networks.MLP((2,), width=8, depth=1), (2,))
made = {
    "posterior": lambda name: posteriors.build(name, model),
    "likelihood": lambda name: likelihoods.build(name, (2,), None),
    "extractor": lambda name: extractors.build(name, image_shape=(1, 4, 4)),
    "propagator": propagators.build,
    "score": lambda name: SCORES[name].resolve(),
    "baseline": lambda name: SCORES[name].resolve(),
    "control": lambda name: SCORES[name].resolve(),
    "solver": solvers.build,
    "network": lambda name: networks.build(name, shape=(2,), num_classes=0),
    "process": processes.build,
    "data set": lambda name: data.load(name, size=10),
    "metric": lambda name: SubsetJudge(torch.randn(9, 2), torch.randn(9, 2), 3, metrics=[name]),
    "application": lambda name: APPLICATIONS[name].settings_of({}),
}
schemas.register()
found = {"built": []}
for kind, (name, choice) in json.loads(sys.argv[1]).items():
    assert len(list(configurations([choice]))) == 1
    assert made[kind](name) is not None
    found["built"].append(kind)
((_, together),) = configurations(json.loads(sys.argv[2]))
found["together"] = OmegaConf.to_container(together, resolve=True)
sys.stdout = told = io.StringIO()
assert parts.main(["--json"]) == 0
sys.stdout, found["listed"] = sys.__stdout__, json.loads(told.getvalue())
print(json.dumps(found))
"""


class Row(NamedTuple):
    """A kind of part, the file to copy, what of it (all but helpers if None), and the option file to copy, if any."""

    kind: str
    file: str
    target: str | None
    option: str | None

    @property
    def group(self) -> str:
        return NAMED.get(self.kind, self.kind)

    @property
    def name(self) -> str:
        return f"own_{self.kind.replace(' ', '_')}"

    @property
    def module(self) -> str:
        return "genuq." + self.file.removesuffix(".py").replace("/", ".")

    def part(self) -> Part:
        """The part that is copied."""
        found = [
            part
            for part in register_of(self.group).values()
            if part.path.split(":")[0] == self.module and self.target in (None, part.path.split(":")[1])
        ]
        assert len(found) == 1, f"the row '{self.kind}' must say which of {[part.name for part in found]} to copy"
        return found[0]


def rows() -> Iterator[Row]:
    """The rows of the table whose kind has a register."""
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and (cells[0] in GROUPS or cells[0] in NAMED):
            words = re.findall(r"`([^`]+)`", cells[1])
            option = re.match(r"`(conf/[^`]+)`", cells[2])
            yield Row(cells[0], words[0], words[1] if len(words) > 1 else None, option[1] if option else None)


ROWS = list(rows())


def new_file(row: Row) -> str:
    """The part alone, under its new name, as one would copy it: with the imports of its file, and what it needs of it
    imported from there."""
    part, source = row.part(), (PACKAGE / row.file).read_text()
    tree = ast.parse(source)
    target = part.path.split(":")[1]
    node = next(each for each in tree.body if getattr(each, "name", None) == target)
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    lines = source.splitlines()
    imports = [ast.unparse(each) for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    helpers = used(node) & defined(tree) - {target}
    taken = [f"from {row.module} import {', '.join(sorted(helpers))}"] if helpers else []
    body = "\n".join(lines[node.decorator_list[0].lineno - 1 : node.end_lineno])
    body = body.replace(f'"{part.name}"', f'"{row.name}"')
    body = re.sub(rf"(?<=def ){part.name}\b", row.name, body)
    return "\n".join(['"""A part of my own."""', *imports, *taken, "", "", body, ""])


def used(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def defined(tree: ast.Module) -> set[str]:
    """Names that the module defines itself."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def new_option(row: Row) -> str:
    """The option file with the part's name, and that of its schema, changed."""
    assert row.option is not None
    text, old = (ROOT / row.option).read_text(), row.part().name
    text, count = re.subn(rf"(?<=schema_){old}\b|(?<=name: ){old}\b", row.name, text)
    assert count, f"{row.option} does not name {old}"
    return text


def choice(row: Row) -> str:
    if row.option is not None:
        return f"{Path(row.option).parent.name}={row.name}"
    return f"metric.curves=[{row.name}]" if row.kind == "metric" else f"likelihood.{row.kind}={row.name}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """genuq and its configuration with a new part of each kind: a file each, and an option file for most."""
    root = tmp_path_factory.mktemp("copy")
    left_out = shutil.ignore_patterns("reference", "__pycache__")
    shutil.copytree(PACKAGE.parent, root / "src", ignore=left_out)
    (root / "src" / "genuq" / "reference").symlink_to(PACKAGE / "reference")
    shutil.copytree(ROOT / "conf", root / "conf")
    for row in ROWS:
        place = (root / "src" / "genuq" / row.file).with_name(f"{row.name}.py")
        assert not place.exists()
        place.write_text(new_file(row))
        if row.option is not None:
            option = (root / row.option).with_name(f"{row.name}.yaml")
            assert not option.exists()
            option.write_text(new_option(row))
    return root


def python(copy: Path, *arguments: str) -> str:
    """What Python printed that imports the copy."""
    known = environment()
    known["PYTHONPATH"] = os.pathsep.join([str(copy / "src"), known["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, capture_output=True, text=True, timeout=600, env=known
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(copy: Path) -> dict[str, Any]:
    """What genuq with the new parts builds, composes and lists, all in one process, which loads everything once."""
    asked = {row.kind: (row.name, choice(row)) for row in ROWS}
    together = [choice(row) for row in ROWS if row.option is not None]
    return json.loads(python(copy, "-c", BUILD, json.dumps(asked), json.dumps(together)))


def test_every_group_has_a_row() -> None:
    """But for whole models, put together from the other parts, and families of pipelines, which nothing names."""
    assert {row.group for row in ROWS} == set(GROUPS) - {"model", "family"} and {"baseline", "control"} <= {
        row.kind for row in ROWS
    }


def test_what_the_table_names_is_there() -> None:
    """Also in the rows of kinds that no register has."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("| A new...") : text.index("\n\n", text.index("| A new..."))]
    paths = re.findall(r"`([\w/]+(?:\.\w+|/))`", table)
    places = [PACKAGE / path if not path.startswith(("conf/", "tests/")) else ROOT / path for path in paths]
    assert paths and [str(place) for place in places if not place.exists() and "NAME" not in place.name] == []
    for row in ROWS:
        assert hasattr(importlib.import_module(row.module), row.part().path.split(":")[1])


def test_each_new_part_composes_and_builds(found: dict[str, Any]) -> None:
    assert found["built"] == [row.kind for row in ROWS]


def test_they_compose_together(found: dict[str, Any]) -> None:
    chosen, config = {Path(row.option).parent.name: row for row in ROWS if row.option is not None}, found["together"]
    for group, row in chosen.items():
        if group != "model":
            assert config[group]["name"] == row.name
    assert config["model"]["process"]["name"] == "own_process"


def test_genuq_parts_lists_them(found: dict[str, Any]) -> None:
    listed = found["listed"]
    assert not listed["broken"]
    for row in ROWS:
        (part,) = [part for part in listed["parts"][row.group] if part["name"] == row.name]
        assert part["from"] == "genuq" and part["target"].split(":")[0].endswith(f".{row.name}")

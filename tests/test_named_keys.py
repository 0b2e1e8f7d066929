"""Every key of the configuration that an error names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import genuq
from genuq.config import schemas
from genuq.config.compose import config_directory, configurations

PACKAGE = Path(genuq.__file__).parent
CONF = config_directory()
GROUPS = {folder.name for folder in CONF.iterdir() if folder.is_dir()} | {"hydra"}
FREE = {"beside", "options", "scheduler"}  # below these the user chooses the names
NO_KEYS = {"group.key", "model.safetensors"}  # what an override looks like, and a file
PLACEHOLDER = "\0"
# a dotted name of small letters that no path, no module and no file name goes on from
KEY = re.compile(r"(?<![\w./\\\0@'-])([a-z_]+(?:\.[a-z_\0]+)+)(?![\w(/])")
OPTION = re.compile(r"(?<![\w./\0@])([a-z_]+)=([a-z_0-9]+)")


def text_of(node: ast.expr) -> str:
    """The constant parts of a message, with a placeholder for each that is not."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return PLACEHOLDER


def messages() -> Iterator[tuple[str, str]]:
    """(place, text) of every error that is made in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error") and node.args:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text_of(node.args[0])


def keys_in(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing():
            yield from keys_in(value, f"{prefix}{key}.")


@cache
def known_keys() -> set[str]:
    """Those of the composed configuration, under every option of every group."""
    schemas.register()
    options = {group: [path.stem for path in sorted((CONF / group).glob("*.yaml"))] for group in GROUPS - {"hydra"}}
    options.pop("experiment")
    found: set[str] = set()
    for number in range(max(map(len, options.values()))):
        job = [f"{group}={names[number % len(names)]}" for group, names in options.items() if names]
        for _, config in configurations(
            [
                *job,
                *(["data.root=images"] if {"data=image_folder", "data=imagenet"} & {*job} else []),
                *(["model.pretrained=folder"] if "model=diffusers" in job else []),
            ]
        ):
            found |= set(keys_in(config))
    return found | sweeper_keys()


def sweeper_keys() -> set[str]:
    """Those of a search, which Hydra keeps apart from the configuration of a job."""
    search = OmegaConf.load(CONF / "hydra" / "sweeper" / "search.yaml")
    return {f"hydra.sweeper.{key}" for key in keys_in(search)} | {"hydra.sweeper.sampler._target_"}


def is_key(name: str) -> bool:
    """Whether there is such a key; behind a placeholder anything may follow."""
    if PLACEHOLDER in name:
        beginning = name.split(PLACEHOLDER)[0]
        return any(key.startswith(beginning) for key in known_keys())
    parts = name.split(".")
    return name in known_keys() or any(part in FREE for part in parts[:-1])


def dotted(text: str) -> Iterator[str]:
    """Names that look like keys: in a group, or with a value behind them."""
    for match in KEY.finditer(text):
        name, follows = match[1], text[match.end() :]
        if name in NO_KEYS:
            continue
        if name.split(".")[0] in GROUPS - {"hydra", "experiment"} or re.match(r" ?= ?\S", follows):
            yield name


def test_the_collection_sees_keys_in_messages() -> None:
    found = {name for _, text in messages() for name in dotted(text)}
    assert len(found) > 60 and {"posterior.rank", "sampler.steps", "metric.k", "propagator.draws"} <= found
    assert list(dotted("score.reduce = 'x'; see map.method = 1, metric.\0 and x.y or data/a.b")) == [
        *("score.reduce", "map.method", "metric.\0")
    ]
    assert not is_key("score.reduce") and not is_key("map.method") and not is_key("sampler.stpes\0")


def test_every_key_that_an_error_names_exists() -> None:
    wrong = {f"{place}: {name}" for place, text in messages() for name in dotted(text) if not is_key(name)}
    assert not wrong


def test_every_option_that_an_error_names_exists() -> None:
    wrong = {
        f"{place}: {match[0]}"
        for place, text in messages()
        for match in OPTION.finditer(text)
        if match[1] in GROUPS - {"hydra"} and not (CONF / match[1] / f"{match[2]}.yaml").is_file()
        if match[2] not in ("null", "option", "x")
    }
    assert not wrong

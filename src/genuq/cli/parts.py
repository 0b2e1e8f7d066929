"""`genuq parts`: what a configuration can name, where each part comes from, and a package for a new one."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genuq.cli.skeleton import write_skeleton
from genuq.parts import GROUPS, Broken, Part, installed, register_of
from genuq.parts.explained import entries, explained

NEW = "new"
DESCRIPTION = """Without arguments: all parts, group by group, those of genuq and of installed packages. With a group:
the parts of that group with their sentences. With a group and a name: where the part is defined, and its options.
`genuq parts new GROUP NAME` writes the package of a new part, with a test, to begin with."""


def main(arguments: Sequence[str]) -> int:
    """The exit status.

    Raises:
        GenuqError: no such group or part; a new part's name or folder is taken.
    """
    if arguments[:1] == [NEW]:
        return new(new_parser().parse_args(arguments[1:]))
    chosen = parser().parse_args(arguments)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if chosen.name is not None:
        return show_part(register_of(chosen.group).get(chosen.name), chosen.json, console)
    return show_groups([chosen.group] if chosen.group else list(GROUPS), chosen.json, console)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser("genuq parts", description=DESCRIPTION)
    whole.add_argument("group", nargs="?", metavar="GROUP", help=f"one of {', '.join(GROUPS)}; or {NEW}")
    whole.add_argument("name", nargs="?", metavar="NAME", help="of a part")
    whole.add_argument("--json", action="store_true", help="the same as data")
    return whole


def new_parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        "genuq parts new",
        description="Writes DIR/NAME: an installable package with a small part that works, and its test.",
    )
    whole.add_argument("group", metavar="GROUP", choices=list(GROUPS), help=f"one of {', '.join(GROUPS)}")
    whole.add_argument("name", metavar="NAME", help="of the new part, for instance spectral")
    whole.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="default: here")
    return whole


def new(chosen: argparse.Namespace) -> int:
    folder = write_skeleton(chosen.group, chosen.name, chosen.out)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(path)
    print(f"\nTry it: pip install -e {folder} && pytest {folder} && genuq parts {chosen.group} {chosen.name}")
    return 0


# What is installed


def show_groups(groups: Sequence[str], as_json: bool, console: Console) -> int:
    known = {group: list(register_of(group).values()) for group in groups}
    broken = unusable(groups)
    if as_json:
        listed = {group: [facts_of(part) for part in parts] for group, parts in known.items()}
        console.print_json(json.dumps({"parts": listed, "broken": [dataclasses.asdict(each) for each in broken]}))
        return 0
    for group, parts in known.items():
        console.print(f"{group} ({len(parts)})")
        console.print(listing(parts))
    for each in broken:
        console.print(f"broken: {each.sentence}")
    return 0


def listing(parts: Sequence[Part]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for part in parts:
        table.add_row(f"  {part.name}", origin(part), part.description or part.label)
    return table


def unusable(groups: Sequence[str]) -> list[Broken]:
    """What of the installed packages cannot be used: whole plug-ins, clashes of names, parts that are not there."""
    found = [*installed().broken, *(each for group in groups for each in register_of(group).broken())]
    return list(dict.fromkeys(found))


def origin(part: Part) -> str:
    """Who brought it: `genuq`, a distribution with its version, or the class path that was typed."""
    return "genuq" if part.builtin else part.distribution or part.path.replace(":", ".")


def facts_of(part: Part) -> dict[str, Any]:
    return {
        "group": part.group,
        "name": part.name,
        "label": part.label,
        "description": part.description,
        "kind": part.kind,
        "lower_is_better": part.lower_is_better,
        "needs_images": part.needs_images,
        "from": origin(part),
        "target": part.path,
    }


# One part


def show_part(part: Part, as_json: bool, console: Console) -> int:
    options = options_of(part)
    facts = facts_of(part) | {"file": source_file(part.resolve())}
    if as_json:
        console.print_json(json.dumps(facts | {"options": options}, default=str))
        return 0
    console.print(f"{part.group} {part.name}: {part.label}")
    if part.description:
        console.print(part.description)
    console.print(f"from {facts['from']}: {part.path}\n{facts['file']}")
    for sentence in qualities(part):
        console.print(sentence)
    if not options:
        console.print("It has no options.")
        return 0
    table = Table("option", "type", "default", "", box=None, pad_edge=False, padding=(0, 2))
    for each in options:
        shown = "needed" if each["needed"] else json.dumps(each["default"], default=str)
        table.add_row(each["name"], each["type"], shown, each["words"])
    console.print(table)
    return 0


def qualities(part: Part) -> list[str]:
    """What else a reader must know, in sentences."""
    said = [f"Kind: {part.kind}."] if part.kind else []
    if part.lower_is_better is not None:
        said.append("Lower is better." if part.lower_is_better else "Higher is better.")
    return [*said, "Needs images."] if part.needs_images else said


def options_of(part: Part) -> list[dict[str, Any]]:
    """Name, type, default and words of each option; `needed` are those without a default."""
    words = entries(type(part).__doc__ or "") | explained(getattr(part, "settings", part.resolve()))
    found = []
    for each in dataclasses.fields(part.options):
        needed = each.default is each.default_factory is dataclasses.MISSING
        found.append(
            {
                "name": each.name,
                "type": type_name(each.type),
                "needed": needed,
                "default": None if needed else default_of(each),
                "words": words.get(each.name, ""),
            }
        )
    return found


def default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def type_name(hint: Any) -> str:
    """`float | None` as a reader knows it."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def source_file(target: Any) -> str:
    """The file in which it is defined."""
    return inspect.getsourcefile(inspect.unwrap(target)) or "no file"

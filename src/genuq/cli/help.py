"""What `genuq --help` prints: the commands, the groups with all their options, and how values are set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from genuq.cli.commands import ALIASES, COMMANDS
from genuq.config.schemas import installed_options
from genuq.parts import Part, installed

WIDTH, COLUMN = 118, 31

HEAD = """genuq: which outputs of a diffusion, latent-diffusion or flow-matching model can be trusted?

  genuq experiment=quickstart                               one run
  genuq run experiment=quickstart                           the same
  genuq model=ddpm posterior=kfac sampler.samples=512       options with group=option, values with group.key=value
  genuq -m posterior=exact_laplace,kfac seed=0,1            a sweep: every combination; what runs share is made once
  genuq -m ... hydra/launcher=joblib                        several jobs at once; submitit_local, submitit_slurm, ray
  genuq -m ... hydra/sweeper=search objective=entropy/auroc a search
  genuq --cfg job [overrides]                               the whole configuration with all keys
  genuq --hydra-help                                        Hydra's own flags

A run that is started again goes on where it stopped. Everything that it makes lies in the store (store=outputs/store),
by the hash of what it depends on; outputs/NAME holds links, and outputs/NAME/report/index.html the page.
"""

TAIL = """
Every file of conf/ says what its keys mean, with units and sources. Options and experiments of your own:
--config-dir DIR (or hydra.searchpath=[file://DIR]) with files DIR/GROUP/NAME.yaml, in a run, a sweep or a plan;
genuq --config-dir DIR --help lists them, too. Parts of installed packages are options as well: genuq parts lists them.
"""


def text(folders: Sequence[Path]) -> str:
    """The whole help.

    Args:
        folders: of the configuration: genuq's own, then the user's.
    """
    lines = [HEAD, "", "Commands, each with a --help of its own"]
    lines += [f"  {f'genuq {name} {command.usage}':<{COLUMN}} {command.what}" for name, command in COMMANDS.items()]
    lines += [f"  {', '.join(f'genuq-{name}' for name in ALIASES)}: the same as programs of their own"]
    brought = parts_by_group()
    for group in groups(folders[0]):
        lines += ["", f"{group}="]
        for folder in folders:
            mark = "" if folder == folders[0] else "(yours) "
            found = sorted((folder / group).glob("*.yaml"))
            lines += [f"  {option.stem:<{COLUMN}} {mark}{opening(option)}" for option in found]
        lines += [
            f"  {part.name:<{COLUMN}} ({part.distribution}) {part.description}" for part in brought.get(group, [])
        ]
    return "\n".join(line.rstrip() for line in [*lines, TAIL])


def parts_by_group() -> dict[str, list[Part]]:
    """The parts of installed packages; where there are none, nothing is imported to find that out."""
    if not installed().parts:
        return {}
    found: dict[str, list[Part]] = {}
    for group, part in installed_options():
        found.setdefault(group, []).append(part)
    return found


def groups(shipped: Path) -> list[str]:
    """Names of the groups, Hydra's behind ours."""
    own = sorted(path.name for path in shipped.iterdir() if path.is_dir() and path.name != "hydra")
    return [*own, *sorted(f"hydra/{path.name}" for path in (shipped / "hydra").iterdir())]


def opening(option: Path) -> str:
    """The first sentence of an option's file."""
    said = [line.lstrip("# ").strip() for line in option.read_text().splitlines() if line.startswith("# ")]
    whole = " ".join(line for line in said if not line.startswith("@package"))
    return shortened(re.split(r"(?<!al)\. ", whole)[0].rstrip("."))


def shortened(sentence: str, longest: int = WIDTH - COLUMN - 3) -> str:
    return sentence if len(sentence) <= longest else sentence[: sentence.rfind(" ", 0, longest - 3)] + " ..."

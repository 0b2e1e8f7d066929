"""What `genuq --help` prints: the commands, the groups with all their options, and how values are set."""

from __future__ import annotations

import re
from pathlib import Path

WIDTH, COLUMN = 118, 31
PROGRAMS = {
    "genuq plan [overrides]": "what a run or sweep will make, and what it costs, before it is launched",
    "genuq store COMMAND": "list, show, verify or prune what lies in the store",
    "genuq study NAME": "one page for all runs of a study",
    "genuq-table experiments/X": "a study's tables (Markdown, LaTeX, CSV) and figures (PDF, SVG)",
    "genuq-dashboard NAME": "a study's workspace and report on Weights & Biases",
    "genuq-bench BENCHMARK": "what genuq's parts cost, beside other libraries",
}

HEAD = """genuq: which outputs of a diffusion, latent-diffusion or flow-matching model can be trusted?

  genuq experiment=quickstart                               one run
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
Every file of conf/ says what its keys mean, with units and sources. Own options: --config-dir FOLDER, with files
GROUP/NAME.yaml.
"""


def text(conf: Path) -> str:
    """The whole help, of the configuration in the folder `conf`."""
    lines = [HEAD, "", "Commands, each with a --help of its own"]
    lines += [f"  {name:<{COLUMN}} {what}" for name, what in PROGRAMS.items()]
    own = sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra")
    for group in (*own, *sorted((conf / "hydra").iterdir())):
        lines += ["", f"{group.relative_to(conf)}="]
        lines += [f"  {option.stem:<{COLUMN}} {opening(option)}" for option in sorted(group.glob("*.yaml"))]
    return "\n".join(line.rstrip() for line in [*lines, TAIL])


def opening(option: Path) -> str:
    """The first sentence of an option's file."""
    said = [line.lstrip("# ").strip() for line in option.read_text().splitlines() if line.startswith("# ")]
    whole = " ".join(line for line in said if not line.startswith("@package"))
    return shortened(re.split(r"(?<!al)\. ", whole)[0].rstrip("."))


def shortened(sentence: str, longest: int = WIDTH - COLUMN - 3) -> str:
    return sentence if len(sentence) <= longest else sentence[: sentence.rfind(" ", 0, longest - 3)] + " ..."

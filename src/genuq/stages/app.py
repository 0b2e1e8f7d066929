"""The command `genuq`: a Hydra application that runs the stages of one run, or of a sweep with -m."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from genuq import files
from genuq.errors import GenuqError
from genuq.stages import configuration, runtime
from genuq.stages.overrides import check_overrides, config_directory

HYDRA_INFORMATION = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-p", "--package", "-i", "--info"}
FAILED: list[str] = []


def main() -> None:
    """Entry point: check the overrides of all jobs, then let Hydra run them."""
    runtime.prepare()
    configuration.register()
    arguments = sys.argv[1:]
    informs = any(argument.split("=")[0] in HYDRA_INFORMATION for argument in arguments)
    try:
        if not informs:
            check_overrides(arguments)
    except GenuqError as error:
        complain(error)
        sys.exit(2)
    hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    if FAILED:
        sys.exit(1)


def job(config: DictConfig) -> None:
    """One job of the application; an error of the user's ends this job, not the sweep."""
    try:
        execute(config, Path(HydraConfig.get().runtime.output_dir), command_line())
    except GenuqError as error:
        complain(error)
        FAILED.append(str(error))


def execute(config: DictConfig, folder: Path, command: str) -> None:
    """Run the configured stages in `folder`.

    Raises:
        GenuqError: what is wrong with the configuration, the data or an artefact.
    """
    from genuq.stages import pipeline  # imports torch and lightning: after the check of the overrides

    OmegaConf.resolve(config)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(config))
    pipeline.execute(config, folder, command)


def command_line() -> str:
    """What the user typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def complain(error: GenuqError) -> None:
    """The error as a person reads it; the traceback only where GENUQ_TRACEBACK is set."""
    console = Console(stderr=True)
    if os.environ.get("GENUQ_TRACEBACK"):
        console.print_exception()
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)

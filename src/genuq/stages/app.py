"""The command `genuq`: a Hydra application that runs the stages of one run, or of a sweep with -m."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from genuq import files
from genuq.errors import GenuqError
from genuq.stages import configuration, runtime
from genuq.stages.finished import is_finished, stamp_path
from genuq.stages.job import Job
from genuq.stages.overrides import check_overrides, config_directory
from genuq.stages.sweeps import sweep_of

HYDRA_INFORMATION = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-p", "--package", "-i", "--info"}
FAILED: list[str] = []


COMMANDS = {  # modules with main(arguments) -> exit status
    "store": "genuq.stages.store_command",
    "study": "genuq.stages.study",
}


def main() -> None:
    """Entry point: a sub-command; or check the overrides of all jobs, then let Hydra run those not yet finished."""
    runtime.prepare()
    configuration.register()
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        sys.exit(subcommand(arguments[0], arguments[1:]))
    informs = any(argument.split("=")[0] in HYDRA_INFORMATION for argument in arguments)
    try:
        if not informs:
            sweep = sweep_of(arguments)
            if sweep and sweep.is_finished():
                print(f"{sweep.name}: all {len(sweep.jobs or [])} jobs were finished before; nothing to do")
                return
            check_overrides(arguments)
            sys.argv += sweep.arguments(arguments) if sweep else []
    except GenuqError as error:
        complain(error)
        sys.exit(2)
    hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    if FAILED:
        sys.exit(1)


def subcommand(name: str, arguments: list[str]) -> int:
    """Run a sub-command; returns the exit status."""
    try:
        return importlib.import_module(COMMANDS[name]).main(arguments)
    except GenuqError as error:
        complain(error)
        return 2


def job(config: DictConfig) -> None:
    """One job of the application; an error of the user's ends this job, not the sweep."""
    try:
        hydra_config = HydraConfig.get()
        folder, origin = Path(hydra_config.runtime.output_dir), origin_of(hydra_config)
        store = Path(config.store).expanduser().absolute()
        if origin.sweep and is_finished(stamp_path(store, origin.sweep, origin.overrides), store):
            print(f"{origin.name}: finished before")
            return
        execute(config, folder, command_line(), origin)
    except GenuqError as error:
        complain(error)
        FAILED.append(str(error))


def origin_of(hydra_config: HydraConf) -> Job:
    """What Hydra knows of where this job comes from."""
    choices = {key: value for key, value in hydra_config.runtime.choices.items() if "hydra" not in key}
    swept = hydra_config.mode == RunMode.MULTIRUN
    return Job(
        name=hydra_config.job.override_dirname if swept else None,
        sweep=Path(hydra_config.sweep.dir) if swept else None,
        overrides=tuple(hydra_config.overrides.task),
        choices=choices,
    )


def execute(config: DictConfig, folder: Path, command: str, origin: Job | None = None) -> None:
    """Run the configured stages in `folder`.

    Raises:
        GenuqError: what is wrong with the configuration, the data or an artefact.
    """
    from genuq.stages import pipeline  # imports torch and lightning: after the check of the overrides

    OmegaConf.resolve(config)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(config))
    pipeline.execute(config, folder, command, job=origin)


def command_line() -> str:
    """What the user typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def complain(error: GenuqError) -> None:
    """The error as a person reads it; the traceback only where GENUQ_TRACEBACK is set."""
    console = Console(stderr=True)
    if os.environ.get("GENUQ_TRACEBACK"):
        console.print_exception()
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)

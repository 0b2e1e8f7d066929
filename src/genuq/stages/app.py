"""The command `genuq`: a Hydra application that runs the stages of one run, or of a sweep with -m."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from genuq import files
from genuq.errors import GenuqError
from genuq.stages import configuration, help, runtime
from genuq.stages.finished import is_finished, stamp_path
from genuq.stages.job import Job
from genuq.stages.overrides import SEARCH_PATH, check_overrides, config_directory, folders_of
from genuq.stages.search import search_of
from genuq.stages.sweeps import sweep_of

HELP = {"-h", "--help"}
HYDRA_INFORMATION = {"--hydra-help", "--version", "-c", "--cfg", "-p", "--package", "-i", "--info"}
TYPED = "GENUQ_COMMAND"  # variable of the environment with what the user typed, for jobs that a launcher runs elsewhere

COMMANDS = {  # modules with main(arguments) -> exit status
    "store": "genuq.stages.store_command",
    "plan": "genuq.planning.command",
    "study": "genuq.studies.page",
}

configuration.register()  # at once: the process of a launcher imports `job`, then composes its configuration


class JobFailedError(CompactHydraException):
    """How the sweep learns that one of its jobs failed, wherever that ran; the user has been told why."""


def main() -> None:
    """Entry point: a sub-command; or check the overrides of all jobs, then let Hydra run those not yet finished."""
    runtime.prepare()
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        sys.exit(subcommand(arguments[0], arguments[1:]))
    if HELP & set(arguments):
        print(help.text(config_directory()))
        return
    informs = any(argument.split("=")[0] in HYDRA_INFORMATION for argument in arguments)
    search, os.environ[TYPED] = None, command_line()
    try:
        if not informs:
            sweep = sweep_of(arguments)
            if sweep and sweep.is_finished():
                print(f"{sweep.name}: all {len(sweep.jobs or [])} jobs were finished before; nothing to do")
                return
            check_overrides(arguments)
            sys.argv += sweep.arguments(arguments) if sweep else []
            search = search_of(sys.argv[1:])
            if search and search.left() <= 0:
                print(search.result())
                return
            sys.argv += search.arguments() if search else []
    except GenuqError as error:
        complain(error)
        sys.exit(2)
    try:
        with search.reporting() if search else contextlib.nullcontext():
            hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    except (GenuqError, JobFailedError) as error:
        complain(error)
        sys.exit(1)


def subcommand(name: str, arguments: list[str]) -> int:
    """Run a sub-command; returns the exit status."""
    try:
        return importlib.import_module(COMMANDS[name]).main(arguments)
    except GenuqError as error:
        complain(error)
        return 2


def job(config: DictConfig) -> float | None:
    """One job of the application; returns the objective of a search.

    Raises:
        JobFailedError: an error of the user's ended this job; it does not end the sweep.
    """
    runtime.prepare()  # the process of a launcher, too
    hydra_config = HydraConfig.get()
    try:
        return one_job(config, Path(hydra_config.runtime.output_dir), origin_of(hydra_config))
    except GenuqError as error:
        complain(error)
        if hydra_config.mode != RunMode.MULTIRUN:
            sys.exit(1)
        raise JobFailedError("Not all jobs could be finished; see the errors above.") from error


def one_job(config: DictConfig, folder: Path, origin: Job) -> float | None:
    """Run a job, unless it was finished before; returns its objective."""
    store = Path(config.store).expanduser().absolute()
    if origin.sweep and is_finished(stamp_path(store, origin.sweep, origin.overrides, origin.options), store):
        print(f"{origin.name}: finished before")
    else:
        execute(config, folder, command_line(), origin)
    from genuq.stages.objective import value_of  # after the check of the overrides, as in `execute`

    return value_of(config, folder)


def origin_of(hydra_config: HydraConf) -> Job:
    """What Hydra knows of where this job comes from."""
    choices = {key: value for key, value in hydra_config.runtime.choices.items() if "hydra" not in key}
    swept = hydra_config.mode == RunMode.MULTIRUN
    return Job(
        name=hydra_config.job.override_dirname if swept else None,
        sweep=Path(hydra_config.sweep.dir) if swept else None,
        overrides=tuple(hydra_config.overrides.task),
        choices=choices,
        options=user_folders(hydra_config),
    )


def user_folders(hydra_config: HydraConf) -> tuple[Path, ...]:
    """Folders of the user's own option files, in the order in which Hydra searches them."""
    entries = hydra_config.runtime.config_sources
    own = [entry for entry in entries if entry.provider.startswith(("command-line", SEARCH_PATH))]
    return folders_of(f"{entry.schema}://{entry.path}" for entry in own)


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
    if TYPED in os.environ:
        return os.environ[TYPED]
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def complain(error: Exception) -> None:
    """The error as a person reads it; the traceback only where GENUQ_TRACEBACK is set."""
    console = Console(stderr=True)
    if os.environ.get("GENUQ_TRACEBACK"):
        console.print_exception()
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)

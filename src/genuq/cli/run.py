"""`genuq run`, or `genuq` alone: a Hydra application that runs the stages of one run, or of a sweep with -m."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import genuq
from genuq import files, machine
from genuq.cli import help
from genuq.cli.commands import COMMANDS
from genuq.cli.console import complain
from genuq.config import schemas
from genuq.config.compose import check_overrides, config_directory, prepared, require_one_job
from genuq.config.finished import is_finished, stamp_path
from genuq.config.job import Job, without_none
from genuq.config.own_options import SEARCH_PATH, folders_of, searched, with_folders
from genuq.config.plugged import settle
from genuq.config.scales import shrunk
from genuq.config.search import search_of
from genuq.config.sweeps import FLAGS, sweep_of
from genuq.errors import ConfigurationError, GenuqError, did_you_mean
from genuq.store.remote import store_folder

FAILED = 1  # exit status where a job failed
TYPED = "GENUQ_COMMAND"  # variable of the environment with what the user typed, for jobs that a launcher runs elsewhere
LINE = "COMP_LINE"  # variable of the environment with what is to be completed, of which Hydra knows no sub-command
MULTIRUN = "hydra.mode=MULTIRUN"  # Hydra's other way to say -m

schemas.accept_plugins()  # in the process of a launcher, too, which imports `job`; the rest comes with Hydra's state


class JobFailedError(CompactHydraException):
    """How the sweep learns that one of its jobs failed, wherever that ran; the user has been told why."""


def main(arguments: Sequence[str]) -> int:
    """Check the overrides of all jobs, then let Hydra run those not yet finished; returns the exit status.

    Raises:
        GenuqError: overrides that cannot be; no job has started.
    """
    chosen = parser().parse_intermixed_args(arguments)
    os.environ[TYPED] = command_line()
    if chosen.version:
        print(f"genuq {genuq.__version__}")
        return 0
    if chosen.shell_completion:
        schemas.register()
        os.environ[LINE] = re.sub(r"^(\S+\s+)(run|plan)\s", r"\1", os.environ.get(LINE, ""))
        return hand_to_hydra([*flags_of(chosen), *chosen.overrides])
    refuse_flags(chosen)
    if chosen.help:
        print(help.text(searched(with_folders(chosen.overrides, chosen.config_dir), config_directory())))
        return 0
    schemas.register()  # the process of a launcher gets them, with the rest of Hydra's state, from this one
    overrides = prepared(chosen.overrides, chosen.config_dir)
    informs = chosen.hydra_help or chosen.cfg or chosen.info
    return hand_to_hydra([*flags_of(chosen), *overrides]) if informs else start(overrides, chosen.multirun)


def start(overrides: list[str], multirun: bool) -> int:
    """Run one job or, with -m, many; returns the exit status."""
    multirun = multirun or MULTIRUN in overrides
    flags = [FLAGS[0]] if multirun else []
    require_overrides(overrides)
    if not multirun:
        require_one_job(overrides)
    sweep = sweep_of([*flags, *overrides])
    if sweep and sweep.is_finished():
        print(f"{sweep.name}: all {len(sweep.jobs or [])} jobs were finished before; nothing to do")
        return 0
    check_overrides(overrides)
    arguments = [*flags, *overrides, *(sweep.arguments(overrides) if sweep else [])]
    search = search_of(arguments)
    if search is None:
        return hand_to_hydra(arguments)
    if search.left() <= 0:
        print(search.result())
        return 0
    return hand_to_hydra(arguments, search.reporting())


def hand_to_hydra(arguments: Sequence[str], around: contextlib.AbstractContextManager[None] | None = None) -> int:
    """Let Hydra do what the arguments say; it reads them from `sys.argv`, and ends the process where it fails itself.

    Args:
        around: entered for as long as that takes.
    """
    sys.argv[1:] = arguments
    try:
        with around or contextlib.nullcontext():
            hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    except (GenuqError, JobFailedError) as error:
        complain(error)
        return FAILED
    return 0


# What was typed


def parser() -> argparse.ArgumentParser:
    """Hydra's flags, and overrides before, between and after them."""
    whole = argparse.ArgumentParser("genuq", usage="genuq [run] [-m] [--config-dir DIR] [overrides]", add_help=False)
    whole.add_argument("overrides", nargs="*")
    for short, long in (("-h", "--help"), ("-m", "--multirun"), ("-r", "--run"), ("-sc", "--shell-completion")):
        whole.add_argument(short, long, action="store_true")
    for flag in ("--hydra-help", "--version", "--resolve"):
        whole.add_argument(flag, action="store_true")
    whole.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    whole.add_argument("-p", "--package")
    whole.add_argument("-i", "--info", nargs="?", const="all")
    whole.add_argument("-cd", "--config-dir", action="append", default=[])
    whole.add_argument("-cp", "--config-path")
    whole.add_argument("-cn", "--config-name")
    whole.add_argument("--experimental-rerun")
    return whole


def flags_of(chosen: argparse.Namespace) -> list[str]:
    """Hydra's flags among what was typed, but for those of a search path: `prepared` makes an override of them."""
    values = {f"--{name}": getattr(chosen, name) for name in ("cfg", "package", "info")}
    switches = {"-m": chosen.multirun, "-r": chosen.run, "-sc": chosen.shell_completion}
    switches |= {"--hydra-help": chosen.hydra_help, "--resolve": chosen.resolve}
    given = [text for flag, value in values.items() if value is not None for text in (flag, value)]
    return [*given, *(flag for flag, is_set in switches.items() if is_set)]


def refuse_flags(chosen: argparse.Namespace) -> None:
    """Raise ConfigurationError for flags of Hydra's that genuq cannot follow."""
    for flag, value in (("--config-path", chosen.config_path), ("--config-name", chosen.config_name)):
        if value is not None:
            raise ConfigurationError(
                f"{flag} {value}: genuq starts from its own configuration. Write DIR/experiment/NAME.yaml, and type "
                "--config-dir DIR experiment=NAME."
            )
    if chosen.experimental_rerun is not None:
        raise ConfigurationError(
            "--experimental-rerun reads a pickled file, which genuq never does. Type the command again: what is done "
            "is not done again."
        )


def require_overrides(overrides: Sequence[str]) -> None:
    """Raise ConfigurationError for a word that is neither a command nor an override."""
    for text in overrides:
        if "=" not in text and not text.startswith("~"):
            raise ConfigurationError(
                f"'{text}' is neither a command nor an override, which looks like group=option or group.key=value."
                f"{did_you_mean(text, COMMANDS)}"
            )


def command_line() -> str:
    """What the user typed."""
    if TYPED in os.environ:
        return os.environ[TYPED]
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


# A job


def job(config: DictConfig) -> float | None:
    """One job of the application; returns the objective of a search.

    Raises:
        JobFailedError: an error of the user's ended this job; it does not end the sweep.
    """
    machine.prepare()  # the process of a launcher, too
    hydra_config = HydraConfig.get()
    try:
        return one_job(config, Path(hydra_config.runtime.output_dir), origin_of(hydra_config))
    except GenuqError as error:
        complain(error)
        if hydra_config.mode != RunMode.MULTIRUN:
            sys.exit(FAILED)
        raise JobFailedError("Not all jobs could be finished; see the errors above.") from error


def one_job(config: DictConfig, folder: Path, origin: Job) -> float | None:
    """Run a job, unless it was finished before; returns its objective."""
    store = store_folder(config.store)
    if origin.sweep and is_finished(stamp_path(store, origin.sweep, origin.overrides, origin.options), store):
        print(f"{origin.name}: finished before")
    else:
        run_job(config, folder, command_line(), origin)
    from genuq.pipeline.objective import value_of  # after the check of the overrides, as in `run_job`

    return value_of(config, folder)


def origin_of(hydra_config: HydraConf) -> Job:
    """What Hydra knows of where this job comes from."""
    swept = hydra_config.mode == RunMode.MULTIRUN
    return Job(
        name=hydra_config.job.override_dirname if swept else None,
        sweep=Path(hydra_config.sweep.dir) if swept else None,
        overrides=tuple(hydra_config.overrides.task),
        choices=without_none(hydra_config.runtime.choices),
        options=own_folders(hydra_config),
    )


def own_folders(hydra_config: HydraConf) -> tuple[Path, ...]:
    """Folders of the user's own option files, in the order in which Hydra searches them."""
    entries = [entry for entry in hydra_config.runtime.config_sources if entry.provider.startswith(SEARCH_PATH)]
    return folders_of(f"{entry.schema}://{entry.path}" for entry in entries)


def run_job(config: DictConfig, folder: Path, command: str, origin: Job | None = None) -> None:
    """Run the configured stages in `folder`.

    Raises:
        GenuqError: what is wrong with the configuration, the data or an artefact.
    """
    from genuq.pipeline import execute as pipeline  # imports torch and lightning: after the check of the overrides
    from genuq.tracking.loggers import Loggers

    OmegaConf.resolve(shrunk(settle(config)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / "config.yaml", OmegaConf.to_yaml(config))
    except OSError as error:
        raise ConfigurationError(
            f"name = '{config.name}': the run's folder {folder} cannot be made ({error.strerror}). Give another name, "
            "or start genuq in another folder."
        ) from error
    pipeline.execute(config, folder, command, job=origin, tracker=Loggers())

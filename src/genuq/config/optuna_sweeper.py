"""The trials of an Optuna study as jobs of any of Hydra's launchers.

Trial n of a study is a function of the seed, n and the trials that had ended before it: a search that was interrupted
goes on with the trials that it would have had. A launcher that runs several jobs gets them in batches.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from genuq.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:  # Hydra imports this module in every process
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

SAMPLERS = ("RandomSampler", "TPESampler")  # those that keep no state of their own, so that any trial can be the next
MODULE = "optuna.samplers."


class OptunaSweeper(Sweeper):
    """Asks a study for trials, and tells it the objectives that the jobs return; a job that fails has none.

    Args:
        direction: maximize or minimize.
        n_trials: finished ones, of all commands together.
        n_jobs: trials that are launched together.
        storage: URL of the study's database.
        study_name: name of the study in it.
        sampler: `_target_` of one of `SAMPLERS` and its options.
    """

    def __init__(
        self, direction: str, n_trials: int, n_jobs: int, storage: str, study_name: str, sampler: Mapping[str, Any]
    ) -> None:
        self.n_trials, self.n_jobs, self.sampler = n_trials, n_jobs, sampler
        self.place: dict[str, Any] = {"storage": storage, "study_name": study_name, "direction": direction}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins  # which imports this module

        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run as many trials as the study lacks of `n_trials` finished ones; those that fail are not made up for.

        Raises:
            ConfigurationError: earlier commands searched among other values.
        """
        overrides = OverridesParser.create().parse_overrides(arguments)
        space = {one.get_key_element(): distribution_of(one) for one in overrides if one.is_sweep_override()}
        study = open_study(self.place)
        _require_same_space(study, space)
        for trials in self._batches(study, space):
            jobs = [job_of(overrides, params) for params in trials.values()]
            assert self.launcher is not None
            for number, returned in zip(trials, self.launcher.launch(jobs, initial_job_idx=min(trials))):
                _tell(study, number, returned)

    def _batches(self, study: Study, space: dict[str, BaseDistribution]) -> Iterator[dict[int, dict[str, Any]]]:
        """Numbers and values of the trials that run together; first of those which an earlier command left running."""
        from optuna.trial import TrialState

        left = self.n_trials - len(study.get_trials(states=[TrialState.COMPLETE]))
        interrupted = _interrupted(study, space)
        while left > 0:
            batch = min(left, self.n_jobs)
            asked = dict(interrupted[:batch]) or dict(self._ask(study, space) for _ in range(batch))
            interrupted = interrupted[batch:]
            left -= len(asked)
            yield asked

    def _ask(self, study: Study, space: dict[str, BaseDistribution]) -> tuple[int, dict[str, Any]]:
        """The next trial."""
        study.sampler = sampler_of(self.sampler, len(study.get_trials(deepcopy=False)))
        trial = study.ask(space)
        return trial.number, trial.params


def open_study(place: Mapping[str, Any]) -> Study:
    """The study, with the trials of earlier commands.

    Args:
        place: storage, study_name and direction, as of `OptunaSweeper`.
    Raises:
        ConfigurationError: the study was begun in the other direction, or by an Optuna whose database is another.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url, direction = place["storage"], place["direction"]
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(**place, load_if_exists=True)
    except RuntimeError as error:
        raise ConfigurationError(
            f"hydra.sweeper.storage={url} was written by another Optuna than {optuna.__version__}. Move it away to "
            f"search anew (finished runs are not made again), or try: optuna storage upgrade --storage {url}"
        ) from error
    if study.direction.name.lower() != direction:
        raise ConfigurationError(
            f"hydra.sweeper.direction={direction}: this search was begun with {study.direction.name.lower()}. "
            "Give it another hydra.sweeper.study_name."
        )
    return study


def sampler_of(options: Mapping[str, Any], number: int) -> BaseSampler:
    """The sampler of one trial.

    Args:
        options: `_target_`, and the arguments of that sampler; its seed may be null.
        number: of the trial, with which the seed is mixed.
    Raises:
        ConfigurationError: no sampler of `SAMPLERS`, or an option that it does not have.
    """
    import numpy as np
    import optuna

    target, given = options["_target_"], {key: value for key, value in options.items() if key != "_target_"}
    name = target.removeprefix(MODULE)
    if name not in SAMPLERS:
        raise ConfigurationError(
            f"hydra.sweeper.sampler._target_={target} is no sampler that a search can go on with."
            f"{did_you_mean(target, [MODULE + known for known in SAMPLERS])}"
        )
    if given.get("seed") is not None:
        given["seed"] = int(np.random.SeedSequence([given["seed"], number]).generate_state(1)[0])
    try:
        return getattr(optuna.samplers, name)(**given)
    except TypeError as error:
        raise ConfigurationError(f"hydra.sweeper.sampler: {error}.") from error


def distribution_of(override: Override) -> BaseDistribution:
    """Where a key's values lie: choices have no order, ranges and intervals have; tag(log, interval(...)) is of its
    logarithm, int(interval(...)) of whole numbers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    swept: Any = override.value()
    if override.is_interval_sweep():
        whole = isinstance(swept.start, int) and isinstance(swept.end, int)
        kind: Any = IntDistribution if whole else FloatDistribution
        return kind(swept.start, swept.end, log="log" in swept.tags)
    if getattr(swept, "shuffle", False):  # at random each time, and a study's choices are always the same
        return CategoricalDistribution(sorted(override.sweep_string_iterator()))
    if not override.is_range_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    values = sorted(swept.range())
    kind = IntDistribution if isinstance(values[0], int) else FloatDistribution
    return kind(values[0], values[-1], step=abs(swept.step))


def job_of(overrides: Sequence[Override], params: Mapping[str, Any]) -> tuple[str, ...]:
    """The overrides of one trial, in the order of the command."""
    keys = [override.get_key_element() for override in overrides]
    return tuple(
        f"{key}={_text(params[key])}" if key in params else str(override.input_line)
        for key, override in zip(keys, overrides)
    )


def _text(value: Any) -> str:
    """A value as it is typed: 0.3 also where steps of 0.1 add up to 0.30000000000000004."""
    return str(float(f"{value:.15g}")) if isinstance(value, float) else str(value)


def _interrupted(study: Study, space: dict[str, BaseDistribution]) -> list[tuple[int, dict[str, Any]]]:
    """Trials that an earlier command began; one that was not yet given all its values ends here."""
    from optuna.trial import TrialState

    begun = study.get_trials(states=[TrialState.RUNNING])
    for trial in begun:
        if trial.distributions != space:
            study.tell(trial.number, state=TrialState.FAIL)
    return [(trial.number, trial.params) for trial in begun if trial.distributions == space]


def _tell(study: Study, number: int, returned: JobReturn) -> None:
    """Give a trial the objective that its job returned; a job that raised, or whose objective is not finite, has none.

    What another command that is searching, too, has told of this trial stands.
    """
    from optuna.trial import TrialState

    value = _objective(returned)
    if math.isfinite(value):
        study.tell(number, value, skip_if_finished=True)
    else:
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def _objective(returned: JobReturn) -> float:
    """What a job returned; NaN where it raised, with the traceback of what the job has not told the user itself."""
    try:
        return float(returned.return_value)  # Hydra says which job it was that raised
    except CompactHydraException:
        return math.nan
    except Exception:  # the search goes on
        logging.getLogger(__name__).exception("A trial failed.")
        return math.nan


def _require_same_space(study: Study, space: dict[str, BaseDistribution]) -> None:
    from optuna.trial import TrialState

    for trial in study.get_trials(states=[TrialState.COMPLETE]):
        before = trial.distributions
        for key in before.keys() | space.keys():
            if before.get(key) != space.get(key):
                raise ConfigurationError(
                    f"{key}: the trials of this search before chose among other values. Go on with those, or give the "
                    "new search a name of its own: hydra.sweeper.study_name=..., or study=..."
                )

"""A search for the best objective by Optuna: what is left of it to do, and what it found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.utils import env_override
from omegaconf import OmegaConf

from genuq.config.compose import SEARCH, config_directory, tried
from genuq.config.optuna_sweeper import open_study, sampler_of
from genuq.errors import ConfigurationError, SearchError


@dataclass(frozen=True)
class Search:
    """The configured search.

    Attributes:
        objective: name of the number.
        sweeper: Hydra's configuration of it.
    """

    objective: str
    sweeper: dict[str, Any]

    def study(self) -> Any:
        """Optuna's study, with the trials of earlier commands."""
        return open_study({key: self.sweeper[key] for key in ("storage", "study_name", "direction")})

    def trials(self, state: str) -> list[Any]:
        return [trial for trial in self.study().trials if trial.state.name == state]

    def left(self) -> int:
        """How many trials are still to be finished."""
        return self.sweeper["n_trials"] - len(self.trials("COMPLETE"))

    def result(self) -> str:
        """What was found, in one line."""
        best, failed = self.study().best_trial, len(self.trials("FAIL"))
        where = ", ".join(f"{key}={value}" for key, value in best.params.items())
        lost = f"; {failed} failed" if failed else ""
        return f"best {self.objective} {best.value:.6g} with {where} ({len(self.trials('COMPLETE'))} trials{lost})"

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Print the result afterwards.

        Raises:
            SearchError: no trial was finished.
        """
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # or Hydra would print the traceback itself
            yield
        if not self.trials("COMPLETE"):
            raise SearchError(f"none of the {len(self.trials('FAIL'))} trials could be finished.")
        print(self.result())


def search_of(arguments: Sequence[str]) -> Search | None:
    """The search that the arguments ask for, if any.

    Raises:
        ConfigurationError: no objective is given, or a sampler that cannot be.
    """
    texts = [argument for argument in arguments if not argument.startswith("-")]
    if SEARCH not in texts or len(texts) == len(arguments):
        return None
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        config = compose("config", overrides=list(next(iter(tried(texts)))), return_hydra_config=True)
    if config.objective is None:
        raise ConfigurationError(
            f"{SEARCH} searches for the best objective: add objective=entropy/auroc, for instance."
        )
    sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    sampler_of(sweeper["sampler"], 0)
    return Search(config.objective, sweeper)

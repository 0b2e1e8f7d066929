"""The register of applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genuq.applications.finished_run import FinishedRun, Made, Sampling, UnsampledRun
from genuq.errors import ConfigurationError
from genuq.parts import Part, Register, options_of


@dataclass(frozen=True, kw_only=True)
class ApplicationPart(Part):
    """What one does with the uncertainty, beside its control.

    Its target is called with (a `FinishedRun`, the settings) and returns an `Outcome` and the examples that a report
    shows: `index` (E,), `before`, `after`, `control`, see `FinishedRun.examples`.

    Attributes:
        settings: a dataclass whose fields are the application's options; it refuses values that cannot work.
        control: what it is compared with, in words.
        make_samples: called with (settings, a `Sampling`, indices of samples), makes the new samples: all that the
            application evaluates of the network is evaluated here, so that a plan counts it. None: it evaluates none.
        check: called with (settings, a `UnsampledRun`) before any long work; refuses what cannot work.
        resamples: which of the curves' settings it reads of a `FinishedRun`: `half_samples`, `random_repeats`.
    """

    group: str = "application"
    settings: Any
    control: str
    make_samples: Callable[[Any, Sampling, list[int]], Any] | None = None
    check: Callable[[Any, UnsampledRun], None] | None = None
    resamples: tuple[str, ...] = ("half_samples", "random_repeats")

    @property
    def options(self) -> type:
        return options_of(self.settings)

    def settings_of(self, given: Mapping[str, Any]) -> Any:
        """The settings of a configuration's values by name.

        Raises:
            ConfigurationError: an option that it has not, or a value that cannot work.
        """
        return Part(group=self.group, name=self.name, target=self.settings).make(**given)

    def run(self, finished: FinishedRun, settings: Any) -> Made:
        """Do it.

        Raises:
            ConfigurationError: what it returns is no outcome with examples.
        """
        made = self.resolve()(finished, settings)
        if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], dict) and "index" in made[1]):
            raise ConfigurationError(f"{self._whence} must return an Outcome and a dictionary of examples.")
        return made


APPLICATIONS = Register(ApplicationPart, "genuq.applications", "application.name")

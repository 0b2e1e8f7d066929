"""A scheduler as diffusers has them as a solver: its steps, its spacing and its times are those of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.processes import (
    Exploding,
    Predicted,
    Prediction,
    Process,
    ScheduledFlow,
    between,
    edm,
    process_of,
    require_prediction,
    target_coefficients,
)
from genuq.processes.prediction import EDM_DATA
from genuq.processes.scheduled import Scheduled, Settings, noised, prepared, require_same_path
from genuq.solvers.affine import AffineStage, Solver
from genuq.solvers.grids import UNIFORM, Spacing, spacing_name
from genuq.solvers.probing import NotAffineError, Probed, Row, probe

_ON_PATH = 1e-4  # how far a state's (alpha, sigma) may lie from the path and still be on it
_SAME_TIME = 1e-6  # of grid times that are one
_THEIR_NAMES = {"flow_prediction": "flow"}
_SIGNS = {"epsilon": 1.0, "v_prediction": -1.0}  # of F, in the words of schedulers of EDM
_CLIPPERS = ("clip_sample", "thresholding")  # looked at first where steps are not affine


class SchedulerSolver(Solver):
    """The steps of a scheduler, read off it: samples are those of the pipeline it belongs to, for the same noise.

    Args:
        scheduler: of diffusers', or one like it; it is copied and stays as it is.
        settings: of `set_timesteps` for a number of steps, beside it, as the pipeline gives them:
            `lambda steps: {"mu": 1.15}`.
        options: of `step`, as the pipeline gives them: `{"eta": 0.0}`.
        directly: sample by the scheduler itself, for one whose steps are not affine. What needs no affine step remains:
            samples of the weights and of their draws, and all scores of finished samples.
        rounds: keep states and guidance in the precision of the network, as most pipelines in half precision do;
            only directly.
        states: with `rounds`; False: keep what the network answers and its guidance in it, states not.

    Attributes:
        process: that the scheduler's networks were trained on.

    Raises:
        ConfigurationError: no scheduler, one of an unknown path, or rounding that is not asked for directly.
    """

    def __init__(
        self,
        scheduler: Any,
        settings: Settings | None = None,
        options: Mapping[str, Any] | None = None,
        directly: bool = False,
        rounds: bool = False,
        states: bool = True,
    ) -> None:
        if rounds and not directly:
            raise ConfigurationError(
                "sampler.rounds = true rounds states as the pipeline does, which no affine step can: set "
                "sampler.directly=true too."
            )
        self.rounds, self.rounds_states = rounds, rounds and states
        self.scheduler, self.settings, self.options = scheduler, settings, dict(options or {})
        self.directly, self.name = directly, type(scheduler).__name__
        self.process = process_of(scheduler, settings)
        self.order = int(getattr(scheduler.config, "solver_order", getattr(scheduler, "order", 1)))
        self.prediction = _prediction_of(scheduler, self.process)
        self._probes: dict[tuple[int, int], Probed] = {}
        self._stages: dict[tuple[Process, Prediction, int], list[AffineStage]] = {}

    def sampling_stages(
        self, process: Process, prediction: Predicted, steps: int, spacing: Spacing = UNIFORM
    ) -> list[AffineStage]:
        """Stages of a whole sampling run on the scheduler's own grid.

        Raises:
            ConfigurationError: steps that the scheduler does not take, a spacing that is not its own, a model of
                another process, or steps that are not affine.
        """
        if steps < 1:
            raise ConfigurationError(f"sampler.steps = {steps}; at least 1 is needed.")
        self.require_own_spacing(spacing)
        if self.directly:
            raise ConfigurationError(
                f"{self.name} samples directly: it has no affine stages, which propagators, scores of the path, "
                "applications that change it, and cuts need. Take scores of weight draws or of finished samples. "
                f"{self.why_not_affine(steps) or ''}".rstrip()
            )
        key = (process, require_prediction(prediction), steps)
        if key not in self._stages:
            require_same_path(self.scheduler, self.process, process)
            self._stages[key] = self._made(process, key[1], steps)
        return list(self._stages[key])

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        """Stages of the rest of a grid that `sampling_stages` has made, anew from its first time.

        Raises:
            ConfigurationError: other times.
        """
        known = [key for key in self._stages if key[:2] == (process, require_prediction(prediction))]
        for _, wanted, steps in known:
            grid = self._stages[process, wanted, steps]
            for first in range(len(grid)):
                ends = [grid[first].t, *(stage.t_next for stage in grid[first:] if not stage.intermediate)]
                if ends == list(times):
                    return self._made(process, wanted, steps, first)
        raise ConfigurationError(
            f"{self.name} knows its own times only, and {times[0]:g} to {times[-1]:g} in {len(times) - 1} steps are no "
            "end of a grid of its. Choose a time of its grid (genuq.models.grid_times)."
        )

    def evaluations(self, process: Process, prediction: Predicted, steps: int, spacing: Spacing = UNIFORM) -> int:
        return len(self.prepared(steps).timesteps)

    def prepared(self, steps: int, first: int = 0) -> Any:
        """A copy of the scheduler on its grid, which begins with the stage `first`."""
        made = prepared(self.scheduler, steps, self.settings)
        if first and hasattr(made, "set_begin_index"):
            made.set_begin_index(first)
        return made

    def why_not_affine(self, steps: int) -> str | None:
        """In words, with the setting at fault and the remedy, why its steps are not affine; None: they are."""
        try:
            self._probed(steps, 0)
        except NotAffineError as found:
            return self._not_affine(str(found), steps, 0)
        return None

    def require_own_spacing(self, spacing: Spacing) -> None:
        """Raise ConfigurationError for a spacing other than the scheduler's."""
        if spacing != UNIFORM:
            raise ConfigurationError(
                f"sampler.spacing = '{spacing_name(spacing)}', but {self.name} has a spacing of its own: leave it out, "
                "and set timestep_spacing or use_karras_sigmas in the scheduler's configuration."
            )

    def network_time(self, process: Process, told: float) -> float:
        """What a model of this process is told where the scheduler says `told`."""
        return told if isinstance(process, Scheduled) else float(self.process.time_of(told))

    def _made(self, process: Process, prediction: Prediction, steps: int, first: int = 0) -> list[AffineStage]:
        try:
            probed = self._probed(steps, first)
        except NotAffineError as found:
            raise ConfigurationError(self._not_affine(str(found), steps, first)) from found
        times = self._times(process, probed, steps, first)
        rows = self._of_prediction(process, prediction, probed.rows, times)
        stages = []
        for place, row in enumerate(rows):
            here, there = times[place], times[place + 1]
            last = place == len(rows) - 1
            again = not last and abs(times[place + 2] - there) < _SAME_TIME  # the next stage leads to this time too
            told = self.network_time(process, probed.times[place])
            stages.append(
                AffineStage(
                    here,
                    there,
                    row.x,
                    row.f,
                    row.noise,
                    intermediate=not last and (again or probed.auxiliary[place]),
                    network_time=None if told == here else told,
                    start=probed.start if place == first == 0 else None,
                )
            )
        return stages

    def _probed(self, steps: int, first: int) -> Probed:
        """Raises NotAffineError."""
        if (steps, first) not in self._probes:
            self._probes[steps, first] = probe(lambda: self.prepared(steps, first), first, self.options)
        return self._probes[steps, first]

    def _times(self, process: Process, probed: Probed, steps: int, first: int) -> list[float]:
        """The time of each state, and of the result: where on the path the scheduler takes it to be.

        That is where its `add_noise` leads. The auxiliary states of a second-order scheduler, of which `add_noise`
        knows nothing, and the result are where a network without error would have them; and if that is beside the path
        (a variance that is not that of the path), at what the network is told.
        """
        grid = self.prepared(steps)
        stages, second = range(first, first + len(probed.rows)), getattr(grid, "order", 1) > 1
        mixed = [
            (scale * alpha, scale * sigma)
            for scale, (alpha, sigma) in zip(probed.scales, noised(grid, [first] if second else stages))
        ]
        perfect = perfect_states(probed.rows, self.prediction, self.process, mixed)
        near = [*self.process.time_of(torch.tensor(probed.times, dtype=torch.float64)).tolist(), 0.0]
        return _times_on(process, torch.tensor(perfect, dtype=torch.float64), near)

    def _of_prediction(
        self, process: Process, prediction: Prediction, rows: Sequence[Row], times: Sequence[float]
    ) -> list[Row]:
        """The rows for a network that predicts something else than the scheduler takes."""
        if prediction == self.prediction:
            return list(rows)
        pairs = [
            (float(on_x), float(on_f))
            for on_x, on_f in (between(prediction, self.prediction, process, time) for time in times[:-1])
        ]
        return [_converted(row, pairs[: place + 1][::-1]) for place, row in enumerate(rows)]

    def _not_affine(self, where: str, steps: int, first: int) -> str:
        """What is said of steps that are not affine: which setting makes them so, and the remedy."""
        culprit = self._culprit(steps, first)
        what = f"{self.name} is not affine in the network's predictions with sampler.steps = {steps}: {where}"
        keep = (
            "or sample by the scheduler itself, SchedulerSolver(scheduler, directly=True), sampler.directly=true: "
            "propagators and scores of the path are then out of reach, those of draws and of finished samples remain."
        )
        if culprit is None:
            return f"{what}. Choose another scheduler, {keep}"
        off = f"model.scheduler.{culprit}=false or {self.name}.from_config(scheduler.config, {culprit}=False)"
        return f"{what}, because of its setting {culprit} = True. Set it to false where images allow, {off}; {keep}"

    def _culprit(self, steps: int, first: int) -> str | None:
        """The setting without which the steps would be affine."""
        settings = dict(self.scheduler.config)
        chosen = [name for name, value in settings.items() if value is True]
        for name in sorted(chosen, key=lambda name: name not in _CLIPPERS):
            other = type(self.scheduler).from_config(self.scheduler.config, **{name: False})
            try:
                probe(lambda other=other: prepared(other, steps, self.settings), first, self.options)  # type: ignore[misc]
            except (NotAffineError, ConfigurationError):
                continue
            return name
        return None


def _prediction_of(scheduler: Any, process: Process) -> Prediction:
    """What the scheduler takes its predictions for; those of flow matching need not say it."""
    usual = "flow" if isinstance(process, ScheduledFlow) else "epsilon"
    named = str(getattr(scheduler.config, "prediction_type", usual))
    if isinstance(process, Exploding) and named in _SIGNS:
        if named == "epsilon" and process.sigma_data == EDM_DATA:
            return require_prediction("edm")
        return edm(process.sigma_data, f"edm of data of {process.sigma_data:g}, {named}", _SIGNS[named])
    try:
        return require_prediction(_THEIR_NAMES.get(named, named))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{type(scheduler).__name__} has prediction_type = '{named}', which genuq does not know."
        ) from error


def perfect_states(
    rows: Sequence[Row], prediction: Prediction, process: Process, known: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """(alpha, sigma) of each state, and of the result, of a network that knows the data and the noise.

    Args:
        known: of the first state, and of those after it that need not be found out.
    """
    states = [torch.zeros(2 + len(rows), dtype=torch.float64) for _ in known]
    for state, pair in zip(states, known):
        state[0], state[1] = pair
    answers: dict[int, Tensor] = {}
    for place in range(len(known) - 1, len(rows)):
        row, following = rows[place], torch.zeros(2 + len(rows), dtype=torch.float64)
        for back, weight in enumerate(row.x):
            following += weight * states[place - back]
        for back, weight in enumerate(row.f):
            if place - back not in answers:
                answers[place - back] = _perfect(states[place - back], prediction, process)
            following += weight * answers[place - back]
        following[2 + place] += row.noise
        states.append(following)
    return [(float(state[0]), float(state[1:].norm())) for state in states]


def _perfect(state: Tensor, prediction: Prediction, process: Process) -> Tensor:
    """What such a network predicts at a state, itself a combination of the data and all noises."""
    alpha, sigma = state[0], state[1:].norm()
    p, q = target_coefficients(prediction, process, process.time_at(_half_log_snr(alpha, sigma)))
    answer = state * (float(q) / float(sigma)) if sigma else torch.zeros_like(state)
    answer[0] = float(p)
    return answer


def _half_log_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    return alpha.clamp(min=0).log() - sigma.log()


def _times_on(process: Process, states: Tensor, near: Sequence[float]) -> list[float]:
    """The times on the path of states (S, 2), each (alpha, sigma); `near` for those that lie at it, or off the path."""
    alpha, sigma = states.unbind(1)
    found = process.time_at(_half_log_snr(alpha, sigma))
    off = (process.alpha(found) - alpha).abs() + (process.sigma(found) - sigma).abs()
    told = torch.tensor(near, dtype=torch.float64)
    return torch.where((found - told).abs().lt(_SAME_TIME) | ~off.lt(_ON_PATH), told, found).tolist()


def _converted(row: Row, pairs: Sequence[tuple[float, float]]) -> Row:
    """A row for f_own with f_scheduler = u x + w f_own, (u, w) newest first."""
    states = [*row.x, *[0.0] * max(0, len(row.f) - len(row.x))]
    answers = []
    for place, (weight, (on_x, on_f)) in enumerate(zip(row.f, pairs)):
        if weight:  # a zero never touches an infinite coefficient
            states[place] += weight * on_x
        answers.append(weight * on_f if weight else 0.0)
    return Row(tuple(states), tuple(answers), row.noise)

"""How long a piece of work takes on this machine: measured on the run's own networks, for seconds in all."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from genuq import posteriors
from genuq.errors import ConfigurationError, GenuqError
from genuq.models import GenerativeModel, VAEAutoencoder
from genuq.pipeline.configured import architecture_of, engine_of, open_model, training_set, untrained_model
from genuq.pipeline.configured_judging import build_likelihood, reference_count
from genuq.pipeline.posteriors import fit_settings, size_from_exact
from genuq.pipeline.run import hardware_of
from genuq.pipeline.sizes import memory
from genuq.pipeline.stages.train import schedule_of
from genuq.planning import footprint
from genuq.planning.costs import fit_evaluations
from genuq.planning.judging import (
    clip_seconds,
    encode_seconds,
    judging_seconds,
    subset_preparation,
    subset_seconds,
    test_seconds,
)
from genuq.planning.measuring import LONGEST, bearable
from genuq.planning.planned import PlannedRun
from genuq.planning.work import Piece, rows_of
from genuq.posteriors import KFACLaplace
from genuq.posteriors.fitting.passes import PassRunner
from genuq.randomness import isolated
from genuq.training.modules import AutoencoderTraining, ClassifierTraining, GenerativeTraining, Training
from genuq.training.trainer import complete

BUDGET = 20.0  # seconds of all measurements
STEPS = 6  # of a training, of which the first two warm up
BACKWARD, STEP = 1.2, 3.5  # over a forward pass: of a pass back to the input, of a training step; where not measured
CUBE = 2e-9  # seconds that an eigendecomposition takes for each cubed row of a matrix, where not measured
SHARE, LARGEST = 0.4, 2**29  # of the free memory, and bytes on a CPU, that random weights may take for a measurement
META = torch.device("meta")


@dataclass
class Calibration:
    """Seconds of pieces of work, each kind measured once, on one device; several GPUs share the work evenly.

    Attributes:
        say: told what is being measured.
        spent: seconds so far; beyond the budget times are derived from the forward pass, or unknown.
        failures: why something could not be measured.
    """

    say: Callable[[str], None] = lambda text: None
    spent: float = 0.0
    known: dict[str, float | None] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def seconds(self, run: PlannedRun, piece: Piece) -> float | None:
        """Of the whole piece; None where it cannot be told."""
        if piece.kind == "rule" or not piece.amount:
            return piece.amount
        rate = self._rate(run, piece)
        share = run.processes if run.device.type != "cpu" and not piece.kind.startswith("subset") else 1
        return None if rate is None else rate * piece.amount / share

    def forward(self, run: PlannedRun, batch: int) -> float | None:
        """Seconds of a row through the network."""
        return self._rate(run, Piece("forward", 1.0, batch))

    def _rate(self, run: PlannedRun, piece: Piece) -> float | None:
        """Seconds for one unit of a piece."""
        measure, like = MEASURES[piece.kind]
        key = repr((piece.kind, piece.batch, like(run, piece)))
        if key not in self.known:
            self.known[key] = self._measured(run, piece, measure)
        return self.known[key]

    def _measured(self, run: PlannedRun, piece: Piece, measure: Measure) -> float | None:
        if self.spent >= BUDGET:
            return DERIVED[piece.kind](self, run, piece) if piece.kind in DERIVED else None
        self.say(piece.kind)
        started, before = time.perf_counter(), self.spent
        try:
            with isolated():
                found = measure(self, run, piece)
        except (GenuqError, RuntimeError, OSError) as error:  # what the run itself may not meet: untrained weights
            self.failures[piece.kind] = str(error).splitlines()[0]
            found = None
        self.spent = before + time.perf_counter() - started
        if found is None and piece.kind in DERIVED:
            return DERIVED[piece.kind](self, run, piece)
        return found


Measure = Callable[[Calibration, PlannedRun, Piece], "float | None"]


# The network


def measurable(run: PlannedRun) -> GenerativeModel:
    """The run's model before any training; of one that was opened without weights a copy with random ones.

    Raises:
        ConfigurationError: that is too large for it.
    """
    model = untrained_model(run)
    if model.device != META:
        return model
    return run.memory(["filled", run.network_like()], lambda: filled(model, run.device))


def filled(model: GenerativeModel, device: torch.device) -> GenerativeModel:
    """A copy of a model without numbers, with small random weights and rows of zeros."""
    held, room = sum(weight.numel() * weight.element_size() for weight in model.parameters()), memory_of(device)
    if held > SHARE * room or (device.type == "cpu" and held > LARGEST):
        raise ConfigurationError(
            f"{held / 1e9:.1f} GB of weights are too many to be tried on this machine: name the card, --card h200"
        )
    made = copy.deepcopy(model).to_empty(device=device)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0.0, 0.02)
        for buffer in made.buffers():
            buffer.zero_()
    made.conditions = None if made.conditions is None else made.conditions.filled()
    return made


def memory_of(device: torch.device) -> int:
    """Bytes of a device that nobody has taken, or of this machine."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory()


def inputs(model: GenerativeModel, rows: int) -> tuple[Tensor, Tensor, Tensor | None]:
    x = torch.randn(rows, *model.latent_shape, device=model.device)
    classes = torch.zeros(rows, dtype=torch.long, device=model.device) if model.num_classes else None
    return x, torch.full((rows,), 0.5, device=model.device), classes


def forward_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float:
    """In the precision that samples are made in; not compiled, which would take minutes."""
    model = replace(engine_of(run), compile=False).of(measurable(run))

    @torch.no_grad()
    def work(rows: int) -> Tensor:
        return model(*inputs(model, rows))

    return bearable(work, piece.batch)


def backward_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float:
    """A pass back to the input, without the forward pass before it."""

    def work(rows: int) -> Any:
        x, t, y = inputs(measurable(run), rows)
        prediction = measurable(run)(x.requires_grad_(), t, y)
        return torch.autograd.grad(prediction, x, torch.ones_like(prediction))

    forward = calibration.forward(run, piece.batch) or 0.0
    return max(bearable(work, piece.batch) - forward, 0.1 * forward)


def decode_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float:
    @torch.no_grad()
    def work(rows: int) -> Tensor:
        return measurable(run).autoencoder.decode(inputs(measurable(run), rows)[0])

    return bearable(work, piece.batch)


# Trainings


class Stopwatch(Callback):
    """The time at the end of every step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def step_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float | None:
    expected = STEPS * STEP * piece.batch * (calibration.forward(run, piece.batch) or 0.0)
    if expected > LONGEST:
        return None
    return trained(run, GenerativeTraining(copy.deepcopy(measurable(run)), training_set(run), steps_of(run, piece)))


def autoencoder_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float:
    autoencoder = copy.deepcopy(measurable(run).autoencoder)
    assert isinstance(autoencoder, VAEAutoencoder)
    return trained(run, AutoencoderTraining(autoencoder, training_set(run), steps_of(run, piece)))


def judge_step_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float:
    return trained(run, ClassifierTraining(footprint.classifier(run), training_set(run), steps_of(run, piece)))


def steps_of(run: PlannedRun, piece: Piece) -> Any:
    return replace(schedule_of(run).of(STEPS, run.config.seed), batch_size=piece.batch)


def trained(run: PlannedRun, training: Training) -> float:
    """Median seconds of a step, on one device."""
    watch, one = Stopwatch(), replace(hardware_of(run), devices=1, num_nodes=1, strategy="auto")
    complete(training, one, callbacks=[watch])
    return statistics.median(b - a for a, b in zip(watch.ends[1:], watch.ends[2:]))


# Fits


def fit_seconds(calibration: Calibration, run: PlannedRun, piece: Piece) -> float | None:
    """A whole fit, from two short ones: what they have in common, and what each further row costs.

    Where what they have in common takes long, as the decompositions of large layers do, one has to do.
    """
    settings, kind, by_exact = fit_of(run, piece.name)
    each = calibration.forward(run, piece.batch) or 0.0

    def rows(one: posteriors.FitSettings) -> float:
        return rows_of(fit_evaluations(one, kind, by_exact))

    images = min(settings.images, piece.batch, 32)
    while images > 2 and rows(shortened(settings, 2 * images)) * each > LONGEST:
        images //= 2
    short, longer = shortened(settings, images), shortened(settings, 2 * images)
    if rows(longer) * each > LONGEST or decompositions(run, piece.name) > 3 * LONGEST:
        return None
    model = noisy(run)
    seconds, known = timed_fit(model, run, short), rows(short)
    if seconds < LONGEST and rows(longer) > known:
        second = timed_fit(model, run, longer)
        each = max(each, (second - seconds) / (rows(longer) - known))
        seconds, known = second, rows(longer)
    return seconds + max(0.0, rows(settings) - known) * each


def fit_of(run: PlannedRun, name: str) -> tuple[posteriors.FitSettings, str, bool]:
    """(settings of the fit, the kind of posterior, whether the exact one is fitted to lend its size)."""
    entry = run.posteriors()[name]
    settings, by_exact = fit_settings(run, name), size_from_exact(entry)
    return replace(settings, kind="exact_laplace") if by_exact else settings, entry["name"], by_exact


def shortened(settings: posteriors.FitSettings, images: int) -> posteriors.FitSettings:
    return replace(settings, images=min(images, settings.images), held_out=min(images, settings.held_out))


def decompositions(run: PlannedRun, name: str) -> float:
    """Seconds of eigendecompositions of a layer's inputs and outputs, by a rule."""
    settings = fit_settings(run, name)
    if settings.kind != KFACLaplace.kind:
        return 0.0
    held = footprint.empty_tensors(architecture_of(run), settings.kind, settings.options)
    return CUBE * sum(value.shape[0] ** 3 for value in held.values() if value.ndim == 2)


def timed_fit(model: GenerativeModel, run: PlannedRun, settings: posteriors.FitSettings) -> float:
    started = time.perf_counter()
    posteriors.fit_by(PassRunner(model).run, model, training_set(run), settings)
    return time.perf_counter() - started


def noisy(run: PlannedRun) -> GenerativeModel:
    """The run's model; one that is still to be trained with noise in the weights that start at zero."""
    if not run.trains:
        model = open_model(run)
        return measurable(run) if model.device == META else model
    model = copy.deepcopy(measurable(run))
    with torch.no_grad():
        for value in model.network.parameters():
            if not value.any():
                value.normal_(0.0, 0.02)
    return model


def derived_fit(calibration: Calibration, run: PlannedRun, piece: Piece) -> float | None:
    rows = rows_of(fit_evaluations(*fit_of(run, piece.name)))
    forward = calibration.forward(run, piece.batch)
    return None if forward is None else 1.5 * forward * rows + decompositions(run, piece.name)


def _network(run: PlannedRun, piece: Piece) -> Any:
    return run.network_like()


def _trained(run: PlannedRun, piece: Piece) -> Any:
    return run.network_like(sampled=False), run.config.trainer.precision, run.config.trainer.accelerator


def _fitted(run: PlannedRun, piece: Piece) -> Any:
    entry = {key: value for key, value in run.posteriors()[piece.name].items() if key != "draws"}
    return run.network_like(sampled=False), entry, run.plain("data")


def _encoder(run: PlannedRun, piece: Piece) -> Any:
    return training_set(run).shape, build_likelihood(run).name, str(run.device)


def _judge(run: PlannedRun, piece: Piece) -> Any:
    return training_set(run).shape, run.plain("metric")["metric"]["extractor"], footprint.judge_dimension(run)


def _subsets(run: PlannedRun, piece: Piece) -> Any:
    metric = run.config.metric
    evaluated = run.config.sampler.samples, footprint.judge_dimension(run), reference_count(run)
    return *evaluated, metric.k, list(metric.curves), list(metric.fractions)


MEASURES: dict[str, tuple[Measure, Callable[[PlannedRun, Piece], Any]]] = {
    "forward": (forward_seconds, _network),
    "backward": (backward_seconds, _network),
    "decode": (decode_seconds, _network),
    "step": (step_seconds, _trained),
    "autoencoder step": (autoencoder_seconds, _trained),
    "judge step": (judge_step_seconds, _trained),
    "fit": (fit_seconds, _fitted),
    "encode": (encode_seconds, _encoder),
    "judge": (judging_seconds, _judge),
    "clip": (clip_seconds, lambda run, piece: (training_set(run).shape, run.config.metric.prompt_model)),
    "judge test": (test_seconds, lambda run, piece: training_set(run).shape),
    "subset": (subset_seconds, _subsets),
    "subset judge": (subset_preparation, _subsets),
}


def _times_forward(factor: float, per_row: bool) -> Measure:
    def derived(calibration: Calibration, run: PlannedRun, piece: Piece) -> float | None:
        forward = calibration.forward(run, piece.batch)
        return None if forward is None else factor * forward * (1 if per_row else piece.batch)

    return derived


DERIVED: dict[str, Measure] = {  # from the forward pass, where measuring would take too long
    "backward": _times_forward(BACKWARD, per_row=True),
    "step": _times_forward(STEP, per_row=False),
    "fit": derived_fit,
}

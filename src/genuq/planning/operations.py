"""Floating-point operations of pieces of work, counted on torch's meta device, where nothing is computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from genuq.errors import GenuqError
from genuq.models import GenerativeModel
from genuq.pipeline.configured import is_image, training_set, untrained_model
from genuq.pipeline.configured_judging import build_likelihood, prompt_inputs
from genuq.planning.calibration import fit_of
from genuq.planning.costs import fit_evaluations
from genuq.planning.judging import judge_of
from genuq.planning.planned import PlannedRun
from genuq.planning.texts import text_row
from genuq.planning.work import Piece

META = torch.device("meta")


@dataclass
class Operations:
    """Floating-point operations of pieces of work, each kind counted once for each network.

    A multiplication with an addition is two operations; what is no product of matrices, attention or convolution is not
    counted, as torch's own counter has it.

    Attributes:
        say: told what is being counted.
        known: of one row, by what they depend on.
        failures: why something could not be counted.
    """

    say: Callable[[str], None] = lambda text: None
    known: dict[str, float | None] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def of(self, run: PlannedRun, piece: Piece) -> float | None:
        """Of the whole piece; None where they cannot be counted."""
        if piece.kind == "step":
            return _product(self._row(run, "training"), piece.amount * piece.batch)
        if piece.kind == "fit":
            return self._fit(run, piece.name)
        return _product(self._row(run, piece.kind), piece.amount)

    def _fit(self, run: PlannedRun, name: str) -> float | None:
        evaluations = fit_evaluations(*fit_of(run, name)).values()
        forward, backward = (sum(rows[side] for rows in evaluations) for side in (0, 1))
        found = _product(self._row(run, "forward"), forward)
        back = _product(self._row(run, "backward"), backward) if backward else 0.0
        return None if found is None or back is None else found + back

    def _row(self, run: PlannedRun, kind: str) -> float | None:
        key = repr((kind, run.network_like(), run.plain("likelihood", "metric") if kind in SEEING else None))
        if key not in self.known:
            self.say(kind)
            try:
                self.known[key] = float(ROWS[kind](run))
            except (GenuqError, RuntimeError, OSError, TypeError) as error:  # a network that asks for numbers
                self.failures[f"operations of {kind}"] = str(error).splitlines()[0]
                self.known[key] = None
        return self.known[key]


def _product(row: float | None, amount: float) -> float | None:
    return None if row is None else row * amount


def counted(work: Callable[[], object]) -> int:
    """The floating-point operations of a piece of work, by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def without_numbers(model: GenerativeModel) -> GenerativeModel:
    """The model on the meta device; one that is there already is itself."""
    return model if model.device == META else copy.deepcopy(model).to(META)


def prediction(model: GenerativeModel, x: Tensor) -> Tensor:
    """The prediction at one state x (1, *latent_shape) of a model without numbers."""
    classes = torch.zeros(1, dtype=torch.long, device=META) if model.num_classes else None
    return model.predicted(x, torch.full((1,), 0.5, device=META), classes)


def state(model: GenerativeModel) -> Tensor:
    """One state without numbers."""
    return torch.empty(1, *model.latent_shape, device=META)


def forward_row(run: PlannedRun) -> int:
    """Of a forward pass."""
    model = without_numbers(untrained_model(run))
    return counted(torch.no_grad()(lambda: prediction(model, state(model))))


def backward_row(run: PlannedRun) -> int:
    """Of a pass back to the input, without the forward pass before it."""
    model = without_numbers(untrained_model(run))
    x = state(model).requires_grad_()
    with _frozen(model):
        answer = prediction(model, x)
        return counted(lambda: torch.autograd.grad(answer.sum(), x))


def training_row(run: PlannedRun) -> int:
    """Of a step of a training: forwards, and back to all weights."""
    model = copy.deepcopy(without_numbers(untrained_model(run)))
    return counted(lambda: prediction(model.requires_grad_(), state(model)).sum().backward())


def decode_row(run: PlannedRun) -> int:
    """Of the autoencoder's way back to an image."""
    model = without_numbers(untrained_model(run))
    return counted(torch.no_grad()(lambda: model.autoencoder.decode(state(model))))


def encode_row(run: PlannedRun) -> int:
    """Of the likelihood's look at one image, which is made."""
    if not is_image(run):
        return 0
    likelihood, image = build_likelihood(run), torch.zeros(1, *training_set(run).shape)
    return counted(lambda: likelihood.embed(image, batch_size=1, device="cpu"))


def judging_row(run: PlannedRun) -> int:
    """Of the judge's look at one image, which is made."""
    if not is_image(run):
        return 0
    judge, image = judge_of(run), torch.zeros(1, *training_set(run).shape, dtype=torch.uint8)
    return counted(lambda: judge(image, batch_size=1))


def clip_row(run: PlannedRun) -> int:
    """Of the look of metric.prompt_model at one image, which is made."""
    prompts = prompt_inputs(run)
    if prompts is None:
        return 0
    clip, image = prompts.open(), torch.zeros(1, *training_set(run).shape, dtype=torch.uint8)
    return counted(lambda: clip.of_images(image))


class _frozen:
    """No weight of the model wants a gradient inside."""

    def __init__(self, model: GenerativeModel) -> None:
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]

    def __enter__(self) -> None:
        for weight in self.weights:
            weight.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for weight in self.weights:
            weight.requires_grad_(True)


SEEING = ("encode", "judge", "clip")
ROWS: dict[str, Callable[[PlannedRun], int]] = {
    "forward": forward_row,
    "backward": backward_row,
    "training": training_row,
    "decode": decode_row,
    "encode": encode_row,
    "judge": judging_row,
    "clip": clip_row,
    "texts": lambda run: text_row(run, counted),
}
KINDS = {*ROWS, "step", "fit"} - {"training"}  # of pieces whose operations can be counted


def precision_of(run: PlannedRun, kind: str) -> torch.dtype:
    """What a kind of work computes in: encoders and judges in single precision."""
    return torch.float32 if kind in SEEING else next(untrained_model(run).network.parameters()).dtype

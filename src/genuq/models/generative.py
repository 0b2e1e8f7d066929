"""A generative model: any network f(x, t, y), the process it was trained on, and the autoencoder around it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from genuq.data import Dataset, check_first_item
from genuq.errors import ConfigurationError, has_numbers, require_finite
from genuq.models.autoencoder import Autoencoder
from genuq.models.compiled import Compiled, original, require_uncompiled
from genuq.models.conditioning import Conditions
from genuq.models.guidance import CLASSIFIER_FREE, GUIDE, NULL, OWN, Ask, Guidance, by_branches
from genuq.models.head import find_head
from genuq.models.offloaded import execution_device, kept_for_backward, sources
from genuq.models.precision import HalfCall, half_type, halved, with_network
from genuq.processes import Predicted, Process, require_prediction, target
from genuq.processes import build as build_process

Call = Callable[[nn.Module, Tensor, Tensor, Any], Tensor]


def call_plainly(network: nn.Module, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    """network(x, t, y), as genuq's own networks are called."""
    return network(x, t_B, y_B)


class GenerativeModel(nn.Module):
    """What every diffusion, latent diffusion and flow-matching model looks like to the rest of the library.

    Args:
        network: any module; genuq never changes it. Of one that torch.compile gave, the module within it.
        shape: (C, H, W) of an image, or the shape of a point.
        process: a Process, or its name (`flow_matching`, `variance_preserving`).
        prediction: what the network's output means: `epsilon`, `sample`, `v_prediction`, `flow`, `minus_flow`, `edm`,
            or a `Prediction` of your own.
        num_classes: 0 means unconditional. Class `num_classes` is the null class of classifier-free guidance.
        autoencoder: None means the process runs on pixels.
        call: adapter (network, x, t (B,) in [0, 1], y (B,) or None) -> prediction, for a network with another
            call signature. Also the place to drop channels that the sampler discards. With a process that was read off
            a scheduler, t is the network's own time (timesteps 0 to 999, say), float32.
        head: dotted name of the last weighted layer, for the posteriors; None means the last Conv2d or Linear.
        conditions: rows that the network is conditioned on (prompts) in place of classes; `call` gets the rows of a
            batch, by name, where it else gets classes. Their numbers are what genuq calls classes.
        guidance: what a sampler's `guidance_scale` does; None: the model has no null class.
        learns_variance: `call` gives as many channels again behind those of the prediction, which say how much noise a
            step of an ancestral sampler has (`sampler=ddpm_learned`); all else passes them over.

    Attributes:
        asked: classes that samples are of unless a sampler names others, in turn; all.
        apart: the pipeline whose model it is gives each branch of guidance to the network by itself, where texts of
            several lengths are padded, and so rounded, otherwise.
        guide: the model whose network guides this one's (`guided_by`), or None.
        data_classes: how many of the classes, the first ones, are those of training images; all.
        doubt: why the network may not be what minimises the mean squared error, which posteriors take it for: a
            sentence, or None.

    Raises:
        ConfigurationError: unknown prediction or process, a head that does not exist (the candidates are listed), or
            classes beside conditions.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: Sequence[int],
        process: Process | str = "flow_matching",
        prediction: Predicted = "flow",
        num_classes: int = 0,
        autoencoder: Autoencoder | None = None,
        call: Call = call_plainly,
        head: str | None = None,
        conditions: Conditions | None = None,
        guidance: Guidance | None = CLASSIFIER_FREE,
        learns_variance: bool = False,
    ) -> None:
        super().__init__()
        require_prediction(prediction)
        if conditions is not None and num_classes not in (0, len(conditions)):
            raise ConfigurationError(
                f"num_classes = {num_classes} beside {len(conditions)} conditions: leave num_classes out, the "
                "numbers of the conditions are the classes."
            )
        self.network = original(network)
        self.autoencoder = autoencoder if autoencoder is not None else Autoencoder()
        self.shape = tuple(shape)
        self.latent_shape = self.autoencoder.latent_shape(self.shape)
        with evaluating(self.autoencoder):
            self.autoencoder.check(self.shape, self.latent_shape)
        self.process = build_process(process) if isinstance(process, str) else process
        self.prediction, self.num_classes = prediction, num_classes if conditions is None else len(conditions)
        self.conditions = conditions
        self.guidance = None if conditions is not None and not conditions.nulls else guidance
        self.asked: Sequence[int] = range(self.num_classes)
        self.data_classes = self.num_classes
        self.apart = False
        self.doubt: str | None = None
        self.learns_variance = learns_variance
        self.guide: GenerativeModel | None = None
        self._call = call
        self._compiled: Any = None
        self.head_name = find_head(self.network, head)

    @property
    def head(self) -> nn.Module:
        """The last weighted layer of the network."""
        return self.network.get_submodule(self.head_name)

    @property
    def device(self) -> torch.device:
        """Where the network computes; its weights may lie elsewhere between passes."""
        return execution_device(self.network)

    def forward(
        self,
        x: Tensor,
        t_B: Tensor,
        y_B: Tensor | None = None,
        network_time_B: Tensor | None = None,
        whole: bool = False,
    ) -> Tensor:
        """The network's prediction f at states x (B, *latent_shape), times t in [0, 1] and classes y.

        Args:
            network_time_B: what the network is told of the time, where a stage says it; None: what the process says.
            whole: with the channels of a learned variance behind it.

        Raises:
            ConfigurationError: no number of a condition for a model that has conditions, or one beyond them.
        """
        told_B = self.process.network_time(t_B) if network_time_B is None else network_time_B
        shown = self.process.shown(x, told_B)
        conditioning = y_B if self.conditions is None else self._rows(y_B)
        with kept_for_backward(self.network):
            answer = self._call(self._compiled or self.network, shown, told_B, conditioning)
        return answer[:, : x.shape[1]] if self.learns_variance and not whole else answer

    def compile_network(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile the network for passes that nobody watches: samples and their regenerations under weight draws.

        Fits, propagators and whatever else watches layers or takes gradients run it as it is. The first passes take
        long, and numbers change by rounding.

        Args:
            backend: of `torch.compile`.

        Raises:
            ConfigurationError: parts of the network are compiled already.
        """
        require_uncompiled(self.network, "the network")
        self._compiled = Compiled(self.network, backend)

    def for_evaluation(self) -> Self:
        """The same model to be compiled: its network and all else are shared, and it itself goes on as it is."""
        made = with_network(self, self.network)
        made._compiled = None
        return made

    @property
    def followed(self) -> list[Tensor]:
        """Weights of another model that this one's network, in half precision, follows."""
        return [weight for weight, _ in self._call.followed.pairs] if isinstance(self._call, HalfCall) else []

    def half_precision(self, precision: str, drawn: Iterable[Tensor] = (), rounded: Iterable[Tensor] = ()) -> Self:
        """The model with a copy of its network that computes in half precision, for samples and scores.

        States, times and predictions stay float32, as do the head, whose weights are shared with this model, and
        layers whose few numbers may be frequencies. So a posterior over the head that was fitted to this model is one
        of that model too.

        Args:
            precision: `bfloat16` or `float16`.
            drawn: parameters that posteriors draw beside the head's: their layers compute in float32 too.
            rounded: parameters whose draws lie so far apart that they may be rounded, such as those of an ensemble.
                `posteriors.drawn_in` tells the two apart.

        Raises:
            ConfigurationError: another precision, a network that is not in float32, or one that mixes precisions.
        """
        dtype = half_type(precision, self.network)
        network, followed = halved(self.network, self.head_name, dtype, drawn, rounded)
        made = with_network(self, network)
        made._call, made._compiled = HalfCall(self._call, dtype, followed), None
        made._require_a_pass(precision)
        made.guide = None if self.guide is None else self.guide.half_precision(precision)
        return made

    @torch.no_grad()
    def _require_a_pass(self, precision: str) -> None:
        """Refuse a network that mixes precisions, before any long work."""
        x, t_B = torch.zeros(1, *self.latent_shape, device=self.device), torch.full((1,), 0.5, device=self.device)
        y_B = torch.zeros(1, dtype=torch.long, device=self.device) if self.num_classes else None
        try:
            with evaluating(self):
                self(x, t_B, y_B)
        except RuntimeError as error:
            raise ConfigurationError(
                f"sampler.precision = '{precision}': {type(self.network).__name__} cannot compute in it ({error}). Let "
                "it cast what it makes of float32 times to the precision of its weights, or set "
                "sampler.precision=float32."
            ) from error

    def _rows(self, y_B: Tensor | None) -> dict[str, Any]:
        assert self.conditions is not None
        if y_B is None:
            raise ConfigurationError(
                f"the model is conditioned on {len(self.conditions)} prompts: give the number of one for each state."
            )
        return self.conditions.at(y_B)

    def predicted(
        self, x: Tensor, t_B: Tensor, y_B: Tensor | None = None, network_time_B: Tensor | None = None
    ) -> Tensor:
        """The prediction of `forward`, which must be what a process can use.

        Raises:
            ConfigurationError: it is no tensor, or not of the states' shape.
        """
        prediction = self(x, t_B, y_B) if network_time_B is None else self(x, t_B, y_B, network_time_B)
        if not isinstance(prediction, Tensor) or prediction.shape != x.shape:
            raise ConfigurationError(_other_prediction(prediction, x))
        return prediction

    def guided(
        self,
        x: Tensor,
        t_B: Tensor,
        y_B: Tensor | None,
        scale: float,
        network_time_B: Tensor | None = None,
        apart: bool = False,
    ) -> Tensor:
        """The prediction that a sampler of this guidance scale goes on with, all branches in one forward pass.

        Args:
            apart: each branch in a pass of its own.

        Raises:
            ConfigurationError: a scale other than 1 for a model without null class; else see `predicted`.
        """
        return self._asked(self.predicted, x, t_B, y_B, scale, network_time_B, apart)[0]

    def guided_with_variance(
        self, x: Tensor, t_B: Tensor, y_B: Tensor | None, scale: float, network_time_B: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(what `guided` gives, what the network says of the noise of a step), of one forward pass; each of x's shape.

        Guidance moves the prediction alone: the noise is what the network says of the row that was asked for.

        Raises:
            ConfigurationError: the network learns no variance; else see `guided`.
        """
        self.require_learned_variance()
        return self._asked(self._predicted_whole, x, t_B, y_B, scale, network_time_B)

    def _predicted_whole(self, x: Tensor, t_B: Tensor, y_B: Tensor | None, network_time_B: Tensor | None) -> Tensor:
        """The prediction with the channels of the variance behind it."""
        answer = self(x, t_B, y_B, network_time_B, whole=True)
        assert answer.shape == (len(x), 2 * x.shape[1], *x.shape[2:]), "as many channels again"
        return answer

    def _asked(
        self,
        ask: Ask,
        x: Tensor,
        t_B: Tensor,
        y_B: Tensor | None,
        scale: float,
        told_B: Tensor | None,
        apart: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(the guided prediction, what the own branch says behind its own prediction)."""
        if scale == 1.0 or (y_B is None and self.guide is None):
            answer = ask(x, t_B, y_B, told_B)
            return answer[:, : x.shape[1]], answer[:, x.shape[1] :]
        guidance, guide = self.require_guidance(scale), self.guide
        labels = {OWN: y_B, GUIDE: y_B if guide is not None and guide.num_classes else None}
        if NULL in guidance.branches and y_B is not None:
            labels[NULL] = self.null_of(y_B)
        second = None if guide is None else guide.predicted
        return by_branches(guidance, ask, labels, x, t_B, scale, told_B, apart, second)

    def require_learned_variance(self) -> None:
        """Raise ConfigurationError unless the network says how much noise a step has."""
        if not self.learns_variance:
            raise ConfigurationError(
                "sampler=ddpm_learned takes the noise of each step from the network, and "
                f"{type(self.network).__name__} learns no variance: choose sampler=ddpm."
            )

    def branches(self, scale: float) -> int:
        """Rows through the network, and the one that guides, for one sample at a guidance scale."""
        if scale == 1.0 or self.guidance is None or not (self.num_classes or self.guide is not None):
            return 1
        return len(self.guidance.branches)

    @property
    def has_null(self) -> bool:
        """Whether there is a null class, or row."""
        return self.guidance is not None and NULL in self.guidance.branches

    def require_guidance(self, scale: float) -> Guidance:
        """The model's guidance.

        Raises:
            ConfigurationError: it knows no classes, or no null class.
        """
        if not self.num_classes and self.guide is None:
            raise ConfigurationError(f"sampler.guidance_scale = {scale}, but the model knows no classes: set it to 1.")
        if self.guidance is None:
            raise ConfigurationError(
                f"sampler.guidance_scale = {scale}, but the model has no null class: set it to 1, or give it a null "
                "row (a negative prompt)."
            )
        return self.guidance

    def null_of(self, y_B: Tensor) -> Tensor:
        """The null class of each class (B,)."""
        return torch.full_like(y_B, self.num_classes) if self.conditions is None else self.conditions.null_of(y_B)

    def target(self, x0: Tensor, noise: Tensor, t_B: Tensor) -> tuple[Tensor, Tensor]:
        """(x_t, what f should be there) for latents x0 (B, ...), noise and times t (B,)."""
        x_t = self.process.interpolate(x0, noise, t_B)
        return x_t, target(self.prediction, self.process, x0, noise, t_B)

    def check_weights(self) -> None:
        """Raise NonFiniteError naming the first weight that holds NaN or infinity."""
        elsewhere = sources(self)
        for name, tensor in self.state_dict().items():
            value = elsewhere[name].read() if name in elsewhere else tensor
            require_finite(value, f"weight '{name}'", "The checkpoint is broken: train or download it again.")

    def check_data(self, dataset: Dataset) -> None:
        """Whether this can be what the model was trained on.

        Raises:
            ConfigurationError: items of another shape than the model's (grey images for one of colour), other classes.
            DataError: the first item is not what its data set says, or not in the range of images.
        """
        if tuple(dataset.shape) != self.shape:
            raise ConfigurationError(
                f"the model makes samples of shape {self.shape}, but {dataset.name} has {tuple(dataset.shape)}. "
                "Convert the data (channels first, the model's size), or choose another model."
            )
        if self.num_classes and dataset.num_classes != self.data_classes:
            raise ConfigurationError(
                f"the model knows {self.data_classes} classes, but {dataset.name} has {dataset.num_classes}: give one "
                "class name for each that the model knows, in its order."
            )
        check_first_item(dataset)

    def check_classes(self, classes_B: Tensor | Sequence[int]) -> None:
        """Raise ConfigurationError unless every class lies in 0 .. num_classes - 1 (unconditional: none does)."""
        classes = torch.as_tensor(classes_B)
        wrong = classes[(classes < 0) | (classes >= self.num_classes)]
        if len(wrong):
            raise ConfigurationError(
                f"sampler.classes has class {int(wrong[0])}, but the model knows "
                + (f"0 to {self.num_classes - 1}." if self.num_classes else "no classes: leave it null.")
            )


def _other_prediction(prediction: object, x: Tensor) -> str:
    """What is wrong with a prediction that is not of the states' shape."""
    if not isinstance(prediction, Tensor):
        return (
            f"the network gives a {type(prediction).__name__}, not a tensor: let the model's `call` take what is the "
            "prediction (`.sample` of diffusers' networks)."
        )
    return (
        f"the network predicts {tuple(prediction.shape)} for states of {tuple(x.shape)}: a prediction has their shape. "
        "Let the model's `call` drop what the sampler does not use (channels of a learned variance)."
    )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Every part of the model in evaluation mode (no dropout, fixed batch statistics); each gets its own back."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield model.eval()
    finally:
        for part, training in modes:
            part.training = training


def with_filled_head(model: GenerativeModel) -> GenerativeModel:
    """The model; one without numbers as a copy with a head of ones: what is asked of posteriors over a head before
    a run hangs on its shape alone.
    """
    if has_numbers(next(model.head.parameters())):
        return model
    made = copy.deepcopy(model)
    made.head.to_empty(device="cpu").requires_grad_(False)
    for weight in made.head.parameters():
        weight.fill_(1.0)
    return made

"""What the pipelines of one family have in common: how their network is called, and what it is conditioned on.

A family knows nothing of samplers, posteriors or schedulers, and keeps nothing of a pipeline but a few numbers.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import CLASSIFIER_FREE, Guidance, Rows, unpadded
from genuq.models.precision import cast

CLIP_TOKENS = 77  # of a text, unless its configuration says another number


@dataclass(frozen=True)
class Encoded:
    """Prompts as a network wants them.

    Attributes:
        rows: one for each prompt.
        null: of the negative prompt, a row for each prompt or one for all; None: not asked for, or the family has none.
    """

    rows: Rows
    null: Rows | None = None


@dataclass(frozen=True)
class Asked:
    """What a model is made for.

    Attributes:
        shape: (C, H, W) of its images, (C, F, H, W) of its films.
        latent_shape: of its states.
        embedded_guidance: the scale that a guidance-distilled network is told.
        max_sequence_length: of its texts in tokens; None: the pipeline's default.
    """

    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    embedded_guidance: float | None = None
    max_sequence_length: int | None = None


class Family(ABC):
    """How the pipelines of one family call their network. One object belongs to one model.

    Class attributes:
        component: of the pipeline, the network.
        prediction: what the network's output means; None: what the scheduler says.
        guidance: of several branches; None: there is no null class.
        scale: argument of the pipeline that a sampler's `guidance_scale` is.
        prompted: whether it takes prompts.
        distillation: how all its published networks were distilled, after "distilled"; None: others were not.
        films: whether it makes films, of one frame or more.
        rounded: what its pipeline keeps in the network's precision: its states and what the network answers, the
            answers (and their guidance) alone, or nothing.
        apart: whether its pipeline gives each branch of guidance to the network by itself.

    Args:
        pipe: the pipeline; it is read, never changed or kept.
        asked: what the model is made for.
    """

    component: ClassVar[str] = "transformer"
    prediction: ClassVar[str | None] = None
    guidance: ClassVar[Guidance | None] = CLASSIFIER_FREE
    scale: ClassVar[str] = "guidance_scale"
    prompted: ClassVar[bool] = True
    distillation: ClassVar[str | None] = None
    films: ClassVar[bool] = False
    rounded: ClassVar[Literal["states", "answers", "nothing"]] = "states"
    apart: ClassVar[bool] = False

    def __init__(self, pipe: Any, asked: Asked) -> None:
        self.asked = asked

    @abstractmethod
    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        """The network's output at states x (B, *latent_shape) in its precision.

        Args:
            time_B: the scheduler's timestep (B,), float32.
            rows: conditioning by name; classes (B,) of a family without prompts, or None.
        """

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        """The rows of prompts, by the pipeline's own `encode_prompt`."""
        raise NotImplementedError

    def encoded(self, pipe: Any, prompts: Sequence[str], negative: Sequence[str] | None, guided: bool = False) -> Any:
        """What the pipeline's `encode_prompt` gives, called as its `__call__` calls it.

        Raises:
            ConfigurationError: a length of texts is asked for, and the pipeline has but one.
        """
        takes = inspect.signature(pipe.encode_prompt).parameters
        given = {name: value for name, value in call_defaults(pipe).items() if name in takes}
        given |= {"prompt": list(prompts), "device": getattr(pipe, "_execution_device", "cpu")}
        if "do_classifier_free_guidance" in takes:
            given["do_classifier_free_guidance"] = guided
        if "batch_size" in takes:
            given["batch_size"] = len(prompts)
        if negative is not None and "negative_prompt" in takes:
            given["negative_prompt"] = list(negative)
        longest = self.asked.max_sequence_length
        if longest is not None and "max_sequence_length" in takes:
            given["max_sequence_length"] = longest
        elif longest is not None:
            pipe = _with_length(pipe, longest)
        with torch.no_grad():
            return pipe.encode_prompt(**{name: value for name, value in given.items() if name in takes})

    def blank(self, pipe: Any, count: int) -> Rows:
        """Rows of so many of the longest prompts on the meta device, for plans; none: their shapes are unknown.

        Args:
            pipe: whose text encoders may have nothing but their configurations.
        """
        return {}

    def longest(self, pipe: Any) -> int:
        """Tokens of the longest text."""
        return self.asked.max_sequence_length or longest(pipe)

    def guides(self, negative: bool) -> bool:
        """Whether there are null rows beside those of the prompts.

        Args:
            negative: whether there is a negative prompt.
        """
        return True

    def shared(self, pipe: Any) -> dict[str, Any]:
        """What all rows have in common."""
        return {}

    def told_scale(self, pipe: Any, argument: str = "guidance_scale") -> Tensor:
        """The scale (1,) that a guidance-distilled network is told: what is asked for, else the pipeline's default."""
        given = self.asked.embedded_guidance
        return torch.tensor([float(call_defaults(pipe)[argument] if given is None else given)])

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        """What the pipeline gives `set_timesteps` beside the number of steps."""
        return {}

    def genuq_scale(self, given: float, negative: bool) -> float:
        """The scale of genuq, 1 for none, of the pipeline's own.

        Args:
            negative: whether there is a negative prompt.
        """
        return max(given, 1.0)

    @classmethod
    def side(cls, pipe: Any) -> int:
        """Of the images that the pipeline makes by default."""
        given = call_defaults(pipe).get("height")
        if isinstance(given, int):
            return given
        size = getattr(pipe, "default_sample_size", None) or getattr(pipe, cls.component).config.sample_size
        return int(size) * int(pipe.vae_scale_factor)

    @classmethod
    def num_classes(cls, pipe: Any) -> int:
        return 0

    def __call__(self, network: nn.Module, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        """`call` in the network's precision; times stay float32, the answer has the precision of x."""
        dtype = dtype_of(network)
        answer = self.call(network, x.to(dtype), time_B, cast(rows, dtype))
        return answer[:, : x.shape[1]].to(x.dtype)  # what comes behind is a learned variance


def dtype_of(network: nn.Module) -> torch.dtype:
    """The precision that a network computes in, read off its parameters; of diffusers' its own word."""
    own = getattr(network, "dtype", None)
    return own if isinstance(own, torch.dtype) else next(network.parameters()).dtype


def _with_length(pipe: Any, longest: int) -> Any:
    """A copy of a pipeline that keeps the length of its texts as an attribute, with this one."""
    if not hasattr(pipe, "tokenizer_max_length"):
        raise ConfigurationError(
            f"max_sequence_length = {longest}, but texts of {type(pipe).__name__} have one length: leave it out."
        )
    changed = copy.copy(pipe)
    changed.tokenizer_max_length = longest
    return changed


def call_defaults(pipe: Any) -> dict[str, Any]:
    """The defaults of the pipeline's `__call__`."""
    parameters = inspect.signature(pipe.__call__).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def blank(count: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows (count, *shape) without numbers, on the meta device."""
    return torch.empty(count, *shape, dtype=dtype, device="meta")


def longest(pipe: Any, encoder: Any = None) -> int:
    """Tokens of the longest text: what the pipeline asks for by default, or what a text encoder of CLIP's takes.

    Args:
        encoder: that of CLIP.
    """
    if encoder is not None:
        return int(getattr(encoder.config, "max_position_embeddings", CLIP_TOKENS))
    return int(call_defaults(pipe)["max_sequence_length"])


def named(values: Sequence[Any], *names: str) -> dict[str, Tensor]:
    """Rows by name, on the CPU, of the parts of an `encode_prompt`."""
    return {name: value.detach().cpu() for name, value in zip(names, values, strict=True)}


def ragged(text: Tensor, mask: Tensor | None) -> dict[str, list[Tensor]]:
    """Rows of texts of several lengths, on the CPU."""
    return {"text": unpadded(text.detach().cpu(), None if mask is None else mask.cpu())}


def dynamic_shift(scheduler: Any, tokens: int, largest: float = 1.15) -> float:
    """mu of a dynamic shift, as pipelines compute it for so many tokens of the image.

    Source: diffusers' `calculate_shift`, Esser et al. 2024 (the shift grows with the resolution).
    """
    config = scheduler.config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", largest)
    slope = (high - low) / (many - few)
    return tokens * slope + low - slope * few


def even_sigmas(steps: int) -> list[float]:
    """1 to 1 / steps, as pipelines of flow matching give them."""
    return torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()


def packed(x: Tensor) -> Tensor:
    """Latents (B, C, H, W) as tokens (B, H/2 W/2, 4 C) of 2x2 patches."""
    batch, channels, height, width = x.shape
    tiles = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `packed`, for latents of this height and width."""
    tiles = tokens.reshape(len(tokens), height // 2, width // 2, -1, 2, 2)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, height, width)


@contextlib.contextmanager
def at_positions(head: nn.Module, positions_BN: Tensor) -> Iterator[None]:
    """The head sees these positions of its input (B, L, K) alone inside; the rest of its output is zeros.

    For a network whose head also answers for tokens of text, of which nothing arrives: a posterior must not count them.
    """

    length = 0

    def gather(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        nonlocal length
        length = inputs[0].shape[1]
        return inputs[0].gather(1, positions_BN[..., None].expand(-1, -1, inputs[0].shape[2]))

    def scatter(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        whole = output.new_zeros(len(output), length, output.shape[2])
        return whole.scatter(1, positions_BN[..., None].expand(-1, -1, output.shape[2]), output)

    # outermost of all hooks: whoever watches the head sees these positions alone
    handles = [head.register_forward_pre_hook(gather, prepend=True), head.register_forward_hook(scatter)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

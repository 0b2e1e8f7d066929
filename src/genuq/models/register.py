"""The register of whole models: functions, most of them a user's own, that bring a network with its call signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models.compiled import compiled_part
from genuq.models.generative import GenerativeModel
from genuq.models.head import find_head
from genuq.parts import Part, Register
from genuq.parts.options import hints_of, parameters_of

FILE = "checkpoint"  # a parameter of this name is a file, whatever its type
SHARED = ("head", FILE)  # what genuq can do to any model: another head, weights of its own training


@dataclass(frozen=True, kw_only=True)
class ModelPart(Part):
    """A whole model: its target takes nothing but its own options, and returns a `genuq.GenerativeModel`.

    Beside the options of its target it has two of genuq's. A target that has a parameter of one of these names gets it.

    Args:
        head: dotted name of another layer for the posteriors.
        checkpoint: weights that genuq's training left.

    A parameter of its target called `class_names` gets those of the data, unless it is given.

    Attributes:
        settle: what its options become before anything is made of them: files of texts their texts, a hub's name the
            folder that has it. It may say that something is missing, by ConfigurationError.
        casts: whether its `call` takes float32 states whatever the precision of its weights.
        outline: what its target is given, by internal parameters, to build the model on torch's meta device without
            reading a weight; None: it cannot.
    """

    group: str = "model"
    settle: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    casts: bool = False
    outline: Mapping[str, Any] | None = None
    product: ClassVar[type | None] = GenerativeModel

    @property
    def options(self) -> type:
        own = super().options
        known = {each.name for each in dataclasses.fields(own)}
        further = [(name, str | None, dataclasses.field(default=None)) for name in SHARED if name not in known]
        return dataclasses.make_dataclass(own.__name__, further, bases=(own,), kw_only=True)

    @property
    def own_options(self) -> list[str]:
        """Names of what its target takes."""
        return list(parameters_of(self.resolve()))

    @property
    def files(self) -> list[str]:
        """Names of its target's options that are files or folders: those annotated `Path`, and `checkpoint`."""
        return [name for name in self.own_options if name == FILE or self._is_path(name)]

    def _is_path(self, name: str) -> bool:
        hint = hints_of(self.resolve()).get(name)
        return hint is Path or Path in getattr(hint, "__args__", ())

    def plain_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What of these options is given to its target, without its files."""
        return {name: options[name] for name in self.own_options if name in options and name not in self.files}

    def make(self, *given: Any, **options: Any) -> GenerativeModel:
        """The model of these options; random initial weights are drawn from torch's generator as it stands.

        Raises:
            ConfigurationError: an unknown or missing option, another product, a network that the posteriors cannot
                work with, no such head.
        """
        head = None if "head" in self.own_options else options.pop("head", None)
        if FILE not in self.own_options:
            options.pop(FILE, None)
        paths = {name: options[name] for name in self.files if options.get(name) is not None}
        options |= {
            n: Path(p).expanduser() if self._is_path(n) else str(Path(p).expanduser()) for n, p in paths.items()
        }
        model: GenerativeModel = super().make(*given, **options)
        require_usable(model.network, self.name, self.casts)
        if head is not None:
            model.head_name = find_head(model.network, head)
        return model


def require_usable(network: nn.Module, name: str, casts: bool = False) -> None:
    """Raise ConfigurationError for a network into which the posteriors could not look, or not in single precision.

    Args:
        name: of the model, for the message.
        casts: whether another precision is taken care of.
    """
    compiled = compiled_part(network)
    for path, module in network.named_modules():
        which = f"layer {path}" if path else "its network"
        if path == compiled:
            raise ConfigurationError(
                f"model '{name}': {which} is compiled, which hides the layers that the posteriors watch and change. "
                "Return it without torch.compile."
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigurationError(
                f"model '{name}': {which} is TorchScript, whose layers the posteriors cannot watch. Return the "
                "nn.Module that it was made from."
            )
    for path, parameter in network.named_parameters():
        if not casts and parameter.dtype is not torch.float32:
            raise ConfigurationError(
                f"model '{name}': weight '{path}' is {str(parameter.dtype).removeprefix('torch.')}, but genuq samples "
                "and fits in float32. Return network.float(); what a training computes in is trainer.precision."
            )


MODELS = Register(ModelPart, "genuq.models", "model._target_", also=("genuq.pretrained",))

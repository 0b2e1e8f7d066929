"""Other weights for a while: the trained ones come back bit for bit, also after an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from genuq.errors import CheckpointError


@contextlib.contextmanager
def swapped(module: nn.Module, values: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Run with `values` in place of the module's parameters of these names.

    The storage of the trained parameters is set aside, not overwritten, so nothing has to be copied back.

    Raises:
        CheckpointError: a name or a shape that the module does not have; nothing is changed then.
    """
    parameters = {name: parameter for name, parameter in module.named_parameters() if name in values}
    wrong = [name for name in values if name not in parameters or parameters[name].shape != values[name].shape]
    if wrong:
        raise CheckpointError(f"{type(module).__name__} has no parameter '{wrong[0]}' of the drawn shape.")
    trained = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name].to(parameter)
        yield module
    finally:
        for name, parameter in parameters.items():
            parameter.data = trained[name]

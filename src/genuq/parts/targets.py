"""Class paths: which names may be imported because a configuration says so, and which never are."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from genuq.errors import ConfigurationError

# No part lives in Python's own library, or in a package that runs or loads foreign code for whoever asks it to.
DENIED_PACKAGES = frozenset({*sys.stdlib_module_names, *sys.builtin_module_names, "__main__"}) | {
    "cloudpickle", "dill", "joblib", "hydra", "omegaconf", "pip", "setuptools", "pkg_resources", "fsspec", "yaml",
}  # fmt: skip
DENIED = (
    "torch.load", "torch.hub", "torch.jit", "torch.serialization", "torch.package", "torch.utils.cpp_extension",
    "torch.multiprocessing", "torch.distributed", "numpy.load", "numpy.lib", "numpy.fromfile", "pandas.read_pickle",
    "genuq.parts", "genuq.files",
)  # fmt: skip


def full_path(target: Any) -> str:
    """`module:attribute` of a class or function."""
    return f"{target.__module__}:{getattr(target, '__qualname__', type(target).__qualname__)}"


def located(path: str, what: str) -> Any:
    """The object at `module:attribute`.

    Args:
        what: whose path it is, for the error.

    Raises:
        ConfigurationError: the module cannot be imported, or has no such attribute.
    """
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:  # whatever a foreign module raises while it is imported
        raise ConfigurationError(
            f"{what} cannot be imported ({type(error).__name__}: {error}). Mend the package, or leave the part out."
        ) from error
    return found


def split_path(path: str, key: str) -> tuple[str, str]:
    """(module, attribute) of a dotted or coloned class path; the longest importable head is the module.

    Raises:
        ConfigurationError: no such path, a module that fails on import, or a name that no configuration may import.
    """
    head, colon, tail = path.partition(":")
    names = head.split(".")
    if not all(name.isidentifier() for name in [*names, *tail.split(".")[: 1 if colon else 0]]):
        raise ConfigurationError(f"{key} = '{path}' is no class path. Write package.module.Name.")
    require_allowed(path.replace(":", "."), path, key)
    if colon and _can_import(head, path, key):
        return head, tail
    for cut in range(len(names) - 1, 0, -1) if not colon else ():
        module = ".".join(names[:cut])
        if _can_import(module, path, key):
            return module, ".".join(names[cut:])
    raise ConfigurationError(
        f"{key} = '{path}': there is no module '{head if colon else names[0]}'. Install the package, or correct the "
        "path (package.module.Name)."
    )


def _can_import(module: str, path: str, key: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            return False
        raise ConfigurationError(f"{key} = '{path}': '{module}' cannot be imported ({error}).") from error
    except Exception as error:  # whatever a foreign module raises while it is imported
        raise ConfigurationError(
            f"{key} = '{path}': '{module}' cannot be imported ({type(error).__name__}: {error})."
        ) from error
    return True


def require_allowed(name: str, path: str, key: str) -> None:
    """Raise ConfigurationError for a dotted name that no configuration may import."""
    denied = name.split(".")[0] in DENIED_PACKAGES or any(f"{name}.".startswith(f"{one}.") for one in DENIED)
    if denied:
        raise ConfigurationError(
            f"{key} = '{path}' names '{name}', which no configuration may use as a part. Give a class or function of "
            "your own package."
        )


def named_object(path: str, key: str) -> Any:
    """The object at a class path that a user typed, allowed by its name, by where it comes from and on the way there.

    Raises:
        ConfigurationError: see `split_path`; or no such attribute.
    """
    module_name, attributes = split_path(path, key)
    found: Any = importlib.import_module(module_name)
    for name in attributes.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(f"{key} = '{path}': '{module_name}' has no '{attributes}'. Correct the path.")
        found = getattr(found, name)
        if isinstance(found, types.ModuleType):  # `my_lab.os.system` is os.system
            require_allowed(found.__name__, path, key)
    if (origin := getattr(found, "__module__", None)) is not None:
        require_allowed(f"{origin}.{getattr(found, '__qualname__', '')}".rstrip("."), path, key)
    return found

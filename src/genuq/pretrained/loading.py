"""A folder that a pipeline was saved to, as a model: safetensors only, no code of others, no download unasked."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genuq.errors import ConfigurationError, did_you_mean
from genuq.pretrained.adapted import PretrainedModel
from genuq.pretrained.model import from_pipeline
from genuq.pretrained.register import family_of

INDEX = "model_index.json"


def from_pretrained(
    path: str | Path,
    dtype: Any = None,
    device: Any = None,
    scheduler: Mapping[str, Any] | None = None,
    **options: Any,
) -> PretrainedModel:
    """The model of a folder that `save_pretrained` of a pipeline wrote.

    Args:
        path: of the folder.
        dtype: of the weights, for instance `torch.bfloat16`; None: as diffusers loads them.
        device: where the pipeline goes; None: it stays on the CPU.
        scheduler: settings in place of its scheduler's own, `{"clip_sample": False}`; with `name`, of another class of
            diffusers' schedulers.
        options: of `from_pipeline`: prompts, negative_prompt, height, width, ...

    Raises:
        ConfigurationError: no such folder, no pipeline in it, one of an unknown class, weights that are not
            safetensors, or what `from_pipeline` refuses.
    """
    folder = Path(path)
    family_of([pipeline_class(folder)])  # before weights are read
    pipe = _loaded(folder, dtype)
    if scheduler:
        pipe.scheduler = rescheduled(pipe.scheduler, scheduler)
    return from_pipeline(pipe if device is None else pipe.to(device), **options)


def pipeline_class(folder: Path) -> str:
    """The name of the class of the pipeline in a folder.

    Raises:
        ConfigurationError: there is none.
    """
    index = folder / INDEX
    if not index.is_file():
        wrong = f"holds no {INDEX}" if folder.is_dir() else "is no folder"
        raise ConfigurationError(
            f"model.pretrained = '{folder}' {wrong}: give a folder that a pipeline's save_pretrained wrote (the "
            "command downloads OWNER/NAME with model.download=true)."
        )
    try:
        found = json.loads(index.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{index} is not JSON ({error}). Save the pipeline again.") from error
    name = found.get("_class_name") if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise ConfigurationError(f"{index} names no pipeline by `_class_name`, and code of others is never run.")
    return name


def rescheduled(scheduler: Any, changed: Mapping[str, Any]) -> Any:
    """The scheduler with other settings, or another of its configuration.

    Raises:
        ConfigurationError: no scheduler of diffusers', or a setting that it has not.
    """
    import diffusers

    settings = dict(changed)
    name = settings.pop("name", type(scheduler).__name__)
    kind = getattr(diffusers, name, None) if str(name).endswith("Scheduler") else None
    if kind is None:
        known = [each for each in dir(diffusers) if each.endswith("Scheduler")]
        raise ConfigurationError(
            f"model.scheduler.name = '{name}' is no scheduler of diffusers'.{did_you_mean(name, known)}"
        )
    known = list(inspect.signature(kind.__init__).parameters)[1:]
    for key in settings:
        if key not in known:
            raise ConfigurationError(f"model.scheduler: '{key}' is no setting of {name}.{did_you_mean(key, known)}")
    return kind.from_config({**scheduler.config, **settings})


def class_of(folder: Path) -> Any:
    """The class of the pipeline in a folder, by the name that a family knows: no folder chooses what is imported.

    Raises:
        ConfigurationError: the installed diffusers has none of that name.
    """
    import diffusers

    name = pipeline_class(folder)
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise ConfigurationError(f"diffusers {diffusers.__version__} has no {name}: install one that has it.")
    return kind


def _loaded(folder: Path, dtype: Any) -> Any:
    kind = class_of(folder)
    try:
        quick = find_spec("accelerate") is not None  # what diffusers would choose too, after a warning
        pipe = kind.from_pretrained(str(folder), use_safetensors=True, local_files_only=True, low_cpu_mem_usage=quick)
    except (OSError, ValueError, ImportError) as error:
        if "keep_in_fp32_modules" in str(error):  # what diffusers says of a missing accelerate
            raise ConfigurationError(
                f"model.pretrained = '{folder}': diffusers loads the network of {kind.__name__} by accelerate alone. "
                "Install it."
            ) from error
        raise ConfigurationError(
            f"model.pretrained = '{folder}' could not be loaded: {str(error).splitlines()[0]} It must be whole, "
            "with its weights as safetensors."
        ) from error
    pipe.set_progress_bar_config(disable=True)
    # not by an argument of from_pretrained, which some classes pass over in silence
    return pipe if dtype is None else pipe.to(dtype=dtype)

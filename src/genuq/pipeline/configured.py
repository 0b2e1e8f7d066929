"""The data, model and sampler of a run as its configuration has them: records that stages declare, and what is opened
from them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genuq import files
from genuq.data import Dataset
from genuq.data.registry import DATASETS
from genuq.errors import ArtefactError, ConfigurationError
from genuq.identity import identity_of
from genuq.models import MODELS, Autoencoder, Engine, GenerativeModel, ModelPart, Sampler
from genuq.models.checkpoints import is_checkpoint, reference_name_of, reference_path
from genuq.models.description import has_outline, outline
from genuq.pipeline.contents import ModelContents, fingerprint_in, known_model, model_key, remember_model
from genuq.pipeline.inputs import (
    UNREAD,
    DataInputs,
    ModelInputs,
    PartInputs,
    PluggedModel,
    PluggedModelInputs,
    SamplerInputs,
    built,
    foreign_code,
    is_outlined,
    load_split,
    part_inputs,
    untrained,
    weights_built,
)
from genuq.pipeline.run import Run
from genuq.pipeline.stage import upstream
from genuq.solvers import SOLVERS, OwnScheduler, SchedulerSolver
from genuq.store.artefact import MANIFEST
from genuq.store.upstream import FileContent, Upstream


def data_inputs(run: Run, *splits: str, starved: bool = True) -> DataInputs:
    """The run's data set, of which these splits may be read.

    Args:
        starved: the training set as `data.starve` leaves it; else the whole one, with its own labels.
    """
    options, subset = data_options(run, starved), run.config.data.subset
    contents = {split: content_of(run, split, options) for split in splits}
    return DataInputs(contents, options, subset, run.config.seed, run.memory)


def data_options(run: Run, starved: bool) -> dict[str, Any]:
    """The options of the run's data set, with those of its starved classes or without."""
    options: dict[str, Any] = run.plain("data")["data"]
    return options if starved else options | {"starve": {}, "permute": True}


def content_of(run: Run, split: str, options: Mapping[str, Any]) -> str:
    """The fingerprint of one split, which the store remembers by the state of its files."""
    dataset = load_split(run.memory, options, split, run.config.data.subset, run.config.seed)
    state = None if dataset.folder is None else state_in(run, dataset.folder.absolute())
    read_as = (
        run.plain("seed")
        | {"data": options, "split": dataset.split}
        | foreign_code([DATASETS.get(run.config.data.name)])
    )
    read_as |= {"class_names": list(dataset.class_names)}  # of test images those of the training set, elsewhere
    key = ["content", read_as, split]
    return run.memory(key, lambda: fingerprint_in(run.store, dataset, read_as, run.keeps_contents, state))


def state_in(run: Run, folder: Path) -> list[int | str]:
    """The state of a folder that artefacts depend on, remembered: of many files it takes a while."""
    state: list[int | str] = run.memory(["state", str(folder)], lambda: files.state_of(folder))
    run.read[str(folder)] = state
    return state


def training_set(run: Run) -> Dataset:
    """The training set, or the configured subset of it."""
    return load_split(run.memory, run.plain("data")["data"], "train", run.config.data.subset, run.config.seed)


def test_set(run: Run) -> Dataset:
    """The test set."""
    return load_split(run.memory, run.plain("data")["data"], "test")


def class_names_of(run: Run) -> list[str]:
    """What the classes of samples are called: the prompts of a model that has prompts, else the data's classes."""
    return prompts_of(run) or list(training_set(run).class_names)


def prompts_of(run: Run) -> list[str]:
    """The prompts of the run's model, by their numbers, captions of the data first; none of a model without."""
    conditions = untrained_model(run).conditions if model_part(run) is not None else None
    return [] if conditions is None else conditions.prompts


def asks_beyond_data(run: Run) -> bool:
    """Whether samples are asked for with prompts that are no classes of the data: labels say nothing of them."""
    if not prompts_of(run):
        return False
    chosen = run.config.sampler.classes or untrained_model(run).asked
    return any(number >= training_set(run).num_classes for number in chosen)


def is_image(run: Run) -> bool:
    """Whether the run's samples are images, not points."""
    return len(training_set(run).shape) == 3


def description_of(run: Run) -> dict[str, Any]:
    """The model as plain data, for `genuq.models.build`."""
    if (part := model_part(run)) is not None:
        return {"part": part.name, "options": part_options(run, part)}
    model, network = run.plain("model")["model"], run.plain("network")["network"]
    autoencoder, data = model["autoencoder"], training_set(run)
    return {
        "shape": list(data.shape),
        "num_classes": data.num_classes if model["class_conditional"] else 0,
        "prediction": model["prediction"],
        "process": model["process"],
        "network": network,
        "autoencoder": None if autoencoder is None else {k: v for k, v in autoencoder.items() if v is not None},
        "head": model["head"],
    }


def model_part(run: Run) -> ModelPart | None:
    """The function of a user's own that builds the run's model; None: the model is one of genuq's.

    Raises:
        ConfigurationError: it cannot be imported, or there is none of this name.
    """
    if "process" in run.config.model:  # genuq's own are put together from a process and a network
        return None
    return MODELS.get(run.config.model.name, "model.name")


def part_options(run: Run, part: ModelPart) -> dict[str, Any]:
    """The options of the function that builds the run's model; not a checkpoint of genuq's, which is loaded into it."""
    settings = run.plain("model")["model"]
    given = {name: settings[name] for name in part.option_names if name in settings}
    if "class_names" in given and given["class_names"] is None:
        given["class_names"] = list(training_set(run).class_names)
    if part.settle is not None:
        asked, settle = dict(given), part.settle
        given = dict(run.memory(["settled", part.path, asked], lambda: settle(asked)))
    return given | ({"checkpoint": None} if loads_own_training(run) else {})


def loads_own_training(run: Run) -> bool:
    """Whether the checkpoint of a model of a user's own is one that genuq's training left."""
    chosen = run.config.model.checkpoint
    return chosen is not None and is_checkpoint(Path(chosen).expanduser())


def plugged_model(run: Run, part: ModelPart) -> PluggedModel:
    """The function that builds the run's model, with its files and what it built, which must fit the data."""
    key = ["plugged", part.path, description_of(run), run.plain("seed", "data")]
    return run.memory(key, lambda: _plugged_model(run, part))


def _plugged_model(run: Run, part: ModelPart) -> PluggedModel:
    description = description_of(run)
    options = description["options"]
    outlined = has_outline(description) and "checkpoint" in part.own_options  # before a large network is built in full
    require_fit(run, part, outline(description) if outlined else built(run.memory, description, run.config.seed))
    inputs = part_inputs(part, part.plain_options(options))
    places = {name: Path(options[name]).expanduser() for name in part.files if options.get(name) is not None}
    found = model_contents(run, part, inputs, places)
    contents = {name: FileContent(found.files[name], place) for name, place in places.items()}
    return PluggedModel(inputs, contents, found.built)


def model_contents(run: Run, part: ModelPart, inputs: PartInputs, places: Mapping[str, Path]) -> ModelContents:
    """What identifies a model of a user's own; of one that is opened without its weights what an earlier run left."""
    description = description_of(run)
    key = [] if part.outline is None else [model_key(identity_of(inputs) | run.plain("seed"), places)]
    if is_outlined(run.memory, description):
        known = known_model(run.store, key[0])
        return known or ModelContents(dict.fromkeys(places, UNREAD), UNREAD)
    digests = {name: content_at(run, str(place)).identity for name, place in places.items()}
    found = ModelContents(digests, weights_built(run.memory, description, run.config.seed))
    for one in key if run.keeps_contents else []:
        remember_model(run.store, one, found)
    return found


def content_at(run: Run, path: str) -> FileContent:
    """A file or a folder, by content."""
    place = Path(path).expanduser()
    return FileContent(run.sha256_of_folder(place) if place.is_dir() else run.sha256(place), place)


def require_fit(run: Run, part: ModelPart, model: GenerativeModel) -> None:
    """Raise ConfigurationError for a model of a user's own that is not for samples like the run's data."""
    dataset, data = training_set(run), run.config.data.name
    if tuple(model.shape) != tuple(dataset.shape):
        raise ConfigurationError(
            f"model '{part.name}' makes samples of shape {tuple(model.shape)}, but data.name = '{data}' has "
            f"{tuple(dataset.shape)}. Choose data or options of the model so that they agree."
        )
    if model.data_classes not in (0, dataset.num_classes):
        raise ConfigurationError(
            f"model '{part.name}' knows {model.data_classes} classes, but data.name = '{data}' has "
            f"{dataset.num_classes}. Choose data or options of the model so that they agree, or num_classes=0."
        )


def is_latent(run: Run) -> bool:
    """Whether the model's process runs in the latent space of an autoencoder."""
    if model_part(run) is not None:
        return type(untrained_model(run).autoencoder) is not Autoencoder
    return run.config.model.autoencoder is not None


def model_names(run: Run) -> tuple[str, str]:
    """What the model and its network are called."""
    if model_part(run) is None:
        return run.config.model.name, run.config.network.name
    model = untrained_model(run)
    family = getattr(model, "family", None)  # of a pipeline
    return getattr(family, "name", run.config.model.name), type(model.network).__name__


def model_inputs(run: Run) -> ModelInputs:
    """The model that the stages after the training use."""
    description = description_of(run)
    if (part := model_part(run)) is not None:
        return plugged_model_inputs(run, part)
    autoencoder = None if run.trains else autoencoder_content(run)  # a training's fingerprint covers it
    return ModelInputs(weights_of(run), run.config.model.head, autoencoder, description, run.device, run.memory)


def plugged_model_inputs(run: Run, part: ModelPart) -> PluggedModelInputs:
    """A model of a user's own, with the weights of its training or those that it comes with."""
    trained = run.trains or loads_own_training(run) or (run.config.model.checkpoint is None and was_trained(run))
    return PluggedModelInputs(
        weights=weights_of(run) if trained else None,
        head=run.config.model.head,
        autoencoder=None,
        description=description_of(run),
        device=run.device,
        memory=run.memory,
        plugged=plugged_model(run, part),
        seed=run.config.seed,
    )


def was_trained(run: Run) -> bool:
    """Whether the run's folder has the model of an earlier training."""
    return (run.folder / "train" / "model.safetensors").is_file()


def autoencoder_content(run: Run) -> str | None:
    """The digest of the folder of diffusers' that holds the model's autoencoder; None where no folder does."""
    autoencoder = run.config.model.get("autoencoder")
    path = None if autoencoder is None else autoencoder.path
    if path is None or not os.path.isdir(Path(path).expanduser()):
        return None
    return f"{run.sha256_of_folder(path)}{normalised_by(Path(path).expanduser())}"


def normalised_by(folder: Path) -> str:
    """Added to the digest of an autoencoder whose latents are normalised channel by channel: before genuq did so, what
    was made with it was something else.
    """
    with contextlib.suppress(ArtefactError, OSError, AttributeError):  # what is wrong is said where it is loaded
        return ", by channel" if files.read_json(folder / "config.json").get("latents_mean") is not None else ""
    return ""


def weights_of(run: Run) -> Upstream | FileContent:
    """This run's own training, or the file that the configuration names."""
    if run.trains:
        return upstream(run, "train")
    path = checkpoint_path(run)
    if path.parent == run.folder / "train":  # trained earlier, perhaps under other settings
        return FileContent(files.read_json(path.parent / MANIFEST)["fingerprint"], path)
    return FileContent(run.sha256(path), path)


def reference_name(run: Run) -> str:
    """What is shipped with genuq for this run's model and data is called after: of a mixture also what places its
    modes, or a network of other modes would be taken."""
    data = run.config.data
    known = [f"_d{data.dimension}_sd{data.standard_deviation:g}"] if data.name == "lattice_mixture" else []
    moved = {key: data[key] for key, usual in {"modes": 25, "spacing": 2.0}.items() if known and data[key] != usual}
    return "".join([f"{run.config.model.name}_{data.name}", *known, *(f"_{key}{moved[key]:g}" for key in moved)])


def checkpoint_path(run: Run) -> Path:
    """The file of the weights, where this run's stages do not make them."""
    chosen = run.config.model.checkpoint
    if chosen is None:  # this run's last training
        return run.folder / "train" / "model.safetensors"
    if (name := reference_name_of(chosen, reference_name(run))) is not None:
        return reference_path(name)
    return Path(chosen).expanduser()


def open_model(run: Run) -> GenerativeModel:
    """The trained model on its device."""
    return model_inputs(run).open()


def untrained_model(run: Run) -> GenerativeModel:
    """The run's model before any training: sizes, shapes and times are those of the trained one."""
    if (part := model_part(run)) is not None:
        plugged_model(run, part)  # which must fit the data
    return untrained(run.memory, description_of(run), run.device, run.config.seed)


def architecture_of(run: Run) -> GenerativeModel:
    """The model as far as it is known before the run: with its weights, or untrained where the run trains it."""
    return untrained_model(run) if run.trains else open_model(run)


def sampler_inputs(run: Run) -> SamplerInputs:
    """How the run draws its samples."""
    settings = run.config.sampler
    part = SOLVERS.get(settings.name)
    solver = part_inputs(part, {key: settings[key] for key in part.option_names if settings.get(key) is not None})
    return SamplerInputs(
        solver=solver,
        steps=_of_model(run, "steps", settings.steps),
        spacing=settings.spacing,
        guidance_scale=_of_model(run, "scale", settings.guidance_scale),
        classes=None if settings.classes is None else tuple(settings.classes),
        seed=run.config.seed,
        samples=settings.samples,
        batch_size=settings.batch_size,
        clip_x0=settings.clip_x0,
        engine=engine_of(run),
        **{key: settings[key] for key in ("rho", "sigma_min", "sigma_max")},
    )


def engine_of(run: Run) -> Engine:
    """How the run evaluates its network for samples and scores."""
    return Engine(run.config.sampler.precision, run.config.sampler.compile)


def _of_model(run: Run, name: str, given: Any) -> Any:
    """A setting of the sampler, or the model's own where none is given.

    Raises:
        ConfigurationError: the model has none.
    """
    if given is not None:
        return given
    found = getattr(untrained_model(run), name, None)
    if found is None:
        key = {"steps": "sampler.steps", "scale": "sampler.guidance_scale"}[name]
        raise ConfigurationError(
            f"{key} = null is that of a model that brings a scheduler (model=diffusers), and this model brings none: "
            "give a number, and another sampler than sampler=scheduler (sampler=euler)."
        )
    return found


def why_direct(run: Run) -> str | None:
    """Why the model's scheduler samples itself though nobody asked for it; None: it does not."""
    settings = run.config.sampler
    if settings.name != OwnScheduler.name or settings.directly is not None:
        return None
    sampler = build_sampler(run)
    if not isinstance(sampler.solver, SchedulerSolver) or not sampler.solver.directly:
        return None
    return f"Samples come from the scheduler itself. {sampler.solver.why_not_affine(sampler.steps)}"


def build_sampler(run: Run) -> Sampler:
    """The run's sampler."""
    return sampler_inputs(run).build(untrained_model(run))

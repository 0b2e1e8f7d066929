"""The run's scores of the path and of the probe: what they ask for beside the model, and what is checked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq.errors import CheckpointError, ConfigurationError, require_finite
from genuq.identity import where_given
from genuq.models import GenerativeModel, to_unit
from genuq.models.checkpoints import checkpoint_weights, reference_name_of, reference_path
from genuq.pipeline.columns import PARTIAL, inputs_of_source, leaving_maps, of_source, options_of, score_inputs
from genuq.pipeline.configured import is_image, is_latent, reference_name
from genuq.pipeline.configured_judging import likelihood_inputs
from genuq.pipeline.inputs import PartInputs
from genuq.pipeline.judging import LikelihoodInputs
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.posteriors import Posterior, isotropic_like
from genuq.scores import SCORES, Resources, ScorePart
from genuq.scores.probe_scores import ISOTROPIC
from genuq.scores.settings import smaller_settings
from genuq.scores.shared import Predictions
from genuq.store.upstream import FileContent


@dataclass(frozen=True)
class ResourceInputs:
    """What scores of a path or a probe ask for beside the model.

    Attributes:
        draws: M of the posterior; None: they ask for none.
        isotropic: whether they ask for weight noise of its size.
        encoder: in whose space they look.
        weak: an earlier checkpoint of the network.
    """

    draws: int | None = where_given(None)
    isotropic: bool = where_given(False)
    encoder: LikelihoodInputs | None = where_given(None)
    weak: FileContent | None = where_given(None)

    def open(self, model: GenerativeModel, posterior: Callable[[], Posterior], seed: int) -> Resources:
        """What they ask for.

        Args:
            posterior: the run's own, loaded where it is needed.
            seed: of the draws.
        """
        drawn = {MAIN_POSTERIOR: posterior()} if self.draws else {}
        if self.isotropic:
            drawn[ISOTROPIC] = isotropic_like(drawn[MAIN_POSTERIOR], model.network)
        return Resources(
            posteriors=drawn,
            draws=self.draws or 0,
            seed=seed,
            weak=None if self.weak is None else weak_weights(self.weak.path, model),
            embed=None if self.encoder is None else embedder(self.encoder, model),
        )


def resource_inputs(run: Run, source: str) -> ResourceInputs:
    """What the run's scores of one source ask for."""
    return resources_of(run, of_source(run, source).values())


def resources_of(run: Run, parts: Iterable[ScorePart]) -> ResourceInputs:
    """What these scores ask for."""
    needs = needs_of(parts)
    weak = weak_checkpoint(run) if "weak" in needs else None
    return ResourceInputs(
        draws=draws_of_main(run) if needs & {"members", "isotropic"} else None,
        isotropic="isotropic" in needs,
        encoder=likelihood_inputs(run) if "encoder" in needs else None,
        weak=None if weak is None else FileContent(run.sha256(weak), weak),
    )


def needs_of(parts: Iterable[ScorePart]) -> frozenset[str]:
    """What any of these scores asks for."""
    return frozenset[str]().union(*(part.needs for part in parts))


def functions_of(parts: Mapping[str, PartInputs]) -> dict[str, Callable[[Predictions], Tensor]]:
    """Scores of a path or a probe with their options, by name."""
    return {name: partial(_values, part.name, part.options) for name, part in parts.items()}


def _values(name: str, options: Mapping[str, Any], predictions: Any) -> Tensor:
    return SCORES.get(name).values(len(predictions.indices), predictions, **options)


def path_inputs(run: Run) -> dict[str, PartInputs]:
    """The scores of the sampler's path, with their options."""
    return inputs_of_source(run, "path") | partial_inputs(run, "path")


def probe_inputs(run: Run) -> dict[str, PartInputs]:
    """The scores of the finished samples noised again, with their options."""
    return inputs_of_source(run, "probe") | partial_inputs(run, "probe")


def partial_settings(run: Run) -> dict[str, dict[str, Any]]:
    """The settings of the run's score that do the first part of its work, by the names of their columns."""
    name = run.config.score.name
    if not run.config.score.get("frontier"):
        return {}
    found = smaller_settings(SCORES.get(name), options_of(run, name), draws_of_main(run), nested=True)
    return {f"{name}{PARTIAL}{number}": setting for number, setting in enumerate(found[:-1])}


def partial_inputs(run: Run, source: str) -> dict[str, PartInputs]:
    """The run's score at each of them, where it is of this source."""
    whole = score_inputs(run, run.config.score.name)
    if SCORES.get(whole.name).source != source:
        return {}
    return {
        name: replace(whole, options={**whole.options, **setting}) for name, setting in partial_settings(run).items()
    }


def draws_of_main(run: Run) -> int:
    """M of the run's own posterior."""
    return int(run.posteriors()[MAIN_POSTERIOR]["draws"])


def embedder(encoder: LikelihoodInputs, model: GenerativeModel) -> Callable[[Tensor], Tensor]:
    """Features of images in [-1, 1], or of points, in the likelihood's space."""
    likelihood, are_images = encoder.build(), len(encoder.shape) == 3
    return lambda samples: likelihood.embed(to_unit(samples) if are_images else samples, device=model.device)


def weak_checkpoint(run: Run) -> Path | None:
    """The file of `score.weak_checkpoint`."""
    chosen = run.config.score.get("weak_checkpoint")
    if (name := reference_name_of(chosen, reference_name(run))) is not None:
        return reference_path(name, "Correct score.weak_checkpoint, or give the path of an earlier checkpoint.")
    return None if chosen is None else Path(chosen).expanduser()


def weak_weights(path: Path, model: GenerativeModel) -> dict[str, Tensor]:
    """The weights of an earlier checkpoint of the model's network, by name.

    Raises:
        CheckpointError: it is one of another network.
        NonFiniteError: NaN or infinite weights.
    """
    found = checkpoint_weights(path, model)
    for name, own in model.network.named_parameters():
        if name not in found or found[name].shape != own.shape:
            raise CheckpointError(
                f"score.weak_checkpoint: {path} has no weight '{name}' of shape {tuple(own.shape)}. Give an earlier "
                "checkpoint of the run's own network."
            )
        require_finite(found[name], f"weight '{name}' of {path}", "Give another score.weak_checkpoint.")
    return {name: found[name] for name, _ in model.network.named_parameters()}


def check_shared_scores(run: Run, model: GenerativeModel) -> None:
    """Raise GenuqError for scores of a path or a probe that this run cannot have, or options that cannot work."""
    scores = of_source(run, "path", "probe")
    check_maps(run)
    for name, part in scores.items():
        check_options(part, options_of(run, name), draws_of_main(run))
    if "weak" in needs_of(scores.values()):
        path = weak_checkpoint(run)
        if path is None:
            name = next(name for name, part in scores.items() if "weak" in part.needs)
            raise ConfigurationError(
                f"score '{name}' compares with an earlier checkpoint: set score.weak_checkpoint to its file."
            )
        run.sha256(path)
        weak_weights(path, model)


def check_maps(run: Run) -> None:
    """Raise ConfigurationError where `score.maps` is set and there is no map to keep."""
    if not run.config.score.get("maps"):
        return
    if not is_image(run) or is_latent(run):
        raise ConfigurationError(
            "score.maps = true, but the model does not run on the pixels of images. Leave it false, or choose such a "
            "model."
        )
    if not leaving_maps(run, "path", "probe"):
        raise ConfigurationError(
            "score.maps = true, but no score of this run leaves a map: add path_disagreement or renoised_disagreement "
            "to score.also."
        )


def check_options(part: ScorePart, options: Mapping[str, Any], draws: int) -> None:
    """Raise ConfigurationError for more members than there are, or fewer than a variance takes.

    Args:
        draws: that the posterior has.
    """
    members = options.get("members")
    if "members" in part.needs and members is not None and not 1 <= members <= draws:
        raise ConfigurationError(f"score.{part.key_of('members')} = {members}; posterior.draws = {draws} is the most.")
    if "several" in part.needs and (members or draws) < 2:
        raise ConfigurationError(
            f"score '{part.name}' is a variance over weight draws and needs at least 2; "
            f"score.{part.key_of('members')} = {members}, posterior.draws = {draws}."
        )

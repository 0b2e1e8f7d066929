"""The stage that scores: functionals of the draws' embeddings, baselines and controls, one number for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.identity import where_given
from genuq.likelihoods import Likelihood, PointLikelihood
from genuq.pipeline.columns import WATCHED, draws_scored, entry_of, functional_of, score_columns, score_inputs
from genuq.pipeline.configured_judging import likelihood_inputs
from genuq.pipeline.inputs import PartInputs, part_inputs
from genuq.pipeline.judging import LikelihoodInputs
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.embed import read_embeddings, read_judged
from genuq.pipeline.stages.probe import probe_upstream, read_probed
from genuq.pipeline.stages.propagate import MaskInputs, mask_inputs, propagated, reduction_options
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.scores import SCORES
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream

SCORES_FILE = "scores.safetensors"


@dataclass(frozen=True)
class ScoreColumn:
    """One column of the table.

    Attributes:
        source: what it is made from: a source of scores (`genuq.scores.SOURCES`), where draws of any kind are `draws`.
        part: the score, or the functional of the draws.
        draws: name of the set of draws that it is of, if of one.
    """

    source: str
    part: PartInputs
    draws: str | None


@dataclass(frozen=True)
class DrawsInputs:
    """The draws as a likelihood sees them.

    Attributes:
        likelihood: in whose space they lie.
        observation_variance: None takes it from the draws.
        include_unperturbed: whether the unperturbed sample counts as one of them.
    """

    likelihood: LikelihoodInputs
    observation_variance: float | None
    include_unperturbed: bool

    def open(self) -> Likelihood | PointLikelihood:
        """The likelihood with its variance."""
        return self.likelihood.build(self.observation_variance)

    def of(self, embeddings: Mapping[str, Tensor], name: str) -> Tensor:
        """Embeddings (N, M, D) of a set of draws, the unperturbed sample before them where it counts."""
        draws_NMD = embeddings[name]
        if not self.include_unperturbed:
            return draws_NMD
        return torch.cat([embeddings["image"][:, None], draws_NMD], dim=1)


@dataclass(frozen=True)
class ScoreInputs:
    """What scores depend on.

    Attributes:
        propagate: the variances of the pixels, where the run propagates.
        columns: the scores by name, in their order.
        drawn: how draws are seen.
        mask: of the pixels that count.
        neighbours: k of the oracles.
        seed: of the random score.
        probe: the scores of the probe, where the run has any.
    """

    sample: Upstream
    embed: Upstream
    propagate: Upstream | None
    columns: Mapping[str, ScoreColumn]
    drawn: DrawsInputs
    mask: MaskInputs | None
    neighbours: int
    seed: int
    probe: Upstream | None = where_given(None)

    @property
    def are_images(self) -> bool:
        return len(self.drawn.likelihood.shape) == 3


class Score(Stage[ScoreInputs]):
    """Leaves scores.safetensors: one (N,) float64 column for each score, baseline, control and oracle."""

    name = "score"
    version = 2

    def inputs(self, run: Run) -> ScoreInputs:
        return ScoreInputs(
            sample=upstream(run, "sample"),
            embed=upstream(run, "embed"),
            propagate=None if run.config.propagator is None else upstream(run, "propagate"),
            columns={name: column_inputs(run, name) for name in score_columns(run)},
            drawn=draws_inputs(run),
            mask=mask_inputs(run),
            neighbours=run.config.metric.k,
            seed=run.config.seed,
            probe=probe_upstream(run),
        )

    def work(self, inputs: ScoreInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        embed = inputs.embed.path
        samples = read_samples(inputs.sample.path) | read_probed(inputs.probe)
        made = Made(inputs, samples, read_embeddings(embed), read_judged(embed))
        columns = {name: made.column(name) for name in inputs.columns}
        files.write_tensors(folder.path / SCORES_FILE, columns)
        if MAIN_POSTERIOR not in made.embeddings:
            return {}
        variance = inputs.drawn.open().observation_variance(inputs.drawn.of(made.embeddings, MAIN_POSTERIOR))
        return {"observation_variance": as_number(variance.value), "how": variance.how}


def column_inputs(run: Run, name: str) -> ScoreColumn:
    """One of the run's columns. A score of the run's own draws is its own functional; of all others it is the run's."""
    entry = entry_of(run, name)
    if entry.source == "draws" or entry.makes_draws:
        draws = draws_scored(run, name)
        return ScoreColumn("draws", score_inputs(run, name if draws == MAIN_POSTERIOR else functional_of(run)), draws)
    part = score_inputs(run, name)
    if entry.source == "propagation":
        part = part_inputs(entry, {**part.options, **reduction_options(run, entry)})
    return ScoreColumn(entry.source, part, None)


def draws_inputs(run: Run) -> DrawsInputs:
    """How the run's draws are seen."""
    settings = run.config.likelihood
    return DrawsInputs(likelihood_inputs(run), settings.get("observation_variance"), settings.include_unperturbed)


@dataclass(frozen=True)
class Made:
    """What the earlier stages have made: all that a score may be of. Of samples also the scores of path and probe."""

    inputs: ScoreInputs
    samples: Mapping[str, Tensor]
    embeddings: Mapping[str, Tensor]
    judged: Mapping[str, Tensor]

    def column(self, name: str) -> Tensor:
        """One column of the table, (N,) float64, computed from what its score is made from."""
        column, count = self.inputs.columns[name], len(self.samples["index"])
        if column.source in ("trajectory", "path", "probe"):
            return self.samples[f"{WATCHED}{name}"]
        arguments, named = self._given(column)
        return SCORES.get(column.part.name).values(count, *arguments, **column.part.options, **named)

    def _given(self, column: ScoreColumn) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the score is called with, beside its options: by position, and by name."""
        given: dict[str, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]] = {
            "draws": lambda: (self._draws(column.draws), {}),
            "propagation": lambda: ((self._variances(),), {"mask": self._mask()}),
            "class": lambda: ((self._first(), self.samples["class"]), {}),
            "image": lambda: ((shown(self.samples["image"], self.inputs.are_images),), {}),
            "real": lambda: ((self.judged["real"], self.judged["image"]), {"k": self.inputs.neighbours}),
            "nothing": lambda: ((), {"indices": self.samples["index"].tolist(), "seed": self.inputs.seed}),
        }
        return given[column.source]()

    def _draws(self, name: str | None) -> tuple[Tensor, Any]:
        """A set of draws (N, M, D), and an observation variance of its own."""
        assert name is not None
        draws_NMD = self.inputs.drawn.of(self.embeddings, name)
        return draws_NMD, self.inputs.drawn.open().observation_variance(draws_NMD).value

    def _first(self) -> Tensor:
        """The run's own score; where that is of the classes itself, the next one."""
        columns = self.inputs.columns.items()
        return self.column(next(name for name, column in columns if column.source != "class"))

    def _variances(self) -> Tensor:
        assert self.inputs.propagate is not None
        return propagated(self.inputs.propagate.path)["variance"]

    def _mask(self) -> Tensor | None:
        return None if self.inputs.mask is None else self.inputs.mask.open()


def read_scores(folder: Path) -> dict[str, Tensor]:
    """The finished stage's columns (N,) by the names of the scores."""
    return files.read_tensors(folder / SCORES_FILE)[0]


def as_number(variance: Any) -> float:
    return float(torch.as_tensor(variance).double().mean())

"""Does any score see that a network hardly saw, or never saw, the class that it was asked for?

python experiments/starved/measure.py                                                          # table.md
python experiments/starved/measure.py --control seen --first-seed 40000 --out confirmed.md

Goes on where it was stopped: the scores of each network are kept in outputs/starved/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from genuq import files, machine, solvers
from genuq.analysis import Interval, Resampling, Undefined, holm, wilson_interval
from genuq.analysis.detection import Concordance
from genuq.analysis.hierarchy import Drawn, Pooled, pooled
from genuq.likelihoods import PixelLikelihood
from genuq.models import GenerativeModel, Sampler, sample, to_bytes, to_unit
from genuq.models.checkpoints import (
    checkpoint_weights,
    load_classifier,
    load_model,
    reference_members,
    reference_path,
)
from genuq.posteriors import DeepEnsemble, Scale
from genuq.scores import (
    Resources,
    guidance_gap,
    guidance_gap_low,
    lid,
    lmi,
    path_disagreement,
    png_bytes,
    regenerate,
    renoised_disagreement,
    score_together,
    weak_model_gap,
)
from genuq.scores.shared import MAIN, Probe, fresh

HERE, KEPT = Path(__file__).parent, Path("outputs/starved")
NAME = "flow_matching_fashion_mnist"
BAG, CLASSES, STEPS, REPLICATES = 8, 10, 10, 2000
STARVED, ALL, SEEN = ("starved", "unseen"), "all", "seen"  # as the shipped networks are called; `all` are larger ones
NETWORKS = 3  # of each kind
OTHERS = [code for code in range(CLASSES) if code != BAG]
ASKED = [code for other in OTHERS for code in (BAG, other)]  # every other sample is to be a bag


@dataclass(frozen=True)
class Column:
    """A score: what a reader is shown, and its evaluations beside those of sampling."""

    label: str
    evaluations: int


WEAK, REGENERATED, MOVED = "weak_model_gap", "regenerations", "lmi"
COLUMNS = {
    "path_early": Column("Disagreement at an early point of the path (0.3)", 2),
    "path_last": Column("Disagreement at the path's last point", 2),
    "renoised": Column("Re-noised disagreement (0.3)", 12),
    REGENERATED: Column("Generative uncertainty, two regenerations", 2 * STEPS),
    "guidance_gap": Column("Guidance gap", 2),
    "guidance_gap_low": Column("Guidance gap, its lower tail", 2),
    "lid": Column("Re-noising loss (LID, 0.3)", 4),
    WEAK: Column("Weak-model gap", 3),
    MOVED: Column("Initial-noise perturbation (LMI), two", 2 * STEPS),
    "png": Column("Image complexity", 0),
}
OF_MEMBERS = ("path_early", "renoised", REGENERATED, "guidance_gap")
DECLARED = {  # by control, what was to be found before any sample was drawn
    ALL: [(condition, name) for condition in STARVED for name in OF_MEMBERS],
    SEEN: [*((STARVED[0], name) for name in OF_MEMBERS), (STARVED[1], "guidance_gap_low")],
}
ON_PATH: dict[str, Callable[..., Tensor]] = {
    "path_early": partial(path_disagreement, points=(0.3,)),
    "path_last": path_disagreement,
    "guidance_gap": guidance_gap,
    "guidance_gap_low": guidance_gap_low,
    WEAK: weak_model_gap,
}
OF_FINISHED: dict[str, Callable[..., Tensor]] = {
    "renoised": renoised_disagreement,
    "lid": partial(lid, times=(0.3,)),
}
Scores = Mapping[str, Tensor]  # of one network, by column, with `class` and `judged`


@dataclass(frozen=True)
class Study:
    """One run of the study.

    Attributes:
        control: the networks that saw all: `all`, larger ones, or `seen`, of the same size and training.
        samples: of each of the nine networks.
        first_seed: of the first network of each kind; the next two have the seeds that follow.
    """

    control: str
    samples: int
    first_seed: int

    @property
    def conditions(self) -> tuple[str, ...]:
        return (*STARVED, self.control)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--control", choices=[ALL, SEEN], default=ALL, help="the networks that saw all classes")
    parser.add_argument("--samples", type=int, default=576, help="of each of the nine networks")
    parser.add_argument("--first-seed", type=int, default=20_000, help="of the first network of each kind")
    parser.add_argument("--out", default="table.md", help="name of the table")
    asked = parser.parse_args()
    study = Study(asked.control, asked.samples, asked.first_seed)
    machine.prepare()
    found = {condition: of_condition(study, condition) for condition in study.conditions}
    files.write_text(HERE / asked.out, "\n".join(table(study, found)) + "\n")


# Samples and their scores


def of_condition(study: Study, condition: str) -> list[Scores]:
    """The scores of each of three networks, of which the other two are the members."""
    name = NAME if condition == ALL else f"{NAME}_{condition}"
    paths = [reference_path(name), *reference_members(name, "deep_ensemble")][:NETWORKS]
    weak = None if condition == ALL else reference_path(f"{name}_early")
    return [kept(study, condition, number, paths, weak) for number in range(NETWORKS)]


def kept(study: Study, condition: str, number: int, paths: Sequence[Path], weak: Path | None) -> Scores:
    """The scores of one network, made once."""
    seed = study.first_seed + number
    path = KEPT / f"{condition}-{seed}-{study.samples}.safetensors"
    if not path.exists():
        sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, seed=seed, classes=ASKED)
        others = [one for place, one in enumerate(paths) if place != number]
        files.write_tensors(path, scored(paths[number], others, weak, sampler, study.samples, f"{condition}, {number}"))
    return files.read_tensors(path)[0]


def scored(
    path: Path, others: Sequence[Path], weak: Path | None, sampler: Sampler, samples: int, title: str
) -> dict[str, Tensor]:
    """All columns of a network's samples, the classes asked for, and those that the judge sees.

    Args:
        weak: its earlier checkpoint; without one, the column that compares with it is left out.
    """
    model = load_model(path)[0]
    members = DeepEnsemble(model.network)
    for other in others:
        members.update(checkpoint_weights(other, model))
    members.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=1.0))
    earlier = None if weak is None else checkpoint_weights(weak, model)
    resources = Resources({MAIN: members}, len(others), weak=earlier)
    batches = torch.arange(samples).split(sampler.batch_size)
    parts = [of_batch(model, sampler, batch.tolist(), resources) for batch in track(batches, title)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    likelihood = PixelLikelihood(model.shape)
    return found | {name: likelihood.uncertainty(likelihood.embed(found[name])) for name in (REGENERATED, MOVED)}


def of_batch(model: GenerativeModel, sampler: Sampler, batch: Sequence[int], resources: Resources) -> dict[str, Tensor]:
    """The columns of some samples; in place of those of regenerations and of LMI, the sample and its other versions,
    (B, 1 + M, ...) in [0, 1]."""
    made, classes = fresh(model, sampler, batch, "path", resources), sampler.classes_of(model, batch)
    assert classes is not None
    probe = Probe(model, made.samples, batch, sampler.seed, classes, resources)
    drawn = regenerate(model, resources.posteriors[MAIN], sampler, batch, resources.draws)
    images = to_bytes(made.samples)
    on_path = {name: score for name, score in ON_PATH.items() if resources.weak or name != WEAK}
    return {
        **score_together(made.predictions, on_path).values,
        **score_together(probe, OF_FINISHED).values,
        "png": png_bytes(images),
        "class": classes,
        "judged": judged(images),
        REGENERATED: beside(made.samples, drawn),
        MOVED: beside(made.samples, moved(model, sampler, batch, resources.draws)),
    }


def beside(samples: Tensor, versions: Tensor) -> Tensor:
    """A sample and its other versions, in [0, 1]."""
    return to_unit(torch.cat([samples[:, None], versions], 1))


def moved(model: GenerativeModel, sampler: Sampler, batch: Sequence[int], draws: int) -> Tensor:
    """The samples from their initial noise moved a little, under the network itself: (B, M, ...)."""
    noise = sampler.initial_noise(model, batch)
    others = [lmi(noise, seed=sampler.seed, indices=batch, draw=draw) for draw in range(draws)]
    return torch.stack([sample(model, sampler, batch, initial_noise=one) for one in others], 1)


@torch.no_grad()
def judged(images: Tensor) -> Tensor:
    """The classes (B,) that a classifier sees which learnt from all images."""
    classifier, _ = load_classifier(reference_path("classifier_fashion_mnist"))
    return torch.as_tensor(classifier(images.float() / 127.5 - 1).argmax(1))


# What they say


def drawn(found: Scores, column: str, code: int, among: Sequence[int], seed: int) -> Drawn:
    """How often a sample asked to be of a class has the higher score than one asked to be of another; with replicates
    of the samples, which are the same ones for all networks of a seed.

    Args:
        code: the class.
        among: it and the others.
    """
    classes_N = found["class"].numpy()
    rows_N = np.isin(classes_N, among)
    classes_N = classes_N[rows_N]
    statistic = Concordance(found[column].double().numpy()[rows_N], classes_N == code)
    weights = Resampling(len(classes_N), classes=classes_N).weights(REPLICATES, seed)
    value = float(statistic(np.ones((1, len(classes_N))))[0])
    return Drawn(value, np.concatenate([statistic(weights_BN) for weights_BN in weights]))


def of_bags(study: Study, networks: Sequence[Scores], column: str) -> list[Drawn]:
    """AUROC of samples asked to be bags against all others, of each network."""
    return [drawn(one, column, BAG, range(CLASSES), study.first_seed + number) for number, one in enumerate(networks)]


def above(ours: Sequence[Drawn], control: Sequence[Drawn]) -> Pooled:
    """How much higher it is than with the control's networks, over the networks."""
    pairs = zip(ours, control, strict=True)
    return known(pooled([Drawn(a.value - b.value, a.replicates_R - b.replicates_R) for a, b in pairs]))


def known(found: Pooled | Undefined) -> Pooled:
    assert isinstance(found, Pooled), found
    return found


def of_other_classes(ours: Sequence[Scores], control: Sequence[Scores], column: str) -> list[float]:
    """The same difference for each class that nothing was taken from, against the rest of them."""

    def mean(networks: Sequence[Scores], code: int) -> float:
        return float(np.mean([value_of(one, column, code) for one in networks]))

    return [mean(ours, code) - mean(control, code) for code in OTHERS]


def value_of(found: Scores, column: str, code: int) -> float:
    classes_N = found["class"].numpy()
    rows_N = np.isin(classes_N, OTHERS)
    statistic = Concordance(found[column].double().numpy()[rows_N], classes_N[rows_N] == code)
    return float(statistic(np.ones((1, int(rows_N.sum()))))[0])


def table(study: Study, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    """The lines of a table."""
    return [
        f"{study.samples} samples of each network, half of them asked to be bags, seeds {study.first_seed} to "
        f"{study.first_seed + NETWORKS - 1}; DPM-Solver++(2M), {STEPS} steps, no guidance.",
        *("", "## What they draw", "", "Share of samples in which the judge sees the class that was asked for.", ""),
        *drawings(found),
        *("", "## AUROC of samples asked to be bags", ""),
        *aurocs(study, found),
        *("", "## Above the networks that saw all", ""),
        *differences(study, found),
    ]


def drawings(found: Mapping[str, Sequence[Scores]]) -> list[str]:
    rows = ["| networks | asked to be bags | asked for another class |", "|---|---|---|"]
    for condition, networks in found.items():
        asked, seen = (torch.cat([one[name] for one in networks]) for name in ("class", "judged"))
        cells = [share(seen[kind] == asked[kind]) for kind in (asked == BAG, asked != BAG)]
        rows.append(f"| {condition} | {' | '.join(cells)} |")
    return rows


def share(hits: Tensor) -> str:
    found = wilson_interval(int(hits.sum()), len(hits))
    assert isinstance(found, Interval)
    return cell(found)


def aurocs(study: Study, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    rows = [f"| score | evaluations | {' | '.join(found)} |", f"|---|---|{'---|' * len(found)}"]
    for name, column in COLUMNS.items():
        cells = [
            cell(known(pooled(of_bags(study, networks, name))).interval) if name in networks[0] else "–"
            for networks in found.values()
        ]
        rows.append(f"| {column.label} | {column.evaluations} | {' | '.join(cells)} |")
    return rows


def differences(study: Study, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    seen = found[study.control]
    control = {name: of_bags(study, seen, name) for name in COLUMNS if name in seen[0]}
    compared = {
        (condition, name): above(of_bags(study, found[condition], name), control[name])
        for condition in STARVED
        for name in control
    }
    declared = DECLARED[study.control]
    adjusted = dict(zip(declared, holm([compared[key].p() for key in declared]), strict=True))
    rows = ["| networks | score | difference | p | other classes |", "|---|---|---|---|---|"]
    for (condition, name), one in compared.items():
        moves = of_other_classes(found[condition], seen, name)
        p = f"{adjusted[condition, name]:.3f} (Holm)" if (condition, name) in adjusted else "not declared"
        others = f"{min(moves):+.3f} to {max(moves):+.3f}"
        rows.append(f"| {condition} | {COLUMNS[name].label} | {cell(one.student, '+')} | {p} | {others} |")
    return rows


def cell(found: Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


if __name__ == "__main__":
    main()

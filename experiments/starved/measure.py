"""Does any score see that a network hardly saw, or never saw, the class that it was asked for?

python experiments/starved/measure.py --samples 576

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
from genuq.models import GenerativeModel, Sampler, to_bytes, to_unit
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
    lid,
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
BAG, CLASSES, STEPS, REPLICATES, FIRST_SEED = 8, 10, 10, 2000, 20_000
STARVED, SEEN = ("starved", "unseen"), "all"  # as the shipped networks are called; those that saw all have no such name
NETWORKS = 3  # of each kind
OTHERS = [code for code in range(CLASSES) if code != BAG]
ASKED = [code for other in OTHERS for code in (BAG, other)]  # every other sample is to be a bag


@dataclass(frozen=True)
class Column:
    """A score: what a reader is shown, its evaluations beside those of sampling, and whether it was declared."""

    label: str
    evaluations: int
    declared: bool = False


WEAK = "weak_model_gap"
COLUMNS = {
    "path_early": Column("Disagreement at an early point of the path (0.3)", 2, True),
    "path_last": Column("Disagreement at the path's last point", 2),
    "renoised": Column("Re-noised disagreement (0.3)", 12, True),
    "regenerations": Column("Generative uncertainty, two regenerations", 20, True),
    "guidance_gap": Column("Guidance gap", 2, True),
    "lid": Column("Re-noising loss (LID, 0.3)", 4),
    WEAK: Column("Weak-model gap", 3),
    "png": Column("Image complexity", 0),
}
ON_PATH: dict[str, Callable[..., Tensor]] = {
    "path_early": partial(path_disagreement, points=(0.3,)),
    "path_last": path_disagreement,
    "guidance_gap": guidance_gap,
    WEAK: weak_model_gap,
}
OF_FINISHED: dict[str, Callable[..., Tensor]] = {
    "renoised": renoised_disagreement,
    "lid": partial(lid, times=(0.3,)),
}
Scores = Mapping[str, Tensor]  # of one network, by column, with `class` and `judged`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=576, help="of each of the nine networks")
    samples = parser.parse_args().samples
    machine.prepare()
    found = {condition: of_condition(condition, samples) for condition in (*STARVED, SEEN)}
    files.write_text(HERE / "table.md", "\n".join(table(found, samples)) + "\n")


# Samples and their scores


def of_condition(condition: str, samples: int) -> list[Scores]:
    """The scores of each of three networks, of which the other two are the members."""
    name = NAME if condition == SEEN else f"{NAME}_{condition}"
    paths = [reference_path(name), *reference_members(name, "deep_ensemble")][:NETWORKS]
    weak = None if condition == SEEN else reference_path(f"{name}_early")
    return [kept(condition, number, samples, paths, weak) for number in range(NETWORKS)]


def kept(condition: str, number: int, samples: int, paths: Sequence[Path], weak: Path | None) -> Scores:
    """The scores of one network, made once."""
    path = KEPT / f"{condition}-{number}-{samples}.safetensors"
    if not path.exists():
        sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, seed=FIRST_SEED + number, classes=ASKED)
        others = [one for place, one in enumerate(paths) if place != number]
        files.write_tensors(path, scored(paths[number], others, weak, sampler, samples, f"{condition}, {number}"))
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
    versions = torch.cat([part.pop("versions") for part in parts])
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    likelihood = PixelLikelihood(model.shape)
    return found | {"regenerations": likelihood.uncertainty(likelihood.embed(versions))}


def of_batch(model: GenerativeModel, sampler: Sampler, batch: Sequence[int], resources: Resources) -> dict[str, Tensor]:
    """The columns of some samples; in place of that of regenerations, `versions` (B, 1 + M, ...) of them in [0, 1]."""
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
        "versions": to_unit(torch.cat([made.samples[:, None], drawn], 1)),
    }


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


def of_bags(networks: Sequence[Scores], column: str) -> list[Drawn]:
    """AUROC of samples asked to be bags against all others, of each network."""
    return [drawn(one, column, BAG, range(CLASSES), FIRST_SEED + number) for number, one in enumerate(networks)]


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


def table(found: Mapping[str, Sequence[Scores]], samples: int) -> list[str]:
    """The lines of table.md."""
    return [
        f"`python experiments/starved/measure.py --samples {samples}`: {samples} samples of each network, half of them "
        f"asked to be bags; DPM-Solver++(2M), {STEPS} steps, no guidance.",
        *("", "## What they draw", "", "Share of samples in which the judge sees the class that was asked for.", ""),
        *drawings(found),
        *("", "## AUROC of samples asked to be bags", ""),
        *aurocs(found),
        *("", "## Above the networks that saw all", ""),
        *differences(found),
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


def aurocs(found: Mapping[str, Sequence[Scores]]) -> list[str]:
    rows = [f"| score | evaluations | {' | '.join(found)} |", f"|---|---|{'---|' * len(found)}"]
    for name, column in COLUMNS.items():
        cells = [
            cell(known(pooled(of_bags(networks, name))).interval) if name in networks[0] else "–"
            for networks in found.values()
        ]
        rows.append(f"| {column.label} | {column.evaluations} | {' | '.join(cells)} |")
    return rows


def differences(found: Mapping[str, Sequence[Scores]]) -> list[str]:
    control = {name: of_bags(found[SEEN], name) for name in COLUMNS if name in found[SEEN][0]}
    compared = {
        (condition, name): above(of_bags(found[condition], name), control[name])
        for condition in STARVED
        for name in control
    }
    declared = [key for key in compared if COLUMNS[key[1]].declared]
    adjusted = dict(zip(declared, holm([compared[key].p() for key in declared]), strict=True))
    rows = ["| networks | score | difference | p | other classes |", "|---|---|---|---|---|"]
    for (condition, name), one in compared.items():
        moves = of_other_classes(found[condition], found[SEEN], name)
        p = f"{adjusted[condition, name]:.3f} (Holm)" if (condition, name) in adjusted else "not declared"
        others = f"{min(moves):+.3f} to {max(moves):+.3f}"
        rows.append(f"| {condition} | {COLUMNS[name].label} | {cell(one.student, '+')} | {p} | {others} |")
    return rows


def cell(found: Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


if __name__ == "__main__":
    main()

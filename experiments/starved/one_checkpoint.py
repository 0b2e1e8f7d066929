"""Does a posterior that is made after the training see what the network hardly saw, or never saw?

python experiments/starved/one_checkpoint.py      # one_checkpoint.md

Goes on where it was stopped: fine-tunings and the scores of each network are kept in outputs/starved/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from measure import ASKED, HERE, KEPT, NAME, NETWORKS, SEEN, STARVED, STEPS, Scores, Study, above, cell, known, of_bags
from rich.progress import track
from torch import Tensor

import genuq
from genuq import data, files, machine, solvers
from genuq.analysis import holm
from genuq.analysis.hierarchy import Pooled, pooled
from genuq.data import Dataset
from genuq.models import GenerativeModel, Sampler
from genuq.models.checkpoints import checkpoint_weights, load_model, reference_members, reference_path
from genuq.parallel.hardware import Hardware
from genuq.posteriors import DeepEnsemble, Posterior, Scale, isotropic_like
from genuq.scores import Resources, path_disagreement, renoised_disagreement, score_together
from genuq.scores.shared import MAIN, Probe, fresh

DRAWS = 2  # as many as there are other networks of a kind
SHARES = {STARVED[0]: {"Bag": 0.01}, STARVED[1]: {"Bag": 0.0}, SEEN: {}}  # of a class, that the networks of a kind saw
LAST_LAYER, ALL_LAYERS, FINETUNED, TRAINED = "exact_laplace", "kfac", "finetuned", "trained"
NOISE = {ALL_LAYERS: "noise_like_kfac", FINETUNED: "noise_like_finetuned"}  # isotropic, of that posterior's size
POSTERIORS = {
    LAST_LAYER: "Exact Laplace of the last layer",
    ALL_LAYERS: "KFAC over all layers",
    NOISE[ALL_LAYERS]: "Isotropic noise of its size",
    FINETUNED: "Two fine-tunings of 150 steps",
    NOISE[FINETUNED]: "Isotropic noise of their size",
    TRAINED: "Two independent trainings",
}
EARLY, RENOISED = "path_early", "renoised"
SCORES = {EARLY: "Disagreement at an early point of the path (0.3)", RENOISED: "Re-noised disagreement (0.3)"}
FROM_ONE = (LAST_LAYER, ALL_LAYERS, FINETUNED)  # posteriors that one checkpoint is enough for
ABOVE_SEEN = [(posterior, score) for posterior in FROM_ONE for score in SCORES]
ABOVE_NOISE = [(posterior, score) for posterior in NOISE for score in SCORES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=576, help="of each of the nine networks")
    parser.add_argument("--first-seed", type=int, default=70_000, help="of the first network of each kind")
    parser.add_argument("--out", default="one_checkpoint.md", help="name of the table")
    asked = parser.parse_args()
    study = Study(SEEN, asked.samples, asked.first_seed)
    machine.prepare()
    found = {
        condition: [kept(study, condition, number) for number in range(NETWORKS)] for condition in study.conditions
    }
    files.write_text(HERE / asked.out, "\n".join(table(study, found)) + "\n")


# Posteriors, samples and their scores


def kept(study: Study, condition: str, number: int) -> Scores:
    """The scores of one network under every posterior, made once."""
    seed = study.first_seed + number
    path = KEPT / f"one-{condition}-{seed}-{study.samples}.safetensors"
    if not path.exists():
        sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, seed=seed, classes=ASKED)
        files.write_tensors(path, scored(condition, number, sampler, study.samples))
    return files.read_tensors(path)[0]


def scored(condition: str, number: int, sampler: Sampler, samples: int) -> dict[str, Tensor]:
    paths = [reference_path(f"{NAME}_{condition}"), *reference_members(f"{NAME}_{condition}", "deep_ensemble")]
    model = load_model(paths[number])[0]
    others = [path for place, path in enumerate(paths[:NETWORKS]) if place != number]
    shown = data.starved(data.fashion_mnist("train"), SHARES[condition], seed=0)  # as in their training
    posteriors = made(model, shown, others, KEPT / f"finetuned-{condition}-{number}", number)
    batches = torch.arange(samples).split(sampler.batch_size)
    parts = [of_batch(model, sampler, batch.tolist(), posteriors) for batch in track(batches, f"{condition}, {number}")]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def made(
    model: GenerativeModel, shown: Dataset, others: Sequence[Path], folder: Path, number: int
) -> Mapping[str, Posterior]:
    """All posteriors around one network.

    Args:
        shown: the training set that it saw.
        others: checkpoints of independent trainings on it.
        folder: where fine-tunings are kept.
        number: of the network, which keys its fits.
    """
    trained = DeepEnsemble(model.network)
    for other in others:
        trained.update(checkpoint_weights(other, model))
    trained.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=1.0))
    hardware = Hardware(accelerator="cpu", precision="bf16-mixed")
    found: dict[str, Posterior] = {
        **{kind: genuq.fit(model, shown, kind, seed=number).posterior for kind in (LAST_LAYER, ALL_LAYERS)},
        FINETUNED: genuq.finetune_ensemble(model, shown, folder, members=DRAWS, seed=number, hardware=hardware),
        TRAINED: trained,
    }
    return found | {noise: isotropic_like(found[like], model.network) for like, noise in NOISE.items()}


def of_batch(
    model: GenerativeModel, sampler: Sampler, batch: Sequence[int], posteriors: Mapping[str, Posterior]
) -> dict[str, Tensor]:
    """The columns of some samples: the class asked for, and each score under each posterior."""
    classes = sampler.classes_of(model, batch)
    assert classes is not None
    found = {"class": classes}
    for name, posterior in posteriors.items():
        resources = Resources({MAIN: posterior}, DRAWS)
        path = fresh(model, sampler, batch, "path", resources)
        probe = Probe(model, path.samples, batch, sampler.seed, classes, resources)
        early: dict[str, Callable[..., Tensor]] = {EARLY: partial(path_disagreement, points=(0.3,))}
        found[f"{name}/{EARLY}"] = score_together(path.predictions, early).values[EARLY]
        found[f"{name}/{RENOISED}"] = score_together(probe, {RENOISED: renoised_disagreement}).values[RENOISED]
    return found


# What they say


def table(study: Study, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    """The lines of the table."""
    lines = [
        f"{study.samples} samples of each network, half of them asked to be bags, seeds {study.first_seed} to "
        f"{study.first_seed + NETWORKS - 1}; DPM-Solver++(2M), {STEPS} steps, no guidance; {DRAWS} draws each."
    ]
    of_seen, of_noise = (against(study, found, pairs) for pairs in (ABOVE_SEEN, ABOVE_NOISE))
    adjusted = holm([one.p() for one in (*of_seen.values(), *of_noise.values())])
    for score, label in SCORES.items():
        lines += ["", f"## {label}", "", "AUROC of samples asked to be bags.", "", *aurocs(study, found, score)]
    lines += ["", "## Declared", "", "Of networks that hardly saw the class.", ""]
    lines += ["| posterior | score | above | difference | p (Holm) |", "|---|---|---|---|---|"]
    rows = [(key, "networks that saw the class", one) for key, one in of_seen.items()]
    rows += [(key, "isotropic noise of its size", one) for key, one in of_noise.items()]
    for ((posterior, score), rival, one), p in zip(rows, adjusted, strict=True):
        lines.append(f"| {POSTERIORS[posterior]} | {SCORES[score]} | {rival} | {cell(one.student, '+')} | {p:.3f} |")
    return lines


def against(
    study: Study, found: Mapping[str, Sequence[Scores]], pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Pooled]:
    """How much higher the AUROC is on the networks that hardly saw the class than the rival's: of posteriors in
    `ABOVE_NOISE` that of noise of their size, of the others their own on networks that saw the class."""
    ours, seen = found[STARVED[0]], found[SEEN]

    def rival(posterior: str) -> tuple[Sequence[Scores], str]:
        return (ours, NOISE[posterior]) if pairs is ABOVE_NOISE else (seen, posterior)

    return {
        (posterior, score): above(
            of_bags(study, ours, f"{posterior}/{score}"),
            of_bags(study, rival(posterior)[0], f"{rival(posterior)[1]}/{score}"),
        )
        for posterior, score in pairs
    }


def aurocs(study: Study, found: Mapping[str, Sequence[Scores]], score: str) -> list[str]:
    rows = [f"| posterior | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for name, label in POSTERIORS.items():
        cells = [
            cell(known(pooled(of_bags(study, networks, f"{name}/{score}"))).interval) for networks in found.values()
        ]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()

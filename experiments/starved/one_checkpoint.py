"""Does a posterior that is made after the training see what the network hardly saw, or never saw?

python experiments/starved/one_checkpoint.py             # one_checkpoint.md
python experiments/starved/one_checkpoint.py kfac        # one_checkpoint_kfac.md

Goes on where it was stopped: fine-tunings and the scores of each network are kept in outputs/starved/.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from measure import ASKED, HERE, KEPT, NAME, NETWORKS, SEEN, STARVED, STEPS, Scores, Study, above, cell, known, of_bags
from rich.progress import track
from torch import Tensor

import genuq
from genuq import data, files, machine, solvers
from genuq.analysis import holm
from genuq.analysis.hierarchy import Drawn, Pooled, pooled
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


@dataclass(frozen=True)
class Plan(Study):
    """One run of this study.

    Attributes:
        networks: of each kind.
        kinds: of networks.
        posteriors: around each of them.
    """

    networks: int
    kinds: tuple[str, ...]
    posteriors: tuple[str, ...]

    @property
    def above_seen(self) -> list[tuple[str, str]]:
        return [(name, score) for name in self.posteriors if name in FROM_ONE for score in SCORES]

    @property
    def above_noise(self) -> list[tuple[str, str]]:
        return [(name, score) for name in self.posteriors if name in NOISE for score in SCORES]


ALL_OF_THEM = "all"
PLANS = {
    ALL_OF_THEM: Plan(SEEN, 576, 70_000, NETWORKS, (*STARVED, SEEN), tuple(POSTERIORS)),
    ALL_LAYERS: Plan(SEEN, 576, 72_000, 6, (STARVED[0], SEEN), (ALL_LAYERS, NOISE[ALL_LAYERS], TRAINED)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", nargs="?", choices=PLANS, default=ALL_OF_THEM)
    parser.add_argument("--samples", type=int, help="of each network")
    parser.add_argument("--first-seed", type=int, help="of the first network of each kind")
    parser.add_argument("--out", help="name of the table")
    asked = parser.parse_args()
    plan = PLANS[asked.plan]
    plan = replace(plan, samples=asked.samples or plan.samples, first_seed=asked.first_seed or plan.first_seed)
    machine.prepare()
    found = {kind: [kept(plan, kind, number) for number in range(plan.networks)] for kind in plan.kinds}
    name = "one_checkpoint" if asked.plan == ALL_OF_THEM else f"one_checkpoint_{asked.plan}"
    files.write_text(HERE / (asked.out or f"{name}.md"), "\n".join(table(plan, found)) + "\n")


# Posteriors, samples and their scores


def kept(plan: Plan, kind: str, number: int) -> Scores:
    """The scores of one network under every posterior, made once."""
    seed = plan.first_seed + number
    path = KEPT / f"one-{kind}-{seed}-{plan.samples}.safetensors"
    if not path.exists():
        sampler = Sampler(solvers.build("dpm_solver_pp_2m"), STEPS, seed=seed, classes=ASKED)
        files.write_tensors(path, scored(plan, kind, number, sampler))
    return files.read_tensors(path)[0]


def scored(plan: Plan, kind: str, number: int, sampler: Sampler) -> dict[str, Tensor]:
    paths = [reference_path(f"{NAME}_{kind}"), *reference_members(f"{NAME}_{kind}", "deep_ensemble")][: plan.networks]
    model = load_model(paths[number])[0]
    others = [paths[(number + step) % plan.networks] for step in range(1, 1 + DRAWS)]
    shown = data.starved(data.fashion_mnist("train"), SHARES[kind], seed=0)  # as in their training
    posteriors = made(plan.posteriors, model, shown, others, KEPT / f"finetuned-{kind}-{number}", number)
    batches = torch.arange(plan.samples).split(sampler.batch_size)
    parts = [of_batch(model, sampler, batch.tolist(), posteriors) for batch in track(batches, f"{kind}, {number}")]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def made(
    names: Sequence[str], model: GenerativeModel, shown: Dataset, others: Sequence[Path], folder: Path, number: int
) -> Mapping[str, Posterior]:
    """Posteriors around one network.

    Args:
        shown: the training set that it saw.
        others: checkpoints of independent trainings on it.
        folder: where fine-tunings are kept.
        number: of the network, which keys its fits.
    """
    hardware = Hardware(accelerator="cpu", precision="bf16-mixed")
    makers: dict[str, Callable[[], Posterior]] = {
        LAST_LAYER: lambda: genuq.fit(model, shown, LAST_LAYER, seed=number).posterior,
        ALL_LAYERS: lambda: genuq.fit(model, shown, ALL_LAYERS, seed=number).posterior,
        FINETUNED: lambda: genuq.finetune_ensemble(model, shown, folder, members=DRAWS, seed=number, hardware=hardware),
        TRAINED: lambda: independent(model, others),
    }
    found = {name: makers[name]() for name in names if name in makers}
    noise = {name: isotropic_like(found[like], model.network) for like, name in NOISE.items() if name in names}
    return found | noise


def independent(model: GenerativeModel, others: Sequence[Path]) -> Posterior:
    trained = DeepEnsemble(model.network)
    for other in others:
        trained.update(checkpoint_weights(other, model))
    trained.finalise(Scale(n_effective=1, observation_noise=1.0, prior_precision=1.0))
    return trained


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


def table(plan: Plan, found: Mapping[str, Sequence[Scores]]) -> list[str]:
    """The lines of the table."""
    lines = [
        f"{plan.samples} samples of each network, half of them asked to be bags, seeds {plan.first_seed} to "
        f"{plan.first_seed + plan.networks - 1}; DPM-Solver++(2M), {STEPS} steps, no guidance; {DRAWS} draws each."
    ]
    of_seen = against(plan, found, plan.above_seen, lambda posterior: (SEEN, posterior))
    of_noise = against(plan, found, plan.above_noise, lambda posterior: (STARVED[0], NOISE[posterior]))
    adjusted = holm([one.p() for one in (*of_seen.values(), *of_noise.values())])
    for score, label in SCORES.items():
        lines += ["", f"## {label}", "", "AUROC of samples asked to be bags.", "", *aurocs(plan, found, score)]
    lines += ["", "## Declared", "", "Of networks that hardly saw the class.", ""]
    lines += ["| posterior | score | above | difference | p (Holm) |", "|---|---|---|---|---|"]
    rows = [(key, "networks that saw the class", one) for key, one in of_seen.items()]
    rows += [(key, "isotropic noise of its size", one) for key, one in of_noise.items()]
    for ((posterior, score), rival, one), p in zip(rows, adjusted, strict=True):
        lines.append(f"| {POSTERIORS[posterior]} | {SCORES[score]} | {rival} | {cell(one.student, '+')} | {p:.3f} |")
    return lines


def against(
    plan: Plan,
    found: Mapping[str, Sequence[Scores]],
    pairs: Sequence[tuple[str, str]],
    rival: Callable[[str], tuple[str, str]],
) -> dict[tuple[str, str], Pooled]:
    """How much higher each AUROC is, on networks that hardly saw the class, than its rival's.

    Args:
        rival: the kind of networks and the posterior that one is compared with.
    """

    def aurocs_of(kind: str, posterior: str, score: str) -> list[Drawn]:
        return of_bags(plan, found[kind], f"{posterior}/{score}")

    return {
        (posterior, score): above(aurocs_of(STARVED[0], posterior, score), aurocs_of(*rival(posterior), score))
        for posterior, score in pairs
    }


def aurocs(plan: Plan, found: Mapping[str, Sequence[Scores]], score: str) -> list[str]:
    rows = [f"| posterior | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for name in plan.posteriors:
        cells = [
            cell(known(pooled(of_bags(plan, networks, f"{name}/{score}"))).interval) for networks in found.values()
        ]
        rows.append(f"| {POSTERIORS[name]} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()

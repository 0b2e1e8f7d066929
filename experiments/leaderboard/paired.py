"""Two settings on the same samples: which finds more bad ones? README.md says what each study decides.

python experiments/leaderboard/paired.py lid_noisings --out FOLDER     # a quarter of an hour on one core
python experiments/leaderboard/paired.py posterior --out FOLDER
python experiments/leaderboard/paired.py lid_of_images --out FOLDER

Goes on where it was stopped: finished runs are kept in FOLDER.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from genuq.analysis.detection import Concordance
from genuq.analysis.hierarchy import TrainingSeed, hierarchical_interval
from genuq.analysis.intervals import Interval
from genuq.analysis.resampling import Resampling
from genuq.data import load

REFERENCE = Path(str(package_files("genuq") / "reference"))
FITTED = "stages=[fit,sample,probe,embed,score,evaluate]"
TRAINED = "stages=[train,fit,sample,probe,embed,score,evaluate]"
COMMON = (
    *("score.controls=[random]", "logger=none"),
    *("metric.bootstrap=20", "metric.half_samples=3", "metric.random_repeats=3"),
)

ANY, BROKEN, RULE = "", "broken", "rule broken"


class Case(NamedTuple):
    """One network of a data set."""

    data: str
    seed: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Two settings that are compared, and what is asked of them.

    Attributes:
        cases: the networks.
        settings: of every run.
        ours, theirs: a name and the overrides of each.
        scores: whose AUROC is compared.
        samples: of each network.
        faults: which samples are bad, a row each: `ANY`, `BROKEN` or `RULE`, always against good ones.
    """

    cases: Callable[[], Iterator[Case]]
    settings: tuple[str, ...]
    ours: tuple[str, tuple[str, ...]]
    theirs: tuple[str, tuple[str, ...]]
    scores: tuple[str, ...]
    samples: int
    faults: tuple[str, ...] = (ANY,)


def shipped(data: str, seeds: Sequence[int], members: Sequence[str]) -> Iterator[Case]:
    """The networks of a data set that ship, by what their names end on."""
    for seed, member in zip(seeds, members, strict=True):
        checkpoint = f"model.checkpoint={REFERENCE}/flow_matching_{data}{member}.safetensors"
        yield Case(
            data, seed, (f"experiment={data}", checkpoint, FITTED, "sampler=dpm_solver_pp_2m", "sampler.steps=10")
        )


def trained(data: str, seeds: Sequence[int]) -> Iterator[Case]:
    for seed in seeds:
        yield Case(data, seed, (f"experiment={data}", TRAINED, "sampler=euler", "sampler.steps=25"))


def of_noisings() -> Iterator[Case]:
    seeds = (31000, 32000, 33000)
    yield from shipped("glyphs", seeds, ("", "_deep_ensemble_0", "_deep_ensemble_2"))
    yield from trained("mixture_d2", seeds)
    yield from trained("mixture_d8", seeds)


def of_posteriors() -> Iterator[Case]:
    for data in ("glyphs", "shapes", "triangles"):
        yield from shipped(data, (51000, 52000, 53000), ("", "_deep_ensemble_0", "_deep_ensemble_1"))


def of_times() -> Iterator[Case]:
    for data in ("glyphs", "shapes", "triangles"):
        yield from shipped(data, (81000, 82000, 83000), [f"_deep_ensemble_{k}" for k in (2, 3, 4)])


STUDIES = {
    "lid_noisings": Study(
        cases=of_noisings,
        settings=("posterior=map", "score=lid", "score.also=[]", "score.lid_times=[0.3]"),
        ours=("two noisings", ("score.probe_noisings=2",)),
        theirs=("four", ("score.probe_noisings=4",)),
        scores=("lid",),
        samples=2048,
    ),
    "posterior": Study(
        cases=of_posteriors,
        settings=("score=path_disagreement", "score.also=[renoised_disagreement]", "score.renoised_times=[0.3]"),
        ours=("KFAC over all layers", ("posterior=kfac", "posterior.draws=3")),
        theirs=("exact Laplace of the last", ("posterior=exact_laplace", "posterior.draws=3")),
        scores=("path_disagreement", "renoised_disagreement"),
        samples=1536,
        faults=(BROKEN,),
    ),
    "lid_of_images": Study(
        cases=of_times,
        settings=("posterior=map", "score=lid", "score.also=[]", "score.probe_noisings=4"),
        ours=("at 0.5", ("score.lid_times=[0.5]",)),
        theirs=("at 0.3", ("score.lid_times=[0.3]",)),
        scores=("lid",),
        samples=1536,
        faults=(BROKEN, RULE),
    ),
}


class Found(NamedTuple):
    """Scores (N,) of the samples that count, and which of them are bad; one for each kind of fault."""

    scores: dict[str, np.ndarray]
    bad: np.ndarray


Side = dict[str, Found]  # by fault


def run(study: Study, case: Case, side: tuple[str, tuple[str, ...]], samples: int, out: Path) -> Side:
    """One run; the second of a case finds its network and its samples in the store."""
    name = f"{case.data}_{case.seed}_{side[0].replace(' ', '_')}"
    asked = (*case.settings, *COMMON, *study.settings, *side[1], f"sampler.samples={samples}")
    where = (f"seed={case.seed}", f"name={name}", f"store={out}/store", f"hydra.run.dir={out}/{name}")
    genuq = "import sys; from genuq.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", genuq, *asked, *where], check=True, cwd=out)
    found = load_file(out / name / "evaluate" / "samples.safetensors")
    return {fault: of_fault(found, fault, case.data, study.scores) for fault in study.faults}


def of_fault(found: Mapping[str, np.ndarray], fault: str, data: str, scores: Sequence[str]) -> Found:
    bad = found["bad"] > 0
    kinds = {ANY: lambda: bad, BROKEN: lambda: bad & broken(found, data), RULE: lambda: bad & ~broken(found, data)}
    wanted = kinds[fault]()
    counted = wanted | ~bad
    return Found({score: found[f"score_{score}"][counted] for score in scores}, wanted[counted])


def broken(found: Mapping[str, np.ndarray], data: str) -> np.ndarray:
    """Of an image whose rule is broken alone no part has more wrong pixels than are tolerated."""
    return found["defect_size"] > tolerance(data)


def tolerance(data: str) -> float:
    """Wrong pixels of the worst part that are no defect."""
    oracle = load(data).oracle
    assert oracle is not None
    return oracle.tolerance


def difference(ours: np.ndarray, theirs: np.ndarray, bad: np.ndarray) -> TrainingSeed:
    first, second = (Concordance(values, bad) for values in (ours, theirs))
    return TrainingSeed(lambda weights_BN: first(weights_BN) - second(weights_BN), Resampling(len(bad)))


def auroc(values: np.ndarray, bad: np.ndarray) -> float:
    return float(Concordance(values, bad)(np.ones((1, len(bad))))[0])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("study", choices=STUDIES)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--samples", type=int, help="of each network")
    given = options.parse_args()
    study, out = STUDIES[given.study], given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pairs: dict[str, list[tuple[Side, Side]]] = {}
    for case in study.cases():
        sides = [run(study, case, side, given.samples or study.samples, out) for side in (study.ours, study.theirs)]
        pairs.setdefault(case.data, []).append((sides[0], sides[1]))
    print(f"| | bad | {study.ours[0]} | {study.theirs[0]} | difference |\n|---|---|---|---|---|")
    for data, found in pairs.items():
        for fault, score in product(study.faults, study.scores):
            label = ", ".join(part for part in (data, fault, score) if part)
            print(row(label, [(ours[fault], theirs[fault]) for ours, theirs in found], score))


def row(label: str, found: Sequence[tuple[Found, Found]], score: str) -> str:
    """The AUROCs, means over the networks, and their difference over networks and samples."""
    moved = hierarchical_interval([difference(us.scores[score], them.scores[score], us.bad) for us, them in found])
    assert isinstance(moved, Interval), moved
    means = [np.mean([auroc(side.scores[score], side.bad) for side in sides]) for sides in zip(*found, strict=True)]
    bad, counted = (sum(measure(us.bad) for us, _ in found) for measure in (np.sum, np.size))
    cells = (f"{bad} of {counted}", *(f"{mean:.3f}" for mean in means))
    return f"| {label} | {' | '.join(cells)} | {moved.value:+.3f} [{moved.low:+.3f}, {moved.high:+.3f}] |"


if __name__ == "__main__":
    main()

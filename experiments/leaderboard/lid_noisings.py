"""Does LID at two noisings find as many bad samples as at four? Same samples, paired; README.md says what it decides.

python experiments/leaderboard/lid_noisings.py --out FOLDER     # a quarter of an hour on one core
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from genuq.analysis.detection import Concordance
from genuq.analysis.hierarchy import TrainingSeed, hierarchical_interval
from genuq.analysis.intervals import Interval
from genuq.analysis.resampling import Resampling

REFERENCE = Path(str(package_files("genuq") / "reference"))
GLYPHS = ("flow_matching_glyphs", "flow_matching_glyphs_deep_ensemble_0", "flow_matching_glyphs_deep_ensemble_2")
SEEDS = (31000, 32000, 33000)
FEW, MANY = 2, 4
LEAST = -0.01  # of the difference's interval, for the few to be enough
COMMON = (
    *("posterior=map", "score=lid", "score.also=[]", "score.lid_times=[0.3]", "score.controls=[random]", "logger=none"),
    *("metric.bootstrap=20", "metric.half_samples=3", "metric.random_repeats=3"),
)


class Case(NamedTuple):
    """One network of a data set."""

    data: str
    seed: int
    settings: tuple[str, ...]


def cases() -> Iterator[Case]:
    for seed, network in zip(SEEDS, GLYPHS, strict=True):
        checkpoint = f"model.checkpoint={REFERENCE}/{network}.safetensors"
        stages = "stages=[fit,sample,probe,embed,score,evaluate]"
        sampler = ("sampler=dpm_solver_pp_2m", "sampler.steps=10")
        yield Case("glyphs", seed, ("experiment=glyphs", checkpoint, stages, *sampler))
    for data in ("mixture_d2", "mixture_d8"):
        for seed in SEEDS:
            stages, sampler = (
                "stages=[train,fit,sample,probe,embed,score,evaluate]",
                ("sampler=euler", "sampler.steps=25"),
            )
            yield Case(data, seed, (f"experiment={data}", stages, *sampler))


def scored(case: Case, noisings: int, samples: int, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """(LID, bad) of the samples; the second run of a case finds its network and its samples in the store."""
    name = f"{case.data}_{case.seed}_{noisings}"
    asked = (*case.settings, *COMMON, f"score.probe_noisings={noisings}", f"sampler.samples={samples}")
    where = (f"seed={case.seed}", f"name={name}", f"store={out}/store", f"hydra.run.dir={out}/{name}")
    genuq = "import sys; from genuq.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", genuq, *asked, *where], check=True, cwd=out)
    found = load_file(out / name / "evaluate" / "samples.safetensors")
    return found["score_lid"], found["bad"]


def statistic(scores: tuple[np.ndarray, np.ndarray], bad: np.ndarray) -> TrainingSeed:
    few, many = (Concordance(values, bad > 0) for values in scores)
    return TrainingSeed(lambda weights_BN: few(weights_BN) - many(weights_BN), Resampling(len(bad)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--samples", type=int, default=2048)
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    seeds: dict[str, list[TrainingSeed]] = {}
    aurocs: dict[str, list[list[float]]] = {}
    for case in cases():
        (few, bad), (many, _) = (scored(case, count, given.samples, given.out.resolve()) for count in (FEW, MANY))
        seeds.setdefault(case.data, []).append(statistic((few, many), bad))
        every = np.ones((1, len(bad)))
        pair = [float(Concordance(values, bad > 0)(every)[0]) for values in (few, many)]
        aurocs.setdefault(case.data, []).append(pair)
    for data, ours in seeds.items():
        found = hierarchical_interval(ours)
        assert isinstance(found, Interval), found
        few, many = np.mean(aurocs[data], axis=0)
        verdict = "enough" if found.low > LEAST else "not shown to be enough"
        print(
            f"{data}: {FEW} noisings {few:.3f}, {MANY} noisings {many:.3f}, "
            f"difference {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]: {verdict}"
        )


if __name__ == "__main__":
    main()

"""A fit's passes: the sums of an uninterrupted fit in one process, whatever happened in between."""

import itertools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from genuq import files
from genuq.data import as_dataset
from genuq.errors import ArtefactError
from genuq.models import GenerativeModel
from genuq.parallel import collectives
from genuq.posteriors import FitSettings, ScaleOptions, fit_by
from genuq.posteriors.fitting.fitting import FitResult
from genuq.posteriors.fitting.passes import HeldOutPass, Pass, PassRunner
from genuq.posteriors.fitting.regression import RegressionBatches, regress
from support.programs import environment


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.head(torch.tanh(self.entry(x)))


def problem() -> tuple[GenerativeModel, Tensor]:
    torch.manual_seed(0)
    return GenerativeModel(Small().double(), (1, 6, 6)), torch.rand(40, 1, 6, 6).double() * 2 - 1


def in_double(model: GenerativeModel) -> GenerativeModel:
    model._call = lambda network, x, t, y: network(x.double(), t)
    return model


class KilledError(Exception):
    """In place of kill -9."""


class Dying:
    """A pass that ends after so many batches; what it had saved stays."""

    def __init__(self, part: Pass, batches: int) -> None:
        self.part, self.left = part, batches
        self.sums, self.restore = part.sums, part.restore
        self.running, self.resume = part.running, part.resume

    def add(self, *arguments: object) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1
        self.part.add(*arguments)  # type: ignore[arg-type]


def fit_in(folder: Path, settings: FitSettings, die_after: Mapping[str, int] | None = None) -> FitResult:
    (model, images), dying = problem(), die_after or {}

    def run(part: Pass, batches: RegressionBatches, name: str) -> None:
        part = Dying(part, dying[name]) if name in dying else part
        PassRunner(model, folder, "the fit", save_every=0.0).run(part, batches, name)

    return fit_by(run, in_double(model), as_dataset(images), settings)


SETTINGS = {
    "evidence": FitSettings(images=23, held_out=9, batch_size=4, repeats=2),
    "predictive, noise over time": FitSettings(
        images=23, held_out=9, batch_size=4, time_bins=3, scale=ScaleOptions(criterion="predictive")
    ),
    "kfac": FitSettings(kind="kfac", images=23, held_out=9, batch_size=4),
    "fewer batches than processes": FitSettings(images=23, held_out=9, batch_size=32),
}


def same(one: FitResult, two: FitResult) -> None:
    assert all(torch.equal(two.posterior.sums()[name], value) for name, value in one.posterior.sums().items())
    assert one.chosen.scale == two.chosen.scale and one.posterior.n_seen == two.posterior.n_seen


@pytest.mark.parametrize("name", SETTINGS)
def test_a_runner_sums_what_a_plain_loop_sums(name: str, tmp_path: Path) -> None:
    model, images = problem()

    def loop(part: Pass, batches: RegressionBatches, name: str) -> None:
        for number in range(len(batches)):
            part.add(model, regress(model, batches[number]))

    plain = fit_by(loop, in_double(model), as_dataset(images), SETTINGS[name])
    same(fit_in(tmp_path, SETTINGS[name]), plain)


@pytest.mark.parametrize(("where", "after"), [("curvature", 0), ("curvature", 3), ("held-out", 1), ("predictive", 2)])
def test_a_killed_fit_goes_on_where_it_stopped(where: str, after: int, tmp_path: Path) -> None:
    settings = SETTINGS["predictive, noise over time"]
    whole = fit_in(tmp_path / "whole", settings)
    with pytest.raises(KilledError):
        fit_in(tmp_path / "killed", settings, {where: after})
    done = {path.stem for path in (tmp_path / "killed").glob("*.safetensors")}
    assert after == 0 or f"{where}-0-of-1" in done
    batches = {"curvature": 6, "held-out": 3, "predictive": 3}
    again = fit_in(tmp_path / "killed", settings, {where: batches[where] - after})  # dies if it did one twice
    same(again, whole)


def test_sums_of_other_work_are_not_used(tmp_path: Path) -> None:
    settings = SETTINGS["evidence"]
    fit_in(tmp_path, settings)
    path = tmp_path / "curvature.safetensors"
    sums, metadata = files.read_tensors(path)
    files.write_tensors(path, {name: 2 * value for name, value in sums.items()}, metadata | {"identity": "another"})
    same(fit_in(tmp_path, settings), fit_in(tmp_path / "fresh", settings))


def test_broken_sums_are_named(tmp_path: Path) -> None:
    fit_in(tmp_path, SETTINGS["evidence"])
    path = tmp_path / "curvature.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtefactError, match=r"curvature\.safetensors is truncated"):
        fit_in(tmp_path, SETTINGS["evidence"])


@pytest.mark.parametrize(("total", "world"), [(7, 2), (8, 3), (1, 4), (5, 1)])
def test_every_batch_belongs_to_exactly_one_process(total: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_rank(rank: int, done: int = 0) -> list[int]:
        monkeypatch.setattr(collectives, "rank_and_count", lambda: (rank, world))
        return list(collectives.share(total, done))

    shares = [of_rank(rank) for rank in range(world)]
    assert sorted(itertools.chain(*shares)) == list(range(total))
    assert of_rank(0, done=1) == shares[0][1:]


def test_progress_counts_every_row_once(tmp_path: Path) -> None:
    model, images = problem()
    batches = RegressionBatches(as_dataset(images), range(22), (1, 6, 6), 4, 0, "rows")
    rows: list[int] = []
    part = HeldOutPass(in_double(model) and fit_in(tmp_path / "a", SETTINGS["evidence"]).posterior)
    PassRunner(model, tmp_path / "b", advance=rows.append).run(part, batches, "rows")
    assert sum(rows) == 22 and part.held_out.images == 22


TWO = """
import sys
from pathlib import Path
from test_resumed_passes import SETTINGS, in_double, problem
from genuq import machine
from genuq.data import as_dataset
from genuq.posteriors import fit_by
from genuq.parallel import collectives
from genuq.parallel.hardware import Hardware
from genuq.parallel.workers import connector
from genuq.posteriors.fitting.passes import PassRunner

machine.prepare()
connector(Hardware("cpu", devices=2)).launch()
for name, settings in SETTINGS.items():
    model, images = problem()
    folder = Path(sys.argv[1]) / name
    assert collectives.rank_and_count()[1] == 2
    result = fit_by(PassRunner(model, folder, "fit").run, in_double(model), as_dataset(images), settings)
    if collectives.is_first_process():
        result.posterior.save(folder / "posterior")
"""


@pytest.mark.slow
def test_two_processes_fit_what_one_fits(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    finished = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(__file__),
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name, settings in SETTINGS.items():
        one = fit_in(tmp_path / "one" / name, settings)
        model, _ = problem()
        module = model.head if one.posterior.scope == "head" else model.network
        two = type(one.posterior).load(tmp_path / name / "posterior", module)
        assert two.scale is not None and two.n_seen == one.posterior.n_seen
        assert vars(two.scale) == pytest.approx(vars(one.chosen.scale), rel=1e-9)
        for key, value in one.posterior.sums().items():
            assert float((two.sums()[key] - value).abs().max()) <= 1e-9 * float(value.abs().max())

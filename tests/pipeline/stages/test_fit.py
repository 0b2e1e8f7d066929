"""The stage `fit`: files of the posteriors under their names, and what is noted of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import files
from genuq.analysis.results import FitSummary
from genuq.entries import from_json
from genuq.models import GenerativeModel
from genuq.networks import MLP
from genuq.pipeline.posteriors import posterior_path
from genuq.pipeline.stages.fit import doubts_of, gather, summary_of
from genuq.posteriors import DoubtfulFitWarning, fit, prior_dominance
from support.posterior_oracles import point_data
from support.small_runs import POINTS, run_of


def test_posteriors_and_their_members_are_gathered_by_name(tmp_path: Path) -> None:
    for name in ("posterior.safetensors", "members/0.safetensors", "members/1.safetensors"):
        (tmp_path / "part" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "part" / name).write_text(name)
    gather(tmp_path / "part", tmp_path / "fit", "other")
    assert posterior_path(tmp_path / "fit", "other").read_text() == "posterior.safetensors"
    members = sorted(path.name for path in (tmp_path / "fit" / "other-members").iterdir())
    assert members == ["0.safetensors", "1.safetensors"]


def test_a_summary_is_plain_and_of_the_fit(tmp_path: Path) -> None:
    model = GenerativeModel(MLP((2,), width=8, depth=1), (2,))
    fitted = fit(model, point_data(), images=16, held_out=8)
    summary = summary_of(fitted)
    files.write_json(tmp_path / "summary.json", summary)
    scale = summary["scale"]
    assert summary["kind"] == fitted.posterior.kind == "exact_laplace" and scale["n_seen"] == 16
    assert scale["prior_precision"] == fitted.chosen.scale.prior_precision
    assert scale["relative_perturbation"] == pytest.approx(fitted.posterior.relative_perturbation())
    prior = prior_dominance(fitted.posterior)
    assert summary["dominance"]["effective_parameters"] == prior.effective_parameters
    written = files.read_json(tmp_path / "summary.json")
    assert from_json(FitSummary, written).dominance.trace_ratio == prior.trace_ratio
    del written["dominance"]  # as in the summaries of before
    assert from_json(FitSummary, written).dominance is None


def test_how_the_network_is_read_stands_in_the_summary_and_may_be_missing() -> None:
    model = GenerativeModel(MLP((2,), width=8, depth=1), (2,))
    model.network.head.bias.data.fill_(5.0)  # it was never trained, and answers far too much
    with pytest.warns(DoubtfulFitWarning, match="do not fit what it is read to predict"):
        fitted = fit(model, point_data(60), images=16, held_out=40)
    summary = summary_of(fitted)
    read = from_json(FitSummary, files.plain(summary))
    assert read.reading is not None and list(read.reading.slope) == fitted.reading.slope
    assert list(read.doubts) == list(fitted.doubts) and len(read.doubts) == 1
    assert doubts_of({"draws": summary, "other": summary}) == list(read.doubts)
    earlier = {key: value for key, value in files.plain(summary).items() if key not in ("reading", "doubts")}
    assert from_json(FitSummary, earlier).reading is None and doubts_of({"draws": earlier}) == []


def test_the_fits_file_is_that_of_the_posteriors_own_artefact(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    own = run.path("posterior.draws")
    assert posterior_path(run.path("fit"), "draws").read_bytes() == (own / "posterior.safetensors").read_bytes()
    notes = files.read_json(run.path("fit") / "manifest.json")["notes"]["posteriors"]
    assert notes == {"draws": files.read_json(own / "manifest.json")["notes"]}

"""The score table of one run, filtered and drawn, also with a million samples."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from genuq import files
from genuq.bench.tables import measured
from genuq.cli.main import subcommand
from genuq.cli.table import main


def make_scores(path, count: int, others: int = 2):
    """A score with a correlate, a rarity that is infinite in places, and columns that nobody asks for."""
    source = torch.Generator().manual_seed(0)
    realism = torch.rand(count, generator=source, dtype=torch.float64)
    entropy = torch.randn(count, generator=source, dtype=torch.float64) - 2 * realism
    rarity = torch.where(realism < 0.1, torch.inf, realism)
    columns = {"entropy": entropy, "realism": realism, "rarity": rarity}
    further = {f"other_{nth}": torch.rand(count, generator=source, dtype=torch.float64) for nth in range(others)}
    files.write_tensors(path, columns | further)
    return path


@pytest.fixture
def scores(tmp_path):
    return make_scores(tmp_path / "scores.safetensors", 2000)


def refused(capsys, *arguments) -> str:
    assert subcommand("table", [str(argument) for argument in arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_the_lowest_fraction_is_kept_and_its_mean_is_told(scores, tmp_path, capsys):
    out = tmp_path / "out"
    main(["--scores", str(scores), "--keep", "0.25", "--out", str(out)])
    columns, _ = files.read_tensors(scores)
    entropy, realism = columns["entropy"].numpy(), columns["realism"].numpy()
    lowest = np.sort(np.argsort(entropy)[:500])
    kept, metadata = files.read_tensors(out / "kept.safetensors")
    np.testing.assert_array_equal(kept["index"].numpy(), lowest)
    assert metadata == {"score": "entropy"}
    lines = {float(line["fraction"]): line for line in csv.DictReader((out / "scores.csv").open())}
    assert list(lines) == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25]
    assert float(lines[0.25]["mean"]) == pytest.approx(realism[lowest].mean(), rel=1e-12)
    assert float(lines[0.25]["gain"]) == pytest.approx(realism[lowest].mean() - realism.mean(), rel=1e-9)
    assert float(lines[0.25]["gain_low"]) < float(lines[0.25]["gain"]) < float(lines[0.25]["gain_high"])
    assert "Keeping the 500 of 2,000 samples with the lowest entropy" in capsys.readouterr().out
    names = {path.name for path in out.glob("figure-*")}
    assert names == {f"figure-{name}.{kind}" for name in ("histogram", "against", "kept") for kind in ("svg", "pdf")}


def test_infinite_values_are_left_out_and_counted(scores, tmp_path):
    main(["--scores", str(scores), "--against", "rarity", "--out", str(tmp_path / "out")])
    columns, _ = files.read_tensors(scores)
    infinite = int(torch.isinf(columns["rarity"]).sum())
    assert f"{infinite:,} samples without a finite rarity" in (tmp_path / "out" / "scores.md").read_text()
    (mean,) = [line["mean"] for line in csv.DictReader((tmp_path / "out" / "scores.csv").open())][:1]
    assert float(mean) == pytest.approx(float(columns["rarity"][columns["rarity"].isfinite()].mean()))


def test_a_score_is_found_by_its_name_in_the_samples_of_a_run(scores, tmp_path):
    columns, _ = files.read_tensors(scores)
    path = tmp_path / "samples.safetensors"
    renamed = {"score_entropy": columns["entropy"], "realism": columns["realism"], "score_realism": -columns["realism"]}
    files.write_tensors(path, renamed)
    for name in ("entropy", "score_entropy"):
        main(["--scores", str(path), "--score", name, "--out", str(tmp_path / name)])
        assert "the mean of realism is" in (tmp_path / name / "scores.md").read_text()
    main(["--scores", str(scores), "--out", str(tmp_path / "scores")])
    assert "the mean of realism (as a score) is" in (tmp_path / "scores" / "scores.md").read_text()


def test_it_is_the_same_again(scores, tmp_path):
    for name in ("one", "two"):
        main(["--scores", str(scores), "--out", str(tmp_path / name)])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_what_cannot_be_done_is_refused(scores, tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    assert "say with --out DIR" in refused(capsys, "--scores", scores)
    assert "--keep 1.0" in refused(capsys, "--scores", scores, "--keep", 1.0, *out)
    assert "Did you mean 'entropy'" in refused(capsys, "--scores", scores, "--score", "entropie", *out)
    assert "no column 'realismus'" in refused(capsys, "--scores", scores, "--against", "realismus", *out)
    assert "name two columns" in refused(capsys, "--scores", scores, "--score", "realism", *out)
    assert "does not exist" in refused(capsys, "--scores", tmp_path / "nothing", *out)
    scores.write_bytes(scores.read_bytes()[:-10])
    assert "truncated" in refused(capsys, "--scores", scores, *out)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_million_samples_with_two_dozen_scores_stay_within_two_gigabytes(tmp_path):
    path = make_scores(tmp_path / "scores.safetensors", 1_000_000, others=21)
    assert measured(["--scores", str(path), "--out", str(tmp_path / "out")])["peak_bytes"] < 2e9
    assert len(files.read_tensors(tmp_path / "out" / "kept.safetensors")[0]["index"]) == 500_000

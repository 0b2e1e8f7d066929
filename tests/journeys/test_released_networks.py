"""ADM, U-ViT and EDM2 from a file to a variance: fits, draws and propagation in the library, and the whole command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import genuq
from genuq import files
from genuq.models import GenerativeModel, Sampler, sample_latents
from genuq.networks.published import FAMILIES
from genuq.pipeline.stages.sample import read_samples
from genuq.posteriors import swapped
from genuq.propagators import Trajectory
from genuq.solvers import build as build_solver
from support.plans import planned
from support.released import SMALL, images, small
from support.small_runs import COMMON, EVALUATION, launch

DRAWS = 64
LATENT = {"img_size": 8, "patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2, "in_chans": 3, "num_classes": 3}


def model_of(name: str) -> GenerativeModel:
    """One a head: a convolution, tokens of which some are no patches, a weight with its gain in it."""
    return small("uvit", changed=LATENT | {"conv": False}) if name == "uvit" else small(name)


def fitted(model: GenerativeModel, kind: str, **options: Any) -> genuq.posteriors.Posterior:
    x, y = images()
    return genuq.fit(model, x, kind, images=16, held_out=8, batch_size=8, labels=y, **options).posterior


@pytest.mark.parametrize(
    ("name", "kind"), [("adm", "exact_laplace"), ("uvit", "diagonal_laplace"), ("edm2", "exact_laplace")]
)
def test_variance_in_closed_form_is_that_of_draws(name: str, kind: str) -> None:
    """Of one step, which is affine in what the head gives: patches, channels and gains are where they belong."""
    model = model_of(name)
    posterior = fitted(model, kind)
    sampler = Sampler(build_solver("ddim"), steps=1, seed=0, batch_size=1)
    closed = genuq.propagate(model, posterior, sampler, range(1), propagator=Trajectory()).variance
    drawn = []
    for index in range(DRAWS):
        with swapped(posterior.module, posterior.draw(index)):
            drawn.append(sample_latents(model, sampler, range(1)))
    ratio = torch.stack(drawn).double().var(0) / closed
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.15)
    assert float(ratio.std()) < 0.3, "the spread of a variance of 64 draws, at every pixel"


@pytest.mark.parametrize("name", ["adm", "uvit", "edm2"])
def test_kfac_draws_move_the_prediction(name: str) -> None:
    model = model_of(name)
    posterior = fitted(model, "kfac", layers=[model.head_name])
    (x, y), t_B = images(2), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        before = model(x, t_B, y)
        with swapped(posterior.module, posterior.draw(0)):
            moved = model(x, t_B, y)
    assert moved.isfinite().all() and not torch.equal(moved, before)


ASKED = [
    *COMMON,
    *EVALUATION,
    "data=image_folder",
    "data.image_size=8",
    "data.channels=3",
    "stages=[fit,sample,probe,embed,score]",
    "likelihood=pixel",
    "posterior.images=32",
    "posterior.held_out=8",
    "posterior.draws=2",
    "sampler.steps=2",
    "sampler.samples=40",
    "score.controls=[random]",
]
CLASSES = {"adm": "num_classes", "uvit": "num_classes", "edm2": "label_dim"}


def asked(name: str, image_root: Path, path: Path, *more: str) -> list[str]:
    preset, changed = SMALL[name]
    changed = changed | {CLASSES[name]: 2}
    given = json.dumps(changed).replace('"', "")
    model = [f"model={name}", f"model.preset={preset}", f"model.changed={given}", f"model.checkpoint={path}"]
    return [*ASKED, *model, f"data.root={image_root}", *more]


def file_of(name: str, path: Path) -> None:
    torch.manual_seed(0)
    preset, changed = SMALL[name]
    network = FAMILIES[name].network(FAMILIES[name].settings(preset, changed | {CLASSES[name]: 2}))
    for key, value in network.named_parameters():
        if key.endswith("_gain"):
            torch.nn.init.ones_(value)
    weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
    torch.save(weights, path) if path.suffix == ".pt" else save_file(weights, path)


@pytest.mark.parametrize(("name", "suffix"), [("adm", ".pt"), ("edm2", ".safetensors")])
def test_a_file_goes_through_the_whole_command(name: str, suffix: str, tmp_path: Path, image_root: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    file_of(name, path)
    launch(tmp_path / "run", *asked(name, image_root, path))
    samples = read_samples(tmp_path / "run" / "sample")
    assert samples["image"].shape == (40, 3, 8, 8) and samples["class"].tolist()[:3] == [0, 1, 0]
    assert (tmp_path / "run" / "score").is_dir()


def test_a_plan_reads_no_weight_and_names_a_file_that_is_missing(
    tmp_path: Path, image_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "there.pt"
    path.write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(files, "sha256", None)
    plan = planned(capsys, *asked("adm", image_root, path), "score=entropy")
    assert plan["stages"]["sample"]["evaluations"] == 40 * (1 + 2) * 2 and len(plan["weights_not_read"]) == 1
    missing = planned(capsys, *asked("adm", image_root, tmp_path / "nowhere.pt"), status=1)
    assert "nowhere.pt does not exist. The files are linked in the README" in str(missing["jobs"])

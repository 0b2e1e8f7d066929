"""Ensembles and SWAG as posteriors of a run: made where the configuration says, reused, and refused by key."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ConfigurationError
from support.small_runs import POINTS, copied, launch

MEMBERS = ["stages=[fit,sample]", "model.checkpoint=null", "posterior.members=3", "posterior.steps=4"]
KINDS = ["deep_ensemble", "posthoc_ensemble", "swag"]


@pytest.fixture
def trained(points_run: Path, tmp_path: Path) -> Path:
    """A folder with the points run's finished training."""
    return copied(points_run, tmp_path / "run")


def sampled(folder: Path) -> dict[str, torch.Tensor]:
    return files.read_tensors(folder / "sample" / "shard-0000000-0000016.safetensors")[0]


def test_a_run_learns_ivon_and_samples_under_it(trained: Path) -> None:
    few = [*(part for part in MEMBERS if "members" not in part), "posterior=ivon"]
    launch(trained, *POINTS, *few, "posterior.mc_samples=1")
    fitted = trained / "fit" / "posterior.safetensors"
    notes = files.read_json(trained / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]
    assert notes["kind"] == "ivon" and notes["scale"]["n_seen"] == 1 and notes["scale"]["relative_perturbation"] > 0
    assert 0 < notes["dominance"]["trace_ratio"] < 1.1 and notes["dominance"]["effective_parameters"] is None
    draws, before = sampled(trained)["draws"].float(), fitted.read_bytes()
    assert draws.isfinite().all() and not torch.equal(draws[:, 0], draws[:, 1])
    assert sorted(path.name for path in (trained / "fit" / "draws-members").iterdir()) == [
        "ivon.safetensors",
        "members.json",
    ]
    launch(trained, *POINTS, *few, "posterior.mc_samples=1", "trainer.gradient_clip=1.0")
    assert fitted.read_bytes() == before
    launch(trained, *POINTS, *few, "posterior.mc_samples=2")  # another posterior
    assert fitted.read_bytes() != before


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_makes_its_members_and_samples_under_them(kind: str, trained: Path) -> None:
    launch(trained, *POINTS, *MEMBERS, f"posterior={kind}")
    notes = files.read_json(trained / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]
    assert notes["kind"] == kind and notes["scale"]["n_seen"] == 3 and notes["scale"]["relative_perturbation"] > 0
    draws = sampled(trained)["draws"].float()
    assert draws.shape[1] == 2 and draws.isfinite().all() and not torch.equal(draws[:, 0], draws[:, 1])
    made = sorted(path.name for path in (trained / "fit" / "draws-members").iterdir())
    members = ["swag.safetensors"] if kind == "swag" else [f"member-{k}.safetensors" for k in range(3)]
    assert made == sorted([*members, "members.json"])


def test_members_of_a_deep_ensemble_are_what_the_train_stage_makes_with_the_seeds_after_the_runs(
    trained: Path, tmp_path: Path
) -> None:
    """The first one is not the model again, which would be no further network."""
    settings = [*POINTS, "stages=[fit]", "model.checkpoint=null", "posterior=deep_ensemble", "posterior.members=2"]
    launch(trained, *settings)
    launch(tmp_path / "next", *POINTS, "stages=[train]", "model.checkpoint=null", "seed=4")  # the run has 3
    own, member, other, by_next = (
        files.read_tensors(path)[0]
        for path in (
            trained / "train" / "model.safetensors",
            *(trained / "fit" / "draws-members" / f"member-{k}.safetensors" for k in (0, 1)),
            tmp_path / "next" / "train" / "model.safetensors",
        )
    )
    assert by_next.keys() == member.keys() and all(torch.equal(by_next[name], member[name]) for name in member)
    heads = [weights["network.head.weight"] for weights in (own, member, other)]
    assert not any(torch.equal(one, another) for one, another in itertools.combinations(heads, 2))


def test_the_members_of_one_run_are_the_checkpoints_of_another(trained: Path, tmp_path: Path) -> None:
    copied(trained, tmp_path / "other")
    launch(trained, *POINTS, *MEMBERS, "posterior=deep_ensemble")
    pattern = f"posterior.checkpoints='{trained}/fit/draws-members/member-*'"
    launch(tmp_path / "other", *POINTS, *MEMBERS, "posterior=deep_ensemble", pattern)
    assert torch.equal(sampled(tmp_path / "other")["draws"], sampled(trained)["draws"])
    first, *_, last = sorted((trained / "fit/draws-members").glob("member-*"))
    listed = f"posterior.checkpoints=['{last}','{first}']"
    launch(tmp_path / "other", *POINTS, *MEMBERS, "posterior=deep_ensemble", listed)
    assert torch.equal(sampled(tmp_path / "other")["draws"][:, 1], sampled(trained)["draws"][:, 0])


def test_members_are_made_again_when_the_training_that_makes_them_changes(trained: Path) -> None:
    settings = [*POINTS, *MEMBERS[:3], "posterior=deep_ensemble"]
    launch(trained, *settings)
    posterior = trained / "fit" / "posterior.safetensors"
    before = posterior.read_bytes()
    launch(trained, *settings, "trainer.accelerator=auto", "posterior.batch_size=7")  # neither changes a member
    assert posterior.read_bytes() == before
    launch(trained, *settings, "trainer.learning_rate=0.002")
    assert posterior.read_bytes() != before


def test_a_wanted_perturbation_chooses_the_temperature(trained: Path) -> None:
    launch(trained, *POINTS, *MEMBERS, "posterior=posthoc_ensemble", "posterior.relative_perturbation=0.07")
    scale = files.read_json(trained / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]["scale"]
    assert scale["relative_perturbation"] == pytest.approx(0.07) and scale["temperature"] != 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("posterior.draws=4", r"posterior\.draws = 4, but the ensemble has 3 members: lower posterior\.draws"),
        ("posterior.checkpoints=nowhere/*", r"posterior\.checkpoints = 'nowhere/\*' matches no file"),
        ("posterior.checkpoints=reference", r"no posthoc_ensemble of 'flow_matching_gaussian_mixture' is shipped"),
        ("posterior.rank=0", r"posterior\.rank = 0"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(override: str, message: str, trained: Path) -> None:
    before = sorted((trained / "store").rglob("*"))
    with pytest.raises(ConfigurationError, match=message):
        launch(trained, *POINTS, *MEMBERS, "posterior=posthoc_ensemble", override)
    assert sorted((trained / "store").rglob("*")) == before

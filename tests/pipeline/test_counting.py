"""Evaluations that the small network stands in for: those of a sampler, by its solver's own arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genuq.errors import ConfigurationError
from genuq.identity import identity_of
from genuq.networks.adm import ADM, ADMClassifier, ADMSettings
from genuq.pipeline.columns import check_columns
from genuq.pipeline.configured import model_inputs
from genuq.pipeline.counting import Count, OneLayer, stand_in, stand_in_posterior, watched_counts
from genuq.pipeline.run import Run
from support import released
from support.small_runs import COMMON, POINTS, composed


def planned(folder: Path, *overrides: str) -> Run:
    return Run(composed(*POINTS, f"store={folder}/store", *overrides), folder, "genuq")


def test_a_count_is_of_samples_and_of_batches() -> None:
    assert Count(forward=3, backward=2, forward_once=1).of(10, batches=4) == (34, 20)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_the_network_of_one_layer_answers_a_tenth_of_its_input(shape: tuple[int, ...]) -> None:
    network = OneLayer(shape)
    torch.nn.init.zeros_(network.head.bias)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(network(x, torch.zeros(3), None), 0.1 * x)


@pytest.mark.parametrize(
    ("overrides", "evaluations"),
    [
        (["sampler=euler", "sampler.steps=5"], 5),
        (["sampler=heun", "sampler.steps=5"], 9),  # two a step, but one in the last
        (["sampler=euler", "sampler.steps=5", "model.class_conditional=true", "sampler.guidance_scale=2.0"], 10),
    ],
)
def test_sampling_takes_what_its_solver_asks_for(overrides: list[str], evaluations: int, tmp_path: Path) -> None:
    assert watched_counts(planned(tmp_path, *overrides))["sampling"].forward == evaluations


def small_adm(folder: Path, images: Path, *overrides: str) -> Run:
    changed = json.dumps(released.ADM | {"num_classes": 2}).replace('"', "")
    model = ["model=adm", "model.preset=imagenet_128", f"model.changed={changed}"]
    data = ["data=image_folder", f"data.root={images}", "data.image_size=8", "data.channels=3"]
    return Run(composed(*COMMON, *model, *data, f"store={folder}/store", *overrides), folder, "genuq")


@pytest.mark.parametrize("name", ["guidance_gap", "guidance_gap_low", "null_gap"])
def test_scores_of_the_null_class_are_refused_where_there_is_none(name: str, tmp_path: Path, image_root: Path) -> None:
    run = small_adm(tmp_path, image_root, "score.name=" + name)
    with pytest.raises(ConfigurationError, match=rf"score\.name: '{name}' compares with the null class"):
        check_columns(run)


def test_a_classifier_that_guides_is_no_evaluation(tmp_path: Path, image_root: Path) -> None:
    path = tmp_path / "classifier.pt"
    changed = released.CLASSIFIER | {"out_channels": 2}
    torch.save(ADMClassifier(ADMSettings(**changed)).state_dict(), path)
    given = json.dumps(changed).replace('"', "")
    guided = [f"model.classifier={path}", f"model.classifier_changed={given}", "sampler.guidance_scale=2.0"]
    run = small_adm(tmp_path, image_root, *guided, "sampler.steps=3")
    assert watched_counts(run)["sampling"].forward == 3


def test_a_network_that_guides_is_an_evaluation_more_and_part_of_what_samples_are_made_from(
    tmp_path: Path, image_root: Path
) -> None:
    identities = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = ADM(ADMSettings(**released.ADM | {"num_classes": 2}))
        path = tmp_path / f"{seed}.safetensors"
        save_file({key: value.detach().clone() for key, value in network.state_dict().items()}, path)
        run = small_adm(
            tmp_path / str(seed), image_root, f"model.guide={path}", "sampler.guidance_scale=2.0", "sampler.steps=3"
        )
        assert watched_counts(run)["sampling"].forward == 6
        identities.append(identity_of(model_inputs(run)))
    assert identities[0] != identities[1]


def test_a_learned_variance_takes_no_further_evaluation(tmp_path: Path, image_root: Path) -> None:
    run = small_adm(tmp_path, image_root, "sampler=ddpm_learned", "sampler.steps=3")
    assert watched_counts(run)["sampling"].forward == 3


def test_the_noise_covers_the_part_that_the_runs_posterior_covers(tmp_path: Path) -> None:
    for posterior, moved in (("exact_laplace", {"weight", "bias"}), ("kfac", {"trunk", "head.weight", "head.bias"})):
        run = planned(tmp_path, f"posterior={posterior}")
        noise = stand_in_posterior(run, stand_in(run))
        assert set(noise.covered()) == moved

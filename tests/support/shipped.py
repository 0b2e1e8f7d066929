"""What the members of every shipped ensemble have to be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.models import GenerativeModel
from genuq.models.checkpoints import load_model, reference_members, reference_path
from genuq.posteriors import PosthocEnsemble, Scale


def networks_of(name: str) -> list[GenerativeModel]:
    """The shipped model of this name, and its deep ensemble."""
    return [load_model(path)[0] for path in (reference_path(name), *reference_members(name, "deep_ensemble"))]


def check_six_trainings(name: str) -> None:
    """A model and five members, none the same training as another."""
    networks = networks_of(name)
    assert len(networks) == 6
    assert (alike([one.network.head.weight for one in networks]).abs() < 0.9).all()


def of_one_training(model: GenerativeModel, early: GenerativeModel) -> bool:
    """Whether one lies as near the other as an earlier checkpoint does; two trainings lie further apart."""
    ours, theirs = (one.network.state_dict() for one in (model, early))
    far = sum(float((ours[name] - theirs[name]).square().sum()) for name in ours)
    return far < 0.5 * sum(float(value.square().sum()) for value in ours.values())


def alike(weights: Sequence[Tensor]) -> Tensor:
    """Correlations of what each has beside the mean of all; zero where one is not compared with a later one."""
    stacked = torch.stack([one.detach().float().flatten() for one in weights])
    return torch.corrcoef(stacked - stacked.mean(0)).triu(1)


def check_post_hoc_members(model: GenerativeModel, name: str) -> None:
    """Five, each near the model that it was fine-tuned from, and no two the same."""
    network = model.network
    members = [
        PosthocEnsemble.load(path, network).finalise(Scale(1, 1.0, 1.0))
        for path in reference_members(name, "posthoc_ensemble")
    ]
    assert len(members) == 5
    ours = torch.cat([value.flatten() for value in network.state_dict().values() if value.is_floating_point()])
    drawn = [torch.cat([value.flatten() for value in one.draw(0, 0).values()]) for one in members]
    for one in drawn:
        assert 1e-3 < float((one - ours).norm() / ours.norm()) < 0.2
    assert (alike(drawn) < 0.9).all()

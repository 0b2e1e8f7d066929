"""What the members of every shipped ensemble have to be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.models import GenerativeModel
from genuq.models.checkpoints import reference_members
from genuq.posteriors import PosthocEnsemble, Scale


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

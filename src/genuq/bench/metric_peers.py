"""FID, precision and recall by other libraries, of features that both sides are given.

None of them is asked for features of its own: their Inception network is a download, and it is not what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from torch import Tensor, nn

Values = dict[str, float]
Metric = Callable[[Tensor, Tensor, int], Values]  # of real and generated features (N, D), and neighbours

FID, MANIFOLD = "FID", "precision, recall, density, coverage"
MODULES = {"torchmetrics": "torchmetrics", "clean-fid": "cleanfid", "torch-fidelity": "torch_fidelity", "prdc": "prdc"}


def missing(library: str) -> str | None:
    """Why a library cannot be asked, with the remedy; None: it is there."""
    return None if find_spec(MODULES[library]) else f"not installed: pip install {library}"


def lacking(kind: str, library: str) -> str | None:
    """Why a library that is there gives no such number; None: it does."""
    return None if (kind, library) in METRICS else f"{library} has no {kind} of features that it is given"


class _Given(nn.Module):
    """What torchmetrics takes for its network: the features themselves."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.num_features = dimension

    def forward(self, features: Tensor) -> Tensor:
        return features


def torchmetrics_fid(real: Tensor, fake: Tensor, neighbours: int) -> Values:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real.double(), real=True)  # it answers in the precision that it was given last
    metric.update(fake.double(), real=False)
    return {"fid": float(metric.compute())}


def clean_fid(real: Tensor, fake: Tensor, neighbours: int) -> Values:
    import numpy as np
    from cleanfid import fid

    moments = [(part.mean(0), np.cov(part, rowvar=False)) for part in (real.double().numpy(), fake.double().numpy())]
    return {"fid": float(fid.frechet_distance(*moments[0], *moments[1]))}


def torch_fidelity_fid(real: Tensor, fake: Tensor, neighbours: int) -> Values:
    from torch_fidelity import metric_fid

    statistics = [metric_fid.fid_features_to_statistics(part.double()) for part in (real, fake)]
    found = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return {"fid": float(found[metric_fid.KEY_METRIC_FID])}


def torch_fidelity_neighbours(real: Tensor, fake: Tensor, neighbours: int) -> Values:
    from torch_fidelity import metric_prc

    options = {"prc_neighborhood": neighbours, "prc_batch_size": 10_000, "save_cpu_ram": True, "verbose": False}
    found = metric_prc.prc_features_to_metric(fake.double(), real.double(), **options)
    return {name: float(found[name]) for name in ("precision", "recall")}


def prdc_neighbours(real: Tensor, fake: Tensor, neighbours: int) -> Values:
    from prdc import compute_prdc

    # Of float32 features prdc measures distances in float32, whose rounding decides which pairs lie within.
    found = compute_prdc(real.double().numpy(), fake.double().numpy(), neighbours)
    return {name: float(value) for name, value in found.items()}


METRICS: dict[tuple[str, str], Metric] = {
    (FID, "torchmetrics"): torchmetrics_fid,
    (FID, "clean-fid"): clean_fid,
    (FID, "torch-fidelity"): torch_fidelity_fid,
    (MANIFOLD, "torch-fidelity"): torch_fidelity_neighbours,
    (MANIFOLD, "prdc"): prdc_neighbours,
}

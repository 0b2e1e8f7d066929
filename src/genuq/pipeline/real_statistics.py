"""What an evaluation makes of the real features alone: made once for all runs of a store that compare with the same.

Mean and covariance belong to the features, radii to the features and k; each is a file of the store under the hash of
these (`store.cached`), which the evaluations that read it hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.metrics import Gaussian
from genuq.metrics.frechet import gaussian_of
from genuq.metrics.manifold import real_radii
from genuq.parallel import collectives
from genuq.store.cached import held

GAUSSIAN, RADII = "real_gaussian.safetensors", "real_radii.safetensors"
VERSION = 1  # raised with what changes their numbers


class RealStatistics(NamedTuple):
    """Of the features of real images.

    Attributes:
        gaussian: their mean (D,) and covariance (D, D), float64; None where others' statistics stand for them.
        radii_R: the squared radius of the ball around each, float64.
    """

    gaussian: Gaussian | None
    radii_R: Tensor


def real_statistics(
    source: Path, real_RD: Tensor, k: int, folder: Path, display: Display, gaussian: bool = True
) -> RealStatistics:
    """The statistics of real features, held by an artefact; those of another run of the store, if there are any.

    In connected processes the first makes them, and the others wait for it.

    Args:
        source: the file that the features are in.
        k: neighbours that set the radius of a ball.
        folder: of the artefact.
        gaussian: whether mean and covariance are asked for.

    Raises:
        DataError: at most k features.
    """
    if collectives.is_first_process():
        content, store = files.sha256(source), folder.parents[1]

        def waiting() -> None:
            display.say("evaluate: another run measures the same real images; waiting")

        if gaussian:
            held(
                store,
                {"version": VERSION, "gaussian_of": content},
                folder / GAUSSIAN,
                lambda path: files.write_tensors(path, gaussian_of(real_RD)._asdict()),
                waiting,
            )
        held(
            store,
            {"version": VERSION, "radii_of": content, "k": k},
            folder / RADII,
            lambda path: files.write_tensors(path, {"radii_R": real_radii(real_RD, k)}),
            waiting,
        )
    collectives.wait_for_all()
    found = Gaussian(**files.read_tensors(folder / GAUSSIAN)[0]) if gaussian else None
    return RealStatistics(found, files.read_tensors(folder / RADII)[0]["radii_R"])

"""Why a fit may say little: what is known before it, and how the network is read."""

from __future__ import annotations

import torch

from genuq.data import Dataset
from genuq.models import GenerativeModel, evaluating
from genuq.posteriors.fitting.reading import LEAST, Reading, ReadingSums, told_of
from genuq.posteriors.fitting.regression import RegressionBatches, regress
from genuq.posteriors.fitting.rereading import that_fit
from genuq.randomness import HELD_OUT, generator

READ = 128  # images on which a network is read that holds out none
READ_AT_ONCE = 32
UNREAD = (
    "Whether the network is read as it was trained (process, prediction, range, time, labels) is not checked: that "
    f"takes {LEAST} images or more that the fit holds out (posterior.held_out)."
)


def doubts_about(model: GenerativeModel) -> list[str]:
    """Why fits to a model may say little, as far as can be known before one: a sentence each."""
    found = [] if model.doubt is None else [model.doubt]
    if getattr(model.process, "zero_terminal_snr", False) and str(model.prediction) == "epsilon":
        found.append(
            "The process has zero terminal SNR (alpha = 0 at t = 1), where model.prediction = epsilon says nothing of "
            "the data: networks of such a process predict v_prediction. If this one does not, the schedule is another."
        )
    return found


def doubts_of_reading(model: GenerativeModel, reading: Reading | None, batches: RegressionBatches) -> tuple[str, ...]:
    """What is said of the network and of how it is read. Other readings are tried where this one is doubtful.

    All processes do that alike: it is little.
    """
    found = doubts_about(model)
    if reading is not None and reading.misfits:
        others = that_fit(model, (regress(model, batches[number]) for number in range(len(batches))))
        found.append(told_of(reading, others))
    return tuple(found)


@torch.no_grad()
def read(model: GenerativeModel, dataset: Dataset, seed: int = 0) -> tuple[Reading | None, tuple[str, ...]]:
    """How a network is read, and the doubts, on a few images of a data set: for posteriors that hold out none.

    Args:
        seed: keys which images, times and noise.

    Returns:
        the reading, None of a data set that is too small for one, and a sentence for each doubt.
    """
    order = torch.randperm(len(dataset), generator=generator(seed, 0, "reading order"))
    batches = RegressionBatches(dataset, order[:READ].tolist(), model.latent_shape, READ_AT_ONCE, seed, HELD_OUT)
    sums = ReadingSums()
    with evaluating(model):
        for number in range(len(batches)):
            batch = regress(model, batches[number])
            sums.update(batch.x, model(batch.x, batch.t, batch.y), batch.target, batch.t)
        reading = sums.reading()
        return reading, doubts_of_reading(model, reading, batches)

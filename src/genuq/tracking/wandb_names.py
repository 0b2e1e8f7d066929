"""Names under which a run is logged to wandb, and its dashboards find it."""

from __future__ import annotations

FRACTION, KEPT, AT_RANDOM = (
    "fraction_kept",
    "kept",
    "_at_random",
)  # of the retention curves: step, prefix, control's end
SAMPLES = "samples"  # the table
SECONDS = "seconds"  # prefix of a stage's
STEP = "trainer/global_step"  # of a training


def loss_of(part: str) -> str:
    """The training loss of the model, the autoencoder or the judge."""
    return f"{part}-train/loss"

"""Names under which a training is logged are those that Lightning's module gives its loss."""

from __future__ import annotations

from genuq.tracking.wandb_names import loss_of


def test_each_training_of_a_run_has_a_loss_of_its_own() -> None:
    names = [loss_of(part) for part in ("model", "autoencoder", "judge")]
    assert names == ["model-train/loss", "autoencoder-train/loss", "judge-train/loss"]

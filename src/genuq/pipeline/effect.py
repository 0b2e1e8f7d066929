"""What was typed for a run and cannot change it, said once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genuq.pipeline.configured import model_part
from genuq.pipeline.posteriors import of_members
from genuq.pipeline.run import Run

PROCESSES = ("devices", "num_nodes", "strategy")  # of the trainer: on which all stages may run
# Stages that read a group, or one of its keys; what is not here every run reads, or is refused where it does not.
READ_BY: Mapping[str, tuple[str, ...]] = {
    "trainer.start_from": ("train",),
    "trainer.steps": ("train",),
    "trainer.early_step": ("train",),
    "trainer.autoencoder_steps": ("train",),
    "trainer.judge_steps": ("judge",),
    "trainer.precision": ("train", "judge", "fit"),
    **{f"trainer.{key}": ("train", "judge", "fit", "sample", "propagate", "embed", "report") for key in PROCESSES},
    "trainer": ("train", "judge"),
    "posterior": ("fit", "sample", "pilot", "probe", "propagate", "embed", "score", "evaluate", "apply"),
    "sampler": ("sample", "pilot", "probe", "propagate", "embed", "score", "evaluate", "apply"),
    "likelihood": ("embed", "score", "evaluate", "apply"),
    "metric": ("judge", "embed", "evaluate", "apply"),
    "score": ("sample", "pilot", "probe", "score", "evaluate", "apply"),
}


def trains_anew(run: Run) -> bool:
    """Whether the run trains though it names weights; a function of a user's own may read them to begin with."""
    return run.trains and run.config.model.checkpoint is not None and model_part(run) is None


def without_effect(run: Run) -> Iterator[str]:
    """A sentence on each key that the run's command sets and none of its stages reads."""
    stages = set(run.config.stages)
    trains_members = "fit" in stages and any(map(of_members, run.posteriors().values()))
    for override in run.job.overrides:
        key = override.split("=")[0].lstrip("+")
        if key == "model.checkpoint" and trains_anew(run):
            yield (
                f"{override} has no effect here: stages has train, which makes weights of its own. Leave train out of "
                "stages to use the file, or go on from it with trainer.start_from."
            )
        group = next((known for known in READ_BY if key == known or key.startswith(f"{known}.")), None)
        if group is None or stages & set(READ_BY[group]) or (trains_members and group in ("trainer", "trainer.steps")):
            continue
        yield (
            f"{override} has no effect here: only {', '.join(READ_BY[group])} read it, and stages = "
            f"[{', '.join(run.config.stages)}]."
        )

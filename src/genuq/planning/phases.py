"""What a plan gives many workers to do: its artefacts one after the other, in pieces of which a failure loses one."""

from __future__ import annotations

import math

from genuq.errors import ConfigurationError
from genuq.pipeline.execute import STAGES
from genuq.planning.plan import Needed, Plan
from genuq.planning.simulation import Phase
from genuq.posteriors.fitting.passes import PassRunner


def phases_of(plan: Plan) -> list[Phase]:
    """The artefacts that are to be made and whose times are known.

    Raises:
        ConfigurationError: times that are not those of one process.
    """
    for one in plan.to_make:
        if one.run.processes != 1:
            raise ConfigurationError(
                f"--simulate takes the times of one process, not of trainer.devices = {one.run.config.trainer.devices} "
                f"and trainer.num_nodes = {one.run.config.trainer.num_nodes}. Leave these out, and say workers=N."
            )
    return [phase_of(one, plan.estimates[one.folder.path].seconds or 0.0) for one in plan.to_make]


def phase_of(one: Needed, seconds: float) -> Phase:
    """One artefact, which takes one worker so long."""
    stage = STAGES.get(one.stage)
    together = stage is not None and stage.together
    summed = stage is None or stage.shared  # a posterior is no stage, and all processes sum it
    return Phase(one.name, seconds, pieces_of(one, seconds), together, summed and not together)


def pieces_of(one: Needed, seconds: float) -> int:
    """Shards; what lies between two checkpoints of a training, or two savings of a fit's sums; else the whole."""
    config = one.run.config
    if one.stage in STAGES and STAGES[one.stage].together:
        return max(1, math.ceil(one.left * config.sampler.samples / config.sampler.batch_size))
    if one.stage == "train":
        return math.ceil(config.trainer.steps / config.trainer.checkpoint_every)
    return max(1, math.ceil(seconds / PassRunner.save_every)) if one.stage == "posterior" else 1

"""What the times of a plan take for granted where nothing measured it."""

from __future__ import annotations

from collections.abc import Callable

from genuq.pipeline.configured import engine_of, untrained_model
from genuq.planning.plan import Plan
from genuq.planning.planned import PlannedRun

SAMPLED, GUIDED = ("pilot", "sample", "probe", "apply"), ("pilot", "sample", "propagate", "apply")


def assumptions_of(plan: Plan) -> list[str]:
    """A sentence for each, once the plan has its times; none where runs of the store tell these."""
    found = []
    if compiled := _timed(plan, SAMPLED, lambda run: engine_of(run).compile):
        found.append(
            f"{compiled} with sampler.compile=true: passes take as long as those that are not compiled, and compiling "
            "takes no time"
        )
    if guided := _timed(plan, GUIDED, lambda run: untrained_model(run).guide is not None):
        found.append(f"{guided} with model.guide: a row takes the network that guides as long as the model's own")
    return found


def _timed(plan: Plan, stages: tuple[str, ...], concerns: Callable[[PlannedRun], bool]) -> str:
    """Those of the stages whose time was measured or counted pass by pass, of runs that an assumption concerns."""
    told = (one for one in plan.to_make if one.stage in stages and concerns(one.run))
    by_pass = ("measured", "counted")
    found = [one.stage for one in told if any(word in plan.estimates[one.folder.path].how for word in by_pass)]
    return ", ".join(dict.fromkeys(found))

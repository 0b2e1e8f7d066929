"""Networks that were not trained by mean squared error: distilled to few steps, to consistency, or of their guidance.

Posteriors take a network for the minimiser of that error, so that fits and fine-tunings of these are doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from genuq.pretrained.family import Family

# Schedulers that are published for distilled networks alone.
SCHEDULERS = {
    "LCMScheduler": "to consistency along the path (LCM)",
    "TCDScheduler": "to consistency along the path (TCD)",
    "CMStochasticIterativeScheduler": "to consistency along the path (a consistency model)",
}
# What a network's configuration says.
CONFIGURED = {
    "guidance_embeds": "of its guidance, whose scale the network is told",
    "time_cond_proj_dim": "of its guidance, whose scale the network is told",
    "use_meanflow": "to few steps by mean flow",
}
NAMES = re.compile(
    r"(?<![a-z])(turbo|lightning|lcm|tcd|hyper[-_]?sd|sdxs|schnell|sprint|dmd2?|distill(ed)?|distillation)(?![a-z])"
)


def doubt_of(pipe: Any, family: type[Family]) -> str | None:
    """Why the network of a pipeline may not be what its regression would give, a sentence; None where nothing says so.

    Args:
        pipe: the pipeline.
        family: its family.
    """
    how = family.distilled or _by_scheduler(pipe) or _by_configuration(pipe, family) or _by_name(pipe, family)
    if how is None:
        return None
    return (
        f"The network of {type(pipe).__name__} was distilled {how}: it is not what a regression on its data gives, "
        "which posteriors take it for, so that their fits and fine-tunings of it are doubtful."
    )


def _by_scheduler(pipe: Any) -> str | None:
    return next(
        (SCHEDULERS[base.__name__] for base in type(pipe.scheduler).__mro__ if base.__name__ in SCHEDULERS), None
    )


def _by_configuration(pipe: Any, family: type[Family]) -> str | None:
    if _configuration(pipe).get("is_distilled"):
        return "of its guidance, or to few steps (is_distilled)"
    told = _configuration(getattr(pipe, family.component))
    return next((how for key, how in CONFIGURED.items() if told.get(key)), None)


def _by_name(pipe: Any, family: type[Family]) -> str | None:
    names = [_configuration(part).get("_name_or_path") for part in (pipe, getattr(pipe, family.component))]
    for name in names:
        # the last part of a path, or OWNER/NAME of the hub, in whose cache it lies as models--OWNER--NAME
        found = NAMES.search(re.sub(r".*models--", "", str(name or "")).lower())
        if found:
            return f"as '{found[1]}' in its name says"
    return None


def _configuration(part: Any) -> Mapping[str, Any]:
    found = getattr(part, "config", None)
    return found if isinstance(found, Mapping) else {}

"""Networks that were not trained by mean squared error: distilled to few steps, to consistency, or of their guidance.

Posteriors take a network for the minimiser of that error, so that fits and fine-tunings of these are doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Schedulers that are published for distilled networks alone.
SCHEDULERS = {
    "LCMScheduler": "to consistency along the path (LCM)",
    "TCDScheduler": "to consistency along the path (TCD)",
    "CMStochasticIterativeScheduler": "to consistency along the path (a consistency model)",
}
# What the configuration of a pipeline or of its network says.
CONFIGURED = {
    "is_distilled": "of its guidance, or to few steps (is_distilled)",
    "guidance_embeds": "of its guidance, whose scale the network is told",
    "time_cond_proj_dim": "of its guidance, whose scale the network is told",
    "use_meanflow": "to few steps by mean flow",
}
NAMES = re.compile(
    r"(?<![a-z])(turbo|lightning|lcm|tcd|hyper[-_]?sd|sdxs|schnell|sprint|dmd2?|distill(ed)?|distillation)(?![a-z])"
)


def doubt_of(title: str, network: Any, scheduler: Any, pipe: Any = None, always: str | None = None) -> str | None:
    """Why a network may not be what its regression would give, a sentence; None where nothing says so.

    Args:
        title: what it is the network of.
        network: with the configuration of diffusers, or another.
        scheduler: that samples from it.
        pipe: the pipeline that it comes from.
        always: how all networks of its family were distilled (`Family.distillation`).
    """
    told = [_configuration(part) for part in (pipe, network)]
    how = always or _by_scheduler(scheduler) or _by_configuration(told) or _by_name(told)
    if how is None:
        return None
    return (
        f"The network of {title} was distilled {how}: it is not what a regression on its data gives, which posteriors "
        "take it for, so that their fits and fine-tunings of it are doubtful."
    )


def _by_scheduler(scheduler: Any) -> str | None:
    names = (base.__name__ for base in type(scheduler).__mro__)
    return next((SCHEDULERS[name] for name in names if name in SCHEDULERS), None)


def _by_configuration(told: Sequence[Mapping[str, Any]]) -> str | None:
    return next((how for key, how in CONFIGURED.items() for each in told if each.get(key)), None)


def _by_name(told: Sequence[Mapping[str, Any]]) -> str | None:
    for each in told:
        # of OWNER/NAME in the hub's cache, models--OWNER--NAME, its name alone
        found = NAMES.search(re.sub(r".*models--", "", str(each.get("_name_or_path") or "")).lower())
        if found:
            return f"as '{found[1]}' in its name says"
    return None


def _configuration(part: Any) -> Mapping[str, Any]:
    found = getattr(part, "config", None)
    return found if isinstance(found, Mapping) else {}

"""What of a run has the semantics of released code, faults on purpose, in sentences for its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genuq.pipeline.run import Run
from genuq.propagators.paper import RELEASED
from genuq.scores.released import ENTROPY_FAULTS

ENTROPY = "entropy_as_released"


def as_released(run: Run) -> tuple[str, ...]:
    """A sentence for each part of the run that keeps faults of released code; most runs have none."""
    config = run.plain()
    found = [*_of_posterior(config["posterior"]), *_of_propagator(config.get("propagator") or {})]
    return tuple(f"As released, on purpose: {words}." for words in [*found, *_of_score(config["score"])])


def _of_posterior(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings.get("convention") == "laplace_torch":
        yield "the posterior's Fisher is laplace-torch's, twice that of half the squared error"
    if settings.get("n_effective") is not None and settings["n_effective"] == settings.get("images"):
        yield (
            f"the posterior believes in the {settings['images']:,} images that it was fitted to, not in the whole "
            "training set"
        )


def _of_propagator(settings: Mapping[str, Any]) -> Iterator[str]:
    faults = settings.get("faults")
    if settings.get("name") == "paper" and faults != []:
        yield f"the propagated variances have {_listed(RELEASED if faults is None else faults)}"


def _of_score(settings: Mapping[str, Any]) -> Iterator[str]:
    faults = settings.get("entropy_faults")
    if ENTROPY in (settings["name"], *settings["also"]) and faults != []:
        yield f"{ENTROPY} has {_listed(ENTROPY_FAULTS if faults is None else faults)}"


def _listed(faults: Sequence[str]) -> str:
    return ", ".join(fault.replace("_", " ") for fault in faults)

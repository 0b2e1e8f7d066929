"""All groups of parts, and the one way from a class path to a part."""

from __future__ import annotations

import importlib
from typing import Any

from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts.part import Part
from genuq.parts.register import Register

GROUPS = {  # in the order of the data's way
    "data": "genuq.data.registry:DATASETS",
    "model": "genuq.models.register:MODELS",
    "family": "genuq.pretrained.register:FAMILIES",
    "network": "genuq.networks.register:NETWORKS",
    "process": "genuq.processes.register:PROCESSES",
    "solver": "genuq.solvers.register:SOLVERS",
    "posterior": "genuq.posteriors.register:POSTERIORS",
    "propagator": "genuq.propagators.register:PROPAGATORS",
    "extractor": "genuq.extractors.register:EXTRACTORS",
    "likelihood": "genuq.likelihoods.register:LIKELIHOODS",
    "score": "genuq.scores.registry:SCORES",
    "metric": "genuq.analysis.metrics:METRICS",
    "application": "genuq.applications.register:APPLICATIONS",
}


def register_of(group: str) -> Register[Any]:
    """The register of a group.

    Raises:
        ConfigurationError: there is no such group.
    """
    if group not in GROUPS:
        raise ConfigurationError(f"There are no parts called '{group}'.{did_you_mean(group, GROUPS)}")
    module, _, name = GROUPS[group].partition(":")
    return getattr(importlib.import_module(module), name)


def plugged(path: str, group: str, key: str) -> Part:
    """The part at a class path: the one function through which a name in a configuration becomes an import.

    Only what the user typed on the command line or into a configuration of their own may come here; a file that came
    from elsewhere (a checkpoint's metadata, an artefact, a study) never names a target. What is imported must answer to
    the group's interface (a subclass of `Posterior` for a posterior, a function for data, ...), and neither it nor
    what its path passes through may belong to Python's own library or to a package that runs foreign code.

    The part is entered in its register under its own name, so that all else finds it as it finds genuq's own.

    Args:
        path: `package.module.Name`, of a class, a function, or a `Part` that says more than they can.
        group: of the register.
        key: of the configuration, for errors.

    Raises:
        ConfigurationError: it cannot be imported, may not be, or is no such part.
    """
    return register_of(group).plugged(path, key)

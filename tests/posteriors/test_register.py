"""The register of posteriors says what a posterior moves and is fitted to, as its class does."""

from __future__ import annotations

from genuq import posteriors
from genuq.posteriors import POSTERIORS, PosteriorPart


def test_scope_decides_what_its_target_is_called_with() -> None:
    for name, part in POSTERIORS.items():
        made = part.resolve()
        assert (part.scope, part.source, part.closed_form) == (made.scope, made.source, made.closed_form)
        assert part.leading == {"head": 2, "network": 1}[part.scope] and made.kind == name
    assert POSTERIORS.get("exact_laplace").scope == "head" and POSTERIORS.get("kfac").scope == "network"


class Unfinished(posteriors.MAP):
    kind = "unfinished"


def test_what_is_no_posterior_is_told_what_it_lacks() -> None:
    assert PosteriorPart.problem_of(posteriors.Swag) is None and PosteriorPart.problem_of(Unfinished) is None
    assert PosteriorPart.problem_of(int) == "is not a subclass of genuq.posteriors.Posterior."
    assert PosteriorPart.problem_of(posteriors.Posterior) == ("has no class attribute kind and no scope and no source.")

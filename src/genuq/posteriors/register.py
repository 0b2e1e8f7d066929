"""The register of posteriors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genuq.parts import Part, Register
from genuq.posteriors.base import Posterior, Scope, Source


@dataclass(frozen=True, kw_only=True)
class PosteriorPart(Part):
    """A posterior: a subclass of `Posterior`, called by its `kind`.

    One over the head takes (layer, active channels) and its options, one over the network (network) and its options.
    Its own `kind` here is `posterior`, or `control` for weight noise that knows no data.
    """

    group: str = "posterior"
    kind: str = "posterior"
    product: ClassVar[type | None] = Posterior
    named_by: ClassVar[str] = "kind"

    @property
    def scope(self) -> Scope:
        """What it moves: the model's `head` or its whole `network`."""
        return self.resolve().scope

    @property
    def source(self) -> Source:
        """What it is fitted to: a stream of `images`, sets of `weights`, or `nothing`."""
        return self.resolve().source

    @property
    def closed_form(self) -> bool:
        """Whether its variance has a closed form, whatever its options."""
        return self.resolve().closed_form

    @property
    def leading(self) -> int:
        return 2 if self.scope == "head" else 1

    @classmethod
    def problem_of(cls, target: object) -> str | None:
        if not (isinstance(target, type) and issubclass(target, Posterior)):
            return "is not a subclass of genuq.posteriors.Posterior."
        missing = [name for name in ("kind", "scope", "source") if not hasattr(target, name)]
        return f"has no class attribute {' and no '.join(missing)}." if missing else None


POSTERIORS = Register(PosteriorPart, "genuq.posteriors", "posterior.name")

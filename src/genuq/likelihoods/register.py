"""The register of likelihoods."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.parts import Part, Register


@dataclass(frozen=True, kw_only=True)
class LikelihoodPart(Part):
    """A likelihood: makes a `Likelihood`, or what answers to its `name`, `dimension`, `embed`, `observation_variance`.

    Its target gets, by name and only where it has them, the `extractor` that the configuration names and the `shape` of
    a sample; `observation_variance` and the rest are its options.
    """

    group: str = "likelihood"

    @property
    def supplied(self) -> frozenset[str]:
        return frozenset({"extractor", "shape"})

    @property
    def needs_extractor(self) -> bool:
        """Whether it embeds by an extractor, which the configuration must then name."""
        return "extractor" in self.parameters


LIKELIHOODS = Register(LikelihoodPart, "genuq.likelihoods", "likelihood.name")

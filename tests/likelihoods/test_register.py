"""The register of likelihoods knows from a signature whether an extractor is needed."""

from __future__ import annotations

from genuq.likelihoods import LIKELIHOODS, LikelihoodPart


def embedding(extractor: object, sharpness: float = 1.0) -> None: ...


def plain(shape: tuple[int, ...], sharpness: float = 1.0) -> None: ...


def test_an_extractor_is_needed_where_the_target_takes_one() -> None:
    parts = [LikelihoodPart(name=target.__name__, target=target) for target in (embedding, plain)]
    assert [part.needs_extractor for part in parts] == [True, False]
    assert [list(part.option_names) for part in parts] == [["sharpness"]] * 2
    assert {name: part.needs_extractor for name, part in LIKELIHOODS.items() if part.builtin} == {
        "pixel": False,
        "semantic": True,
    }

"""Harmless content of a file whose reading by pickle calls a function: to see that nothing reads it so."""

from __future__ import annotations

RAN: list[str] = []


def note(word: str) -> str:
    RAN.append(word)
    return word


class Asking:
    """What pickle stores as a call of `note`."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return note, ("ran",)

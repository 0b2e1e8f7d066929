"""Which of a study's runs a table or a page shows: those of one scale, never of two."""

from __future__ import annotations

from pathlib import Path

from genuq.errors import ConfigurationError, did_you_mean
from genuq.store.records import RunRecord, read_records, studies_in
from genuq.store.scales import FULL, SIGN, at_scale


def scales_in(store: Path, study: str) -> list[str]:
    """The scales at which a study has runs, full first."""
    found = [name for name in studies_in(store) if name == study or name.startswith(f"{study}{SIGN}")]
    return sorted((name.removeprefix(study).removeprefix(SIGN) or FULL for name in found), key=lambda one: one != FULL)


def chosen_scale(store: Path, study: str, asked: str | None = None) -> str:
    """The scale that is asked for; else full, unless the runs are all of one other.

    Raises:
        ConfigurationError: the study has no runs at this scale, or runs at several and none at full scale.
    """
    known = scales_in(store, study)
    if asked is not None:
        if asked != FULL and asked not in known:
            raise ConfigurationError(f"--scale {asked}: study '{study}' has no runs at it.{did_you_mean(asked, known)}")
        return asked
    if FULL in known or not known:
        return FULL
    if len(known) > 1:
        raise ConfigurationError(f"Study '{study}' has runs at {', '.join(known)}: choose one with --scale.")
    return known[0]


def records_at(store: Path, study: str, scale: str) -> list[RunRecord]:
    """The records of a study's runs at one scale."""
    return read_records(store, at_scale(study, scale))

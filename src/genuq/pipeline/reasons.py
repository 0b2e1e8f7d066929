"""Why a stage is made anew although its run had an artefact of it: what differs between the two identities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genuq import files
from genuq.errors import ArtefactError
from genuq.store.artefact import MANIFEST, NAME_LENGTH, StageFolder

ABSENT: Any = object()
SHOWN = 24  # characters of a value
MOST = 8  # differences that are told
REWRITTEN = "another version of genuq made it, which wrote down in another way what it depends on (data by their paths)"


def written_identity(link: Path) -> Mapping[str, Any] | None:
    """What the artefact that a run's link leads to was made from; None where there is none, or it is broken."""
    try:
        found = files.read_json(link / MANIFEST)["made_from"]
    except (ArtefactError, OSError, KeyError, TypeError):
        return None
    return found if isinstance(found, Mapping) else None


def why_anew(
    before: Mapping[str, Any] | None, folder: StageFolder, store: Path, known: Iterable[StageFolder] = ()
) -> str | None:
    """What differs between a run's former artefact of a stage and the one to be made; None where nothing does.

    Args:
        before: identity of the former one.
        folder: of the new one.
        store: where artefacts that identities name by their fingerprints lie.
        known: artefacts of the run as it is now, whose identities tell what differs in those of such a name.
    """
    if before is None:
        return None
    if before.get("layout") != folder.identity.get("layout"):
        return REWRITTEN
    new = {one.fingerprint: one.identity for one in known}
    told = list(dict.fromkeys(_differences(before, folder.identity, store, new)))
    more = f"; and {len(told) - MOST} more" if len(told) > MOST else ""
    return "; ".join(told[:MOST]) + more if told else None


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], store: Path, known: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Of two identities: of their versions, settings and inputs."""
    if old.get("version") != new.get("version"):
        yield f"its version: {old.get('version')} -> {new.get('version')}"
    for key, left, right in _leaves(old.get("settings", {}), new.get("settings", {})):
        latter = known.get(str(right))
        former = None if latter is None else _made_from(store, left)
        if latter is None or former is None:
            yield _told(key, left, right)
        else:
            yield from _differences(former, latter, store, known)
    for key, _, right in _leaves(old.get("inputs", {}), new.get("inputs", {})):
        yield f"upstream {known[str(right)]['stage'] if str(right) in known else key}"


def _leaves(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old, new) of what differs; a part that is named by its content now is one."""
    if old == new:
        return
    divided = isinstance(old, Mapping) and isinstance(new, Mapping)
    named_by_content = prefix and _is_content(new) and not _is_content(old)
    if not divided or (named_by_content and old.keys() != new.keys()):
        yield prefix.removesuffix("."), old, new
        return
    for key in dict.fromkeys([*old, *new]):
        yield from _leaves(old.get(key, ABSENT), new.get(key, ABSENT), f"{prefix}{key}.")


def _told(key: str, old: Any, new: Any) -> str:
    if _is_content(new) and not _is_content(old) and old is not ABSENT and old is not None:
        return f"{key} is identified by content now"
    if old is ABSENT:
        return f"{key} is new in its identity" if not isinstance(new, Mapping) else _told(_first(key, new), old, None)
    if new is ABSENT:
        return f"{key} is no longer in its identity"
    if _is_content(new) and _is_content(old):
        return f"the content of {key} changed"
    return f"{key}: {_shortened(old)} -> {_shortened(new)}"


def _first(key: str, part: Mapping[str, Any]) -> str:
    """The key of a part that is new as a whole, down to where it has several."""
    while isinstance(part, Mapping) and len(part) == 1:
        (name, part), *_ = part.items()
        key = f"{key}.{name}"
    return key


def _is_content(value: Any) -> bool:
    """Whether plain data consist of digests alone."""
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_content, value.values()))
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _made_from(store: Path, digest: Any) -> Mapping[str, Any] | None:
    """The identity of the stored artefact of this fingerprint."""
    if not _is_content(digest) or isinstance(digest, Mapping):
        return None
    return next((found for path in store.glob(f"*/{digest[:NAME_LENGTH]}") if (found := written_identity(path))), None)

"""What a leaderboard is, as its YAML file declares it: the question, the conditions, the scores, the comparisons.

genuq has two, `full` and `quick`; a file of the user's own is one as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from genuq.errors import ConfigurationError, did_you_mean
from genuq.leaderboard.results import Condition
from genuq.scores import SCORES

NESTED = "nested"  # as the rival of a comparison: all nested controls together
REFERENCE = "{reference}"  # in an override: the folder of the checkpoints that are shipped with genuq
FASTEST = "quick"
KEYS = {  # with what each may hold, for messages
    "title": "text",
    "question": "text",
    "samples": "a whole number of samples of each condition, 2 or more",
    "bootstrap": "a whole number of replicates, 100 or more",
    "settings": "a list of overrides of every run",
    "samplers": "samplers by name, each with `settings`, a list of overrides",
    "data": "data sets by name, each with `settings` and `seeds`, overrides by training seed",
    "scores": "a list of scores",
    "controls": "a list of scores that a score has to beat",
    "nested": "a list of controls that the nested model knows beside the class",
    "directions": "`lower` by score, where low values mean bad samples",
    "primary": "a list of {score, control, fault, data, sampler}, the comparisons declared beforehand",
}
REQUIRED = ("title", "question", "data", "samplers", "scores", "controls")
OPTIONS = {  # of an entry below a key
    "samplers": ("label", "settings"),
    "data": ("label", "settings", "seeds", "samplers", "without"),
    "primary": ("score", "control", "fault", "data", "sampler"),
}


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler of the board: what a reader is shown, and the overrides that choose it."""

    name: str
    label: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class DataChoice:
    """A data set of the board.

    Attributes:
        settings: overrides of its runs.
        seeds: by training seed, the overrides that choose the base network and the members.
        samplers: names of those it is sampled with.
        without: scores that it cannot have, such as those of images on points.
    """

    name: str
    label: str
    settings: tuple[str, ...]
    seeds: Mapping[int, tuple[str, ...]]
    samplers: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A comparison that was declared before the run: a score against a control, or against all nested controls together
    (`nested`), for one kind of fault of one data set under one sampler."""

    score: str
    control: str
    fault: str
    data: str
    sampler: str


@dataclass(frozen=True)
class Wanted:
    """A run that the board asks for: the condition, and its overrides."""

    condition: Condition
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """A leaderboard as declared; see `KEYS`."""

    name: str
    title: str
    question: str
    samples: int
    bootstrap: int
    settings: tuple[str, ...]
    samplers: Mapping[str, SamplerChoice]
    data: Mapping[str, DataChoice]
    scores: tuple[str, ...]
    controls: tuple[str, ...]
    nested: tuple[str, ...]
    directions: Mapping[str, str]
    primary: tuple[Comparison, ...]

    @property
    def study(self) -> str:
        """The name that its runs are recorded under."""
        return f"leaderboard-{self.name}"

    @property
    def wanted(self) -> list[Wanted]:
        """The runs of all conditions, in the order of the file."""
        return [
            Wanted(Condition(data.name, sampler, seed), self._overrides(data, self.samplers[sampler], seed))
            for data in self.data.values()
            for sampler in data.samplers
            for seed in data.seeds
        ]

    def _overrides(self, data: DataChoice, sampler: SamplerChoice, seed: int) -> tuple[str, ...]:
        return (
            *self.settings,  # from the general to the particular: the last word counts
            *data.settings,
            *sampler.settings,
            *data.seeds[seed],
            *self._columns(data),
            f"sampler.samples={self.samples}",
            "sampler.keep_path=true",  # for scores of the path that come later
            f"study={self.study}",
            f"name={data.name}-{sampler.name}-{seed}",
        )

    def _columns(self, data: DataChoice) -> tuple[str, ...]:
        """The scores as a run asks for them: controls apart, of which the class prior comes by itself."""
        names = [name for name in dict.fromkeys((*self.scores, *self.controls)) if name not in data.without]
        controls = [name for name in names if SCORES.get(name).kind == "control" and name != "class_prior"]
        first, *rest = [name for name in names if SCORES.get(name).kind != "control"]
        return f"score.name={first}", f"score.also=[{','.join(rest)}]", f"score.controls=[{','.join(controls)}]"

    def only(self, data: Sequence[str] = (), seeds: Sequence[int] = ()) -> Board:
        """The board with some of its data sets and training seeds; with all where none is named.

        Raises:
            ConfigurationError: it has none of that name.
        """
        known = {seed for one in self.data.values() for seed in one.seeds}
        for flag, asked, have in (("--data", data, self.data), ("--seeds", seeds, known)):
            for name in asked:
                if name not in have:
                    near = did_you_mean(str(name), map(str, have))
                    raise ConfigurationError(f"{flag} {name}: leaderboard '{self.name}' has no such one.{near}")
        kept = {name: _with_seeds(one, seeds) for name, one in self.data.items() if not data or name in data}
        return replace(self, data={name: one for name, one in kept.items() if one.seeds})

    def command(self, condition: Condition) -> str:
        """What a user types for one condition."""
        return f"genuq leaderboard {self.name} --data {condition.data} --seeds {condition.seed}"


def _with_seeds(data: DataChoice, seeds: Sequence[int]) -> DataChoice:
    return replace(data, seeds={seed: how for seed, how in data.seeds.items() if not seeds or seed in seeds})


# Reading it


def shipped() -> list[str]:
    """Names of genuq's own boards."""
    folder = resources.files("genuq.leaderboard").joinpath("boards")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_board(name: str | Path) -> Board:
    """A board of genuq's by name, or one of the user's by the path of its YAML file.

    Raises:
        ConfigurationError: there is none; or what is wrong with it: the key, its value, and the remedy.
    """
    path = Path(name)
    if str(name) in shipped():
        path = Path(str(resources.files("genuq.leaderboard").joinpath("boards", f"{name}.yaml")))
    elif not path.is_file():
        raise ConfigurationError(
            f"There is no leaderboard '{name}'.{did_you_mean(str(name), shipped())} Or give the path of a YAML file "
            f"that has {', '.join(REQUIRED)}."
        )
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}. Correct it.") from error
    try:
        return _board(entry, str(name) if str(name) in shipped() else path.stem)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _board(entry: Any, name: str) -> Board:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"it holds no keys; give {', '.join(REQUIRED)}.")
    _require_known(entry, KEYS, "a leaderboard")
    for key in REQUIRED:
        if not entry.get(key):
            raise ConfigurationError(f"{key} is missing; give {KEYS[key]}.")
    samplers = {key: _sampler(key, one) for key, one in _mapping(entry, "samplers").items()}
    board = Board(
        name=_identifier(name, "The file's name"),
        title=_text(entry, "title"),
        question=_text(entry, "question"),
        samples=_count(entry, "samples", 4096, 2),
        bootstrap=_count(entry, "bootstrap", 1000, 100),
        settings=_texts(entry, "settings"),
        samplers=samplers,
        data={key: _data(key, one, samplers) for key, one in _mapping(entry, "data").items()},
        scores=_texts(entry, "scores"),
        controls=_texts(entry, "controls"),
        nested=_texts(entry, "nested"),
        directions=_directions(entry),
        primary=(),
    )
    _check_scores(board)
    return replace(board, primary=tuple(_comparisons(entry, board)))


def _require_known(entry: Mapping[str, Any], known: Sequence[str] | Mapping[str, str], what: str) -> None:
    for key in entry:
        if key not in known:
            raise ConfigurationError(f"'{key}' is not a key of {what}.{did_you_mean(str(key), known)}")


def _sampler(name: str, entry: Any) -> SamplerChoice:
    place = f"samplers: {name}"
    given = _entry(entry, "samplers", place)
    return SamplerChoice(_identifier(name, place), _text(given, "label", place) or name, _overrides(given, place))


def _data(name: str, entry: Any, samplers: Mapping[str, SamplerChoice]) -> DataChoice:
    place = f"data: {name}"
    given = _entry(entry, "data", place)
    chosen = _texts(given, "samplers", place) or tuple(samplers)
    for one in chosen:
        if one not in samplers:
            raise ConfigurationError(f"{place}: there is no sampler '{one}'.{did_you_mean(one, samplers)}")
    return DataChoice(
        _identifier(name, place),
        _text(given, "label", place) or name,
        _overrides(given, place),
        dict(_seeds(given, place)),
        chosen,
        _texts(given, "without", place),
    )


def _seeds(given: Mapping[str, Any], place: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    seeds = given.get("seeds")
    if not isinstance(seeds, dict) or not seeds:
        raise ConfigurationError(f"{place}: seeds = {seeds!r}; give overrides by training seed, as {{0: [seed=0]}}.")
    for seed, overrides in seeds.items():
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigurationError(f"{place}: seeds: '{seed}' is no training seed; give a whole number.")
        yield seed, _overrides({"settings": overrides}, f"{place}: seeds: {seed}")


def _comparisons(entry: Mapping[str, Any], board: Board) -> Iterator[Comparison]:
    """The declared comparisons; without a sampler, that of the data set's first."""
    for one in _list(entry, "primary"):
        given = _entry(one, "primary", "primary")
        for key in ("score", "control", "fault", "data"):
            if not _text(given, key, "primary"):
                raise ConfigurationError(f"primary: {given!r} has no {key}; give {KEYS['primary']}.")
        _require_one_of(given, "score", board.scores)
        _require_one_of(given, "control", (NESTED, *board.controls))
        _require_one_of(given, "data", board.data)
        samplers = board.data[given["data"]].samplers
        chosen = {"sampler": samplers[0]} | given
        _require_one_of(chosen, "sampler", samplers)
        yield Comparison(**chosen)


def _require_one_of(given: Mapping[str, str], key: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if given[key] not in known:
        raise ConfigurationError(f"primary: there is no {key} '{given[key]}' here.{did_you_mean(given[key], known)}")


def _check_scores(board: Board) -> None:
    for key in ("scores", "controls", "nested"):
        for name in getattr(board, key):
            SCORES.get(name, key)
    for name in board.nested:
        if name not in board.controls:
            raise ConfigurationError(f"nested: '{name}' is none of the controls.{did_you_mean(name, board.controls)}")
    for data in board.data.values():
        left = [name for name in (*board.scores, *board.controls) if name not in data.without]
        if all(SCORES.get(name).kind == "control" for name in left):
            raise ConfigurationError(f"data: {data.name}: no score is left. Take one out of without.")


def _directions(entry: Mapping[str, Any]) -> dict[str, str]:
    found = {
        str(name): value for name, value in (_mapping(entry, "directions") if "directions" in entry else {}).items()
    }
    for name, value in found.items():
        SCORES.get(name, "directions")
        if value not in ("lower", "higher"):
            raise ConfigurationError(f"directions: {name} = {value!r}; give lower or higher, which of them is bad.")
    return found


def _entry(entry: Any, key: str, place: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{place} = {entry!r}; give {KEYS[key]}.")
    _require_known(entry, OPTIONS[key], place)
    return dict(entry)


def _mapping(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(f"{key} = {value!r}; give {KEYS[key]}.")
    return value


def _overrides(given: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """Overrides with the folder of shipped checkpoints written out."""
    folder = str(resources.files("genuq").joinpath("reference"))
    return tuple(text.replace(REFERENCE, folder) for text in _texts(given, "settings", place))


def _text(entry: Mapping[str, Any], key: str, place: str = "") -> str:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{_at(place, key)} = {value!r}; give text.")
    return " ".join((value or "").split())


def _texts(entry: Mapping[str, Any], key: str, place: str = "") -> tuple[str, ...]:
    values = _list(entry, key, place)
    if not all(isinstance(value, str) for value in values):
        raise ConfigurationError(f"{_at(place, key)} = {values!r}; give a list of texts, in quotes where need be.")
    return tuple(values)


def _list(entry: Mapping[str, Any], key: str, place: str = "") -> list[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        raise ConfigurationError(f"{_at(place, key)} = {value!r}; give a list, [a, b].")
    return value


def _at(place: str, key: str) -> str:
    return f"{place}: {key}" if place else key


def _count(entry: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{key} = {value!r}; give {KEYS[key]}.")
    return value


def _identifier(name: str, place: str) -> str:
    """A name that is a folder's as well."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ConfigurationError(f"{place}: '{name}' names a folder: give letters, digits and any of _ . -")
    return name

"""Which layers of a network take part: by name, by pattern, or all that can; and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from genuq.errors import ConfigurationError, did_you_mean
from genuq.models.head import head_candidates, is_only_read
from genuq.posteriors.curvature.layer_geometry import obstacle

ALL = "all"
READ = "belongs to an nn.MultiheadAttention, which reads its weights and never runs it"


def choose_layers(
    network: nn.Module, patterns: str | Sequence[str], key: str = "posterior.layers"
) -> tuple[list[str], dict[str, str]]:
    """Names of the chosen layers in the order of registration, and the reason for each that had to be left out.

    Args:
        network: the network.
        patterns: dotted names and glob patterns ("up.*"), `all`, or with "!" in front what to leave out again. A layer
            called by its own name must be suitable; one that only a pattern matches is left out where it is not, and
            where it is frozen (requires_grad False) beside others that are not.
        key: the configuration key, for messages.

    Raises:
        ConfigurationError: a pattern that matches nothing, a named layer that cannot be covered, or none left.
    """
    asked = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns]
    candidates = head_candidates(network)
    dropped = _matched(candidates, (pattern[1:] for pattern in asked if pattern.startswith("!")), network, key)
    named = {pattern for pattern in asked if pattern in candidates} - dropped
    matched = _matched(candidates, (pattern for pattern in asked if not pattern.startswith("!")), network, key)
    obstacles = _obstacles(network, matched - dropped)
    for name in sorted(named & obstacles.keys()):
        raise ConfigurationError(f"{key} = '{name}' {obstacles[name]}. Leave it out.")
    chosen = matched - dropped - obstacles.keys()
    frozen = {name for name in chosen - named if not network.get_submodule(name).weight.requires_grad}
    if chosen - frozen:
        chosen -= frozen
        obstacles |= dict.fromkeys(frozen, "is frozen (requires_grad=False)")
    if not chosen:
        reasons = "".join(f" '{name}' {reason}." for name, reason in sorted(obstacles.items())[:4])
        raise ConfigurationError(f"{key} = {asked} leaves no layer.{reasons}")
    return [name for name in candidates if name in chosen], obstacles


def matching(candidates: Iterable[str], pattern: str) -> list[str]:
    """The candidates that a name, a glob pattern or `all` stands for."""
    return [name for name in candidates if pattern == ALL or name == pattern or fnmatchcase(name, pattern)]


def _matched(candidates: list[str], patterns: Iterable[str], network: nn.Module, key: str) -> set[str]:
    """All candidates that match one of the patterns."""
    found = set()
    for pattern in patterns:
        matches = matching(candidates, pattern)
        if not matches:
            raise ConfigurationError(f"{key} = '{pattern}' {_why_nothing(candidates, pattern, network)}")
        found.update(matches)
    return found


def _why_nothing(candidates: list[str], pattern: str, network: nn.Module) -> str:
    modules = dict(network.named_modules())
    if any(name.startswith(f"{pattern}.") for name in candidates):
        return f"holds layers, but is none. Did you mean '{pattern}.*'?"
    if pattern in modules:
        return f"{obstacle(modules[pattern])}." + did_you_mean(pattern, candidates)
    return "matches no Conv2d or Linear layer." + did_you_mean(pattern, candidates)


def require_untied(network: nn.Module, name: str, key: str) -> None:
    """Refuse a layer whose weights another part of the network uses too: a draw would move both.

    Raises:
        ConfigurationError: it names all that share them.
    """
    if reason := _tie(network.get_submodule(name), _holders(network)):
        raise ConfigurationError(f"{key} = '{name}' {reason}. Choose another layer, or give it weights of its own.")


def _holders(network: nn.Module) -> dict[int, list[str]]:
    """All names of each parameter, by its identity."""
    holders: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        holders.setdefault(id(parameter), []).append(name)
    return holders


def _obstacles(network: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """The reason for each layer that cannot be covered."""
    holders, reasons = _holders(network), {}
    for name in names:
        layer = network.get_submodule(name)
        reason = obstacle(layer) or _tie(layer, holders) or (READ if is_only_read(network, name) else None)
        if reason:
            reasons[name] = reason
    return reasons


def _tie(layer: nn.Module, holders: dict[int, list[str]]) -> str | None:
    for parameter in layer.parameters():
        if len(holders[id(parameter)]) > 1:
            return f"has tied weights ({' is '.join(holders[id(parameter)])})"
    return None

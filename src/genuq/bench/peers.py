"""laplace-torch 0.3 and curvlinops 3.0.1 on the same heads and data, each in a process of its own.

Both are given the head alone, with its inputs made beforehand and its outputs flattened to (B, O P): most refuse
outputs (B, O, H, W), some misread them. Three of laplace-torch's structures have a counterpart here: the full GGN
(exact_laplace), its diagonal (diagonal_laplace), KFAC (kfac). `error` is the relative Frobenius distance of the
curvature that was found from what its structure should hold: the exact GGN, its diagonal or the empirical Fisher's. For
KFAC it contains KFAC's own approximation.

A process may take the memory that the machine has free, and so long; what it asked for beyond is reported.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genuq.bench.cases import OUTPUTS, Case
from genuq.bench.memory import peak_bytes
from genuq.bench.timing import elapsed, interleaved
from genuq.errors import ConfigurationError
from genuq.posteriors import DiagonalLaplace, ExactLastLayerLaplace

Record = dict[str, Any]

DENSE_LIMIT = 3000  # parameters up to which whole matrices are compared
ROUNDS, LONG = 3, 5.0  # a fit that takes more seconds than that is timed once


class Peer(NamedTuple):
    """A way to a posterior over the head in another library; `nearest` is the posterior here that it answers to."""

    library: str
    structure: str
    backend: str
    nearest: str

    @property
    def label(self) -> str:
        return f"{self.structure}, {self.backend}"


LAPLACE, CURVLINOPS = "laplace-torch 0.3", "curvlinops 3.0.1"
_NEAREST = {"full": "exact_laplace", "diag": "diagonal_laplace, ggn", "kron": "kfac, head"}
PEERS = (
    *(
        Peer(LAPLACE, structure, backend, nearest)
        for structure, nearest in _NEAREST.items()
        for backend in ("BackPackGGN", "CurvlinopsGGN", "AsdlGGN")
    ),
    Peer(LAPLACE, "diag", "BackPackEF", "diagonal_laplace, empirical_fisher"),
    Peer(CURVLINOPS, "GGN", "GGNLinearOperator", "exact_laplace"),
    Peer(CURVLINOPS, "KFAC", "KFACLinearOperator", "kfac, head"),
)


def require() -> None:
    """Raise ConfigurationError naming the remedy where a peer is not installed."""
    missing = [name for name in ("laplace", "curvlinops", "backpack", "asdl") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f'--peers: {", ".join(missing)} not installed. Run: pip install "genuq[peers]"')


def records(case: Case, seconds: float) -> list[Record]:
    """A record for each peer on this head; one that fails or takes longer than that says so."""
    return [_in_a_process(peer, case, seconds) for peer in PEERS]


def _in_a_process(peer: Peer, case: Case, seconds: float) -> Record:
    order = json.dumps([peer, asdict(case), torch.get_num_threads()])
    command = [sys.executable, "-W", "ignore", "-m", "genuq.bench.peers", order]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {**_blank(peer, case), "note": f"not done after {seconds:.0f} s"}
    if done.returncode:
        return {**_blank(peer, case), "note": f"its process ended with {done.returncode}: killed for its memory?"}
    return {**_blank(peer, case), **json.loads(done.stdout.splitlines()[-1])}


def _blank(peer: Peer, case: Case) -> Record:
    keys = ("forward_seconds", "fit_over_forward", "fit_seconds", "fit_peak_bytes")
    return {
        "posterior": peer.label,
        "head": case.head,
        "peer": peer.library,
        "nearest": peer.nearest,
        "images": case.images,
        **dict.fromkeys(keys),
        "matrix_bytes": 8 * case.inputs**2,
        "draw_seconds": None,
        "variance_over_head_forward": None,
        "error": None,
        "needed_bytes": needed_bytes(peer, case),
        "note": None,
    }


def needed_bytes(peer: Peer, case: Case) -> int | None:
    """Bytes of the Jacobian of a batch, (B, O P, parameters) in float32, which all ways to a full GGN hold at once.

    laplace-torch's BackPACK and ASDL backends stack it row by row; curvlinops applies J to all unit vectors together.
    """
    if peer.structure not in ("full", "GGN"):
        return None
    return 4 * case.images * OUTPUTS * case.size**2 * OUTPUTS * case.inputs


def _limit_memory() -> None:
    """Let an allocation beyond the machine's free memory fail, with its size, instead of the whole machine."""
    free, used = _free_bytes(), _pages_used() * resource.getpagesize()
    if free:
        resource.setrlimit(resource.RLIMIT_AS, (used + int(0.9 * free), resource.RLIM_INFINITY))


def _free_bytes() -> int:
    """Memory that the machine has to give, 0 where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 0


def _pages_used() -> int:
    """Address space of this process, in pages."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0])
    except OSError:
        return 0


def measure(peer: Peer, case: Case) -> Record:
    """Fit, draw and predictive variance of one peer on one head, in this process."""
    model, batch, features = case.model(), case.batch(), case.features()
    head = nn.Sequential(model.head, nn.Flatten())
    fit = functools.partial(_FITS[peer.library], peer, head, features, batch.target.flatten(1))

    def forward() -> Tensor:
        with torch.no_grad():
            return model(batch.x, batch.t, batch.y)

    peak, fitted = peak_bytes(fit)
    rounds = ROUNDS if elapsed(fit) < LONG else 1
    seconds = interleaved({"forward": forward, "fit": fit}, rounds, warm=False)
    forward_seconds, fit_seconds = (statistics.median(seconds[name]) for name in ("forward", "fit"))
    return {
        "forward_seconds": forward_seconds,
        "fit_over_forward": (forward_seconds + fit_seconds) / forward_seconds,
        "fit_seconds": fit_seconds,
        "fit_peak_bytes": peak,
        "error": _error(peer, fitted, model.head, features, batch.target),
        **_use(fitted, head, features),
    }


class Fitted(NamedTuple):
    """What a peer found: the curvature as a vector or a matrix, how it draws, and its variance for some features."""

    curvature: Callable[[], Tensor]
    draw: Callable[[], object] | None = None
    variance: Callable[[Tensor], object] | None = None


def _fit_laplace(peer: Peer, head: nn.Sequential, features: Tensor, targets: Tensor) -> Fitted:
    import laplace
    from laplace import curvature
    from torch.utils.data import DataLoader, TensorDataset

    backend = getattr(curvature, peer.backend)
    fitted: Any = laplace.Laplace(
        copy.deepcopy(head), "regression", subset_of_weights="all", hessian_structure=peer.structure, backend=backend
    )
    fitted.fit(DataLoader(TensorDataset(features, targets), batch_size=len(features)))
    return Fitted(
        lambda: fitted.H.to_matrix() if peer.structure == "kron" else fitted.H,
        lambda: fitted.sample(1),
        lambda some: fitted(some, pred_type="glm", diagonal_output=True),
    )


def _fit_curvlinops(peer: Peer, head: nn.Sequential, features: Tensor, targets: Tensor) -> Fitted:
    import curvlinops

    parameters, data = list(head.parameters()), [(features, targets)]
    options: dict[str, Any] = {"check_deterministic": False}
    if peer.structure == "KFAC":
        options |= {"separate_weight_and_bias": False, "fisher_type": curvlinops.FisherType.MC}
    loss = nn.MSELoss(reduction="sum")  # twice the half squared error
    operator = getattr(curvlinops, peer.backend)(head, loss, parameters, data, **options)
    identity = torch.eye(operator.shape[1])
    if peer.structure == "KFAC":
        operator.compute_kronecker_factors()
        return Fitted(lambda: 0.5 * (operator @ identity))
    dense = 0.5 * (operator @ identity)
    return Fitted(lambda: dense)


_FITS = {LAPLACE: _fit_laplace, CURVLINOPS: _fit_curvlinops}


def _use(fitted: Fitted, head: nn.Module, features: Tensor) -> Record:
    """Seconds of a draw after the first, and of variances of one image over the head's forward pass of it."""
    found: Record = {"draw_seconds": None, "variance_over_head_forward": None, "note": None}
    if fitted.draw is None or fitted.variance is None:
        return found | {"note": "an operator: draws and variances are left to the user"}
    found["draw_seconds"] = statistics.median(interleaved({"draw": fitted.draw}, ROUNDS)["draw"])
    one = features[:1]
    try:
        seconds = elapsed(lambda: fitted.variance(one))  # type: ignore[misc]
    except Exception as error:  # whatever it raises is its result
        return found | {"note": f"no variance: {_words(error)}"}
    with torch.no_grad():
        base = statistics.median(interleaved({"head": lambda: head(one)}, 5 * ROUNDS)["head"])
    return found | {"variance_over_head_forward": seconds / base}


def _error(peer: Peer, fitted: Fitted, layer: nn.Module, features: Tensor, targets: Tensor) -> float | None:
    """Relative distance of the curvature from the right one; None for a matrix too large to compare."""
    if peer.structure == "diag":
        wanted = _right_diagonal(peer, layer, features, targets)
    elif sum(parameter.numel() for parameter in layer.parameters()) > DENSE_LIMIT:
        return None
    else:
        wanted = _right_matrix(layer, features)
    return float((fitted.curvature().double() - wanted).norm() / wanted.norm())


def _right_diagonal(peer: Peer, layer: nn.Module, features: Tensor, targets: Tensor) -> Tensor:
    """In the peers' order: all weights, then the biases."""
    posterior = DiagonalLaplace(layer, convention="laplace_torch" if peer.backend.endswith("EF") else "ggn")
    with torch.no_grad():
        posterior.update(features, layer(features) - targets)
    diagonal_OK = posterior.curvature.expand(posterior.mean_OK.shape)
    return torch.cat([diagonal_OK[:, :-1].flatten(), diagonal_OK[:, -1]])


def _right_matrix(layer: nn.Module, features: Tensor) -> Tensor:
    """The exact GGN in the peers' order: A for each output channel, zero between channels."""
    posterior = ExactLastLayerLaplace(layer)
    posterior.update(features)
    weights = posterior.head.inputs - 1
    size = OUTPUTS * posterior.head.inputs
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for output in range(OUTPUTS):
        index = torch.tensor([*range(output * weights, (output + 1) * weights), OUTPUTS * weights + output])
        matrix[index[:, None], index] = posterior.curvature
    return matrix


def _words(error: Exception, free: int = 0) -> str:
    """What it raised, in a line; `free` is the memory that the process could have had, in bytes."""
    refused = re.search(r"tried to allocate (\d+) bytes", str(error))
    if refused:
        return f"out of memory at a further {int(refused[1]) / 2**30:.2f} GiB, {free / 2**30:.0f} GiB were free"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def main(order: str) -> None:
    """Measure one peer on one head in this process; the record is the last line that it prints."""
    peer, case, threads = json.loads(order)
    torch.set_num_threads(threads)
    free = _free_bytes()
    _limit_memory()
    try:
        found = measure(Peer(*peer), Case(**case))
    except Exception as error:  # whatever a peer raises is its result
        found = {"note": _words(error, free)}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])

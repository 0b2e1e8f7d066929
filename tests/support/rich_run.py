"""The fullest run that a report can have: several posteriors, many scores, pixel maps, an application.

Curves of the criteria are computed the way a run would; the rest is made up.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from support.made_run import SCORES, make_results

MANY = [
    *SCORES[:5],
    ("deep_ensemble", "Generative uncertainty: deep ensemble", "score", 0.9, 100.0),
    ("posthoc_ensemble", "Generative uncertainty: posthoc ensemble", "score", 0.78, 100.0),
    ("swag", "Generative uncertainty: swag", "score", 0.72, 100.0),
    ("aleatoric", "Aleatoric variance (AU)", "baseline", 0.4, 12.0),
    ("trajectory_variance", "Trajectory variance", "baseline", 0.5, 0.0),
    ("divergence", "Flow divergence", "baseline", 0.3, 60.0),
    ("likelihood", "Negative log-likelihood", "baseline", 0.15, 200.0),
    *SCORES[5:10],
    ("isotropic_network", "Generative uncertainty: isotropic network", "control", 0.5, 100.0),
    *SCORES[10:],
]


def evidence() -> tuple[list[float], list[float]]:
    """(lambda, log marginal likelihood) of curvature with eigenvalues over six decades and 1000 weights."""
    eigenvalues, grid = np.logspace(-2, 4, 1000), np.logspace(-6, 2.3, 400)
    curve = [-0.5 * (np.log1p(eigenvalues / precision).sum() + 300 * precision) for precision in grid]
    return grid.tolist(), curve


def predictive() -> tuple[list[float], list[float]]:
    """(factor, log density) of residuals with variance 0.17 where the posterior accounts for 0.16 + 1e-3 factor."""
    grid = np.logspace(-3, 5, 65)
    variance = 0.16 + 1e-3 * grid
    return grid.tolist(), (-0.5 * (np.log(2 * np.pi * variance) + 0.17 / variance)).tolist()


def posteriors(draws: int) -> list[dict[str, Any]]:
    """Exact Laplace chosen by evidence, KFAC by predictive density, and a deep ensemble."""
    grid, curve = evidence()
    exact = {
        "name": "exact_laplace",
        "label": "exact_laplace",
        "head": "output.projection",
        "draws": draws,
        "scale": {
            "n_effective": 60000.0,
            "n_seen": 4096,
            "observation_noise": 0.1697,
            "prior_precision": grid[int(np.argmax(curve))],
            "temperature": 31.2,
            "relative_perturbation": 0.0213,
            "how": {
                "n_effective": "size of the training set",
                "observation_noise": "residual variance on 512 held-out images",
                "prior_precision": "maximum of the log marginal likelihood",
                "temperature": "variance of whole-image gradients over curvature, on 512 held-out images",
            },
            "criterion": "evidence",
        },
        "evidence": [grid, curve],
        "predictive": None,
        "noise_profile": None,
        "cost": {
            "fit_seconds": 21.4,
            "trunk_forward_seconds": 20.9,
            "sample_seconds": 18.2,
            "draw_seconds": 91.0,
            "evaluations": 20 * draws,
        },
        "quality": {"fid_map": 16.0, "fid_draws": [16.4, 16.9, 16.2, 17.3, 16.6][:draws]},
    }
    kfac = copy.deepcopy(exact) | {"name": "kfac", "label": "kfac_all_layers", "evidence": [grid, curve]}
    kfac["scale"] |= {"criterion": "predictive", "relative_perturbation": 0.0402, "temperature": 312.0}
    kfac |= {"predictive": list(predictive()), "noise_profile": [0.31, 0.22, 0.16, 0.13, 0.11, 0.1, 0.12, 0.21]}
    kfac |= {"quality": {"fid_map": 16.0, "fid_draws": [18.4, 20.9, 19.2, 18.3, 19.6][:draws]}}
    ensemble = copy.deepcopy(exact) | {"name": "deep_ensemble", "label": "deep_ensemble", "evidence": None}
    ensemble["scale"] |= {"criterion": "members", "n_seen": 0, "relative_perturbation": 0.91, "temperature": 1.0}
    ensemble |= {"quality": {"fid_map": 16.0, "fid_draws": [15.7, 16.9, 16.8, 16.3, 16.6][:draws]}}
    ensemble["cost"] |= {"fit_seconds": 21400.0, "trunk_forward_seconds": 0.0}
    return [exact, kfac, ensemble]


def application() -> dict[str, Any]:
    """Samples with the highest uncertainty made again; the control makes as many again at random."""

    def row(measure: str, value: float, control: float, spread: float, n: int) -> dict[str, Any]:
        return {
            "measure": measure,
            "value": value,
            "low": value - spread,
            "high": value + spread,
            "control_value": control,
            "control_low": control - spread,
            "control_high": control + spread,
            "difference": value - control,
            "difference_low": value - control - 1.3 * spread,
            "difference_high": value - control + 1.3 * spread,
            "n": n,
        }

    return {
        "name": "repair",
        "settings": {"share": 0.1, "steps": 20, "strength": 0.4},
        "outcome": [
            row("FID of all samples", 14.2, 15.8, 0.4, 512),
            row("class_accuracy", 0.934, 0.911, 0.012, 512),
            row("squared change of a pixel", 0.00123, 0.00131, 0.0002, 51),
        ],
        "sentence": (
            "Repairing the pixels that the map doubts lowers FID from 15.8 to 14.2, "
            "95% interval of the difference −2.1 to −1.1; as many pixels chosen at random do not."
        ),
        "control": "as many pixels chosen at random",
        "notes": [],
        "judge": "fashion_mnist_classifier",
        "examples": None,
    }


def make_rich(samples: int, draws: int, entries: list[tuple] = MANY) -> tuple[dict, np.ndarray, np.ndarray]:
    """As `made_run.make_results`, of a run with everything."""
    results, bad, classes = make_results(samples, draws, entries)
    found = posteriors(draws)
    maps = {
        "propagator": "trajectory",
        "solver": "euler",
        "unit": "share of the image's range",
        "score_reduce": "top",
        "evaluations_ratio": 2.15,
        "how": "Variance of the latents carried along the trajectory by a forward derivative at every second step.",
    }
    return (
        results | {"posterior": found[0], "posteriors": found, "maps": maps, "application": application()},
        bad,
        classes,
    )


def make_maps(images_NCHW: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """(N, H, W) standard deviations in shares of the range: high at edges of the image, and the higher the worse."""
    grey = gaussian_filter(images_NCHW.mean(1) / 255, (0, 1.2, 1.2))
    across, down = np.gradient(grey, axis=2), np.gradient(grey, axis=1)
    return (0.004 + 0.5 * bad[:, None, None] * np.hypot(across, down)).astype(np.float32)


def make_examples(images_NCHW: np.ndarray, maps_NHW: np.ndarray, count: int = 5) -> dict[str, np.ndarray]:
    """The worst samples before, after (smoothed where the map is high) and with the control (smoothed elsewhere)."""
    chosen = np.argsort(-maps_NHW.sum((1, 2)))[:count]
    before, maps = images_NCHW[chosen], maps_NHW[chosen]
    inside = maps > np.quantile(maps, 0.8, axis=(1, 2), keepdims=True)
    smooth = sum(np.roll(before.astype(float), (y, x), (2, 3)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    other = inside[:, ::-1, ::-1]
    return {
        "before": before,
        "after": np.where(inside[:, None], smooth, before).astype(np.uint8),
        "control": np.where(other[:, None], smooth, before).astype(np.uint8),
        "mask": 255 * inside.astype(np.uint8),
    }

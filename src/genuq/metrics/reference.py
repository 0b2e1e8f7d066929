"""Statistics of reference features as others keep them: a NumPy archive with `mu` and `sigma`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genuq.errors import DataError

KEYS, EXTRACTOR = ("mu", "sigma"), "extractor"
PRECISIONS = ("float32", "float64")
ROUNDING = 1e-5  # of the largest entry or eigenvalue: what float32 and its sums leave of a symmetric matrix


class Gaussian(NamedTuple):
    """Mean (D,) and covariance (D, D) of features, float64."""

    mean_D: Tensor
    covariance_DD: Tensor


def read_statistics(path: str | Path, key: str = "metric.statistics") -> Gaussian:
    """Mean and covariance of reference features from an .npz of `mu` (D,) and `sigma` (D, D).

    As pytorch-fid, clean-fid and guided-diffusion write them; other arrays of the archive are passed over. Nothing but
    plain numbers is read.

    Args:
        key: of the configuration that names the file, for messages.

    Raises:
        DataError: no such file or archive, arrays of other shapes or of less than single precision, NaN or infinite
            entries, or a `sigma` that is no covariance: not symmetric, or with negative eigenvalues.
    """
    arrays = _read(Path(path).expanduser(), key)
    for name, array in arrays.items():
        if str(array.dtype) not in PRECISIONS:
            raise _wrong(key, path, f"'{name}' is {array.dtype}, but must be {' or '.join(PRECISIONS)}")
        if not np.isfinite(array).all():
            raise _wrong(key, path, f"'{name}' has NaN or infinite entries")
    mean_D, covariance_DD = (torch.from_numpy(arrays[name].astype(np.float64)) for name in KEYS)
    if mean_D.ndim != 1 or covariance_DD.shape != (len(mean_D), len(mean_D)) or not len(mean_D):
        shapes = " and ".join(f"'{name}' {arrays[name].shape}" for name in KEYS)
        raise _wrong(key, path, f"mu must be (D,) and sigma (D, D), not {shapes}")
    largest = float(covariance_DD.abs().max())
    skew = float((covariance_DD - covariance_DD.T).abs().max())
    if skew > ROUNDING * largest:
        raise _wrong(key, path, f"'sigma' is not symmetric: entries differ from their mirror images by {skew:.2g}")
    covariance_DD = (covariance_DD + covariance_DD.T) / 2
    eigenvalues_D = torch.linalg.eigvalsh(covariance_DD)
    lowest, highest = float(eigenvalues_D[0]), float(eigenvalues_D[-1])
    if lowest < -ROUNDING * abs(highest):
        raise _wrong(key, path, f"'sigma' is no covariance: it has a negative eigenvalue, {lowest:.2g}")
    return Gaussian(mean_D, covariance_DD)


def require_dimension(reference: Gaussian, dimension: int, extractor: str, key: str = "metric.statistics") -> None:
    """Raise DataError for statistics of another feature space than the judge's, as far as dimensions tell."""
    if len(reference.mean_D) != dimension:
        raise DataError(
            f"{key}: the statistics have dimension {len(reference.mean_D)}, but the judge '{extractor}' gives "
            f"{dimension} features. Choose the extractor that they were made with (key metric.extractor)."
        )


def require_extractor(path: str | Path, extractor: str, key: str = "metric.statistics") -> None:
    """Raise DataError for statistics that say that they are of another extractor than the judge's.

    An archive may name its extractor in a text of that name; most do not.
    """
    told = _read(Path(path).expanduser(), key, (EXTRACTOR,)).get(EXTRACTOR)
    if told is not None and str(told) != extractor:
        raise DataError(
            f"{key} = '{path}': the statistics are of '{told}', but the judge is '{extractor}'. Choose the extractor "
            "that they were made with (key metric.extractor)."
        )


def _read(path: Path, key: str, wanted: tuple[str, ...] = KEYS) -> dict[str, np.ndarray]:
    """Those of the wanted arrays that are there."""
    if not os.path.isfile(path):
        raise DataError(f"{key} = '{path}' does not exist. Correct the path, or leave it null.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            found = {name: archive[name] for name in wanted if name in names}
    except Exception as error:  # NumPy, zip, zlib and pickle each raise their own
        raise _wrong(key, path, f"it is no archive of plain numbers ({error})") from error
    if absent := [name for name in KEYS if name not in names]:
        raise _wrong(key, path, f"it has no '{absent[0]}', but {', '.join(names) or 'nothing'}")
    return found


def _wrong(key: str, path: str | Path, what: str) -> DataError:
    return DataError(f"{key} = '{path}': {what}. Give an .npz with mu (D,) and sigma (D, D), or leave it null.")

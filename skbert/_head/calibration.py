"""How sure a head may be of itself, as its validation part tells. Part of ``_head``."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from skbert._training import Network, Part, log_proba

__all__ = ["at_temperature", "find_temperature"]

# The temperature is near 1 before anything is known: its logarithm is taken to be normal with this deviation. In the
# study (benchmarks/bench_quality.py) that kept four fifths of the gain on 15 to 60 validation rows, and what is learned
# from a few rows by chance stayed harmless. On a thousand rows it does nothing.
_SPREAD = 0.5
_WIDEST = 1.5  # of the logarithm


def at_temperature(log_p: np.ndarray, temperature: float) -> np.ndarray:
    """Return log-probabilities, (n, n_classes), divided by the temperature and normalised again."""
    if temperature == 1.0:
        return log_p
    scaled = log_p / temperature
    return scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)


def find_temperature(network: Network, part: Part | None) -> float:
    """Return the temperature at which a network's probabilities fit the validation part best (Guo et al., 2017).

    Parameters
    ----------
    network : Network
        The trained heads.
    part : Part or None
        The validation part. None is 1, no change.

    Returns
    -------
    float
        Above 1 where the network was too sure, else 1. It never makes a
        network surer: its epoch was chosen for looking well on this part, and
        thirty rows that all came out right would have it bet on every row.
    """
    if part is None:
        return 1.0
    log_p = log_proba(network, part.X).cpu().double().numpy()
    y, weight = part.y.cpu().numpy(), part.weight.cpu().double().numpy()
    rows = np.arange(len(y))

    def loss(logarithm: float) -> float:
        likelihood = at_temperature(log_p, np.exp(logarithm))[rows, y] @ weight
        return logarithm**2 / (2 * _SPREAD**2) - likelihood

    found = minimize_scalar(loss, bounds=(0.0, _WIDEST), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0

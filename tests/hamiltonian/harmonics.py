"""Real solid harmonics as textbooks write them, in the order of the MD17 databases (ORCA's)."""

import numpy as np


def orca(momentum: int, r: np.ndarray) -> np.ndarray:
    """(2l + 1, G) of points (G, 3): m = 0, 1, -1, 2, -2 ...; equal norms within a shell."""
    x, y, z = r.T
    r2 = x**2 + y**2 + z**2
    if momentum == 0:
        return np.ones((1, len(r)))
    if momentum == 1:
        return np.array([z, x, y])
    if momentum == 2:
        root = np.sqrt(3.0)
        return np.array(
            [0.5 * (3 * z**2 - r2), root * x * z, root * y * z, 0.5 * root * (x**2 - y**2), root * x * y]
        )
    six, fifteen, ten = np.sqrt(6.0), np.sqrt(15.0), np.sqrt(10.0)
    return np.array(
        [
            0.5 * z * (5 * z**2 - 3 * r2),
            six / 4 * x * (5 * z**2 - r2),
            six / 4 * y * (5 * z**2 - r2),
            fifteen / 2 * z * (x**2 - y**2),
            fifteen * x * y * z,
            -ten / 4 * x * (x**2 - 3 * y**2),
            -ten / 4 * y * (3 * x**2 - y**2),
        ]
    )


def rotation(momentum: int, turn: np.ndarray) -> np.ndarray:
    """(2l + 1, 2l + 1) matrix D of a rotation: Y(turn r) = D Y(r)."""
    points = np.random.default_rng(0).standard_normal((40, 3))
    before, after = orca(momentum, points), orca(momentum, points @ turn.T)
    return np.linalg.lstsq(before.T, after.T, rcond=None)[0].T

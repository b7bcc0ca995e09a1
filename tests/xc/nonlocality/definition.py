"""VV10 and rVV10 as their papers write them, for points few enough to have all pairs at once."""

import math


def omega_and_kappa(n, sigma, b, c):
    """Return omega (1/time scale of a place) and kappa from density and squared gradient."""
    plasma_squared = 4 * math.pi * n
    omega = (c * (sigma / n**2) ** 2 + plasma_squared / 3).sqrt()
    return omega, b * (3 * math.pi / 2) * (n / (9 * math.pi)) ** (1 / 6)


def beta_and_phi(squared, omega, kappa, b, form):
    """Return beta and the kernel (G, G) of squared distances (G, G)."""
    there, here = omega, omega[:, None]
    if form == "vv10":
        g, h = here * squared + kappa[:, None], there * squared + kappa
        phi = -1.5 / (g * h * (g + h))
    else:
        g, h = here / kappa[:, None] * squared, there / kappa * squared
        phi = -1.5 / ((g + 1) * (h + 1) * (g + h + 2) * (kappa * kappa[:, None]) ** 1.5)
    return (3 / b**2) ** 0.75 / 32, phi

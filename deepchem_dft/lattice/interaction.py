"""The exponential interaction of one-dimensional chemistry, and what it makes of charges."""

from functools import lru_cache

import torch
from scipy.fft import next_fast_len

from deepchem_dft.lattice.grid import Grid
from deepchem_dft.torchstate import unaffected

#: Strength of the interaction at distance 0, Hartree, and its decay, 1/Bohr: fitted by Baker et
#: al., Phys. Rev. B 91, 235141 (2015) to the soft Coulomb interaction.
AMPLITUDE = 1.071295
KAPPA = 1 / 2.385345


def interaction(distance: torch.Tensor, amplitude: float = AMPLITUDE, kappa: float = KAPPA) -> torch.Tensor:
    """Return A exp(-kappa |x|), the repulsion of two unit charges.

    Parameters
    ----------
    distance : Tensor
        Any shape and sign, Bohr.
    amplitude, kappa : float
        Hartree and 1/Bohr.

    Returns
    -------
    Tensor of the same shape, Hartree

    References
    ----------
    Baker, Stoudenmire, Wagner, Burke, White, Phys. Rev. B 91, 235141 (2015).

    Examples
    --------
    >>> interaction(torch.tensor([0.0, 2.385345], dtype=torch.float64)).tolist()
    [1.071295, 0.394107...]
    """
    return amplitude * torch.exp(-kappa * distance.abs())


def external_potential(grid: Grid, positions: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
    """Return the attraction of the nuclei, -sum_I Z_I w(x - R_I).

    Parameters
    ----------
    grid : Grid
    positions, charges : Tensor
        (..., M) Bohr and elementary charges. A charge of 0 pads a batch of different molecules.

    Returns
    -------
    Tensor of shape (..., points), Hartree

    Raises
    ------
    InputError
        If a nucleus is outside the grid.
    """
    grid.check_inside(positions.detach())
    x = grid.x.to(positions)
    return -(charges[..., None] * interaction(x - positions[..., None])).sum(-2)


def nuclear_repulsion(positions: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
    """Return sum_{I<J} Z_I Z_J w(R_I - R_J) of nuclei (..., M); shape (...,), Hartree.

    Examples
    --------
    >>> nuclear_repulsion(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0])).item()
    2.14259...
    """
    pairs = interaction(positions[..., :, None] - positions[..., None, :])
    pairs = pairs * charges[..., :, None] * charges[..., None, :]
    return pairs.triu(diagonal=1).sum((-1, -2))


def even_spectrum(kernel: torch.Tensor) -> torch.Tensor:
    """Return the Fourier transform of an even kernel, for `convolve`.

    Parameters
    ----------
    kernel : Tensor
        (..., points): values at distances 0, 1, ..., points - 1 spacings.

    Returns
    -------
    Tensor of shape (..., L // 2 + 1), real
        L is a length at which no value meets its periodic image.
    """
    n = kernel.shape[-1]
    length = next_fast_len(2 * n - 1, real=True)
    wrapped = torch.cat(
        [kernel, kernel.new_zeros(*kernel.shape[:-1], length - 2 * n + 1), kernel[..., 1:].flip(-1)], -1
    )
    return torch.fft.rfft(wrapped).real


def convolve(values: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Return sum_j k(|i - j|) values_j of functions on the grid; no factor of the spacing.

    Parameters
    ----------
    values : Tensor
        (..., points).
    spectrum : Tensor
        (..., L // 2 + 1) of `even_spectrum`; leading axes are broadcast.

    Returns
    -------
    Tensor of shape (..., points)
        Differentiable with respect to both.

    Examples
    --------
    >>> kernel = torch.tensor([2.0, 1.0, 0.0, 0.0])
    >>> convolve(torch.tensor([0.0, 1.0, 0.0, 0.0]), even_spectrum(kernel)).round().abs().tolist()
    [1.0, 2.0, 1.0, 0.0]
    """
    n = values.shape[-1]
    length = next_fast_len(2 * n - 1, real=True)
    return torch.fft.irfft(torch.fft.rfft(values, length) * spectrum, length)[..., :n]


@lru_cache(maxsize=16)
@unaffected
def _interaction_spectrum(grid: Grid, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    distances = torch.arange(grid.points, dtype=torch.float64) * grid.spacing
    return even_spectrum(interaction(distances)).to(device, dtype)


def hartree_potential(grid: Grid, density: torch.Tensor) -> torch.Tensor:
    """Return the repulsion by a density, int n(x') w(x - x') dx'.

    Parameters
    ----------
    grid : Grid
    density : Tensor
        (..., points), electrons per Bohr.

    Returns
    -------
    Tensor of shape (..., points), Hartree
    """
    spectrum = _interaction_spectrum(grid, density.dtype, density.device)
    return convolve(density, spectrum) * grid.spacing


def hartree_energy(grid: Grid, density: torch.Tensor) -> torch.Tensor:
    """Return 1/2 int int n(x) n(x') w(x - x') of densities (..., points); (...,), Hartree."""
    return 0.5 * grid.integrate(density * hartree_potential(grid, density))

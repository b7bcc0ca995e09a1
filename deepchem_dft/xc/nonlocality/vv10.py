"""Nonlocal correlation of Vydrov and Van Voorhis, VV10 and rVV10."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.features import check_rho
from deepchem_dft.xc.nonlocality.pairs import pair_energy

if TYPE_CHECKING:
    from deepchem_dft.xc.quadrature import Quadrature

#: Density (1/Bohr^3) below which a point has no energy; PySCF's.
THRESHOLD = 1e-8
#: Quadrature. The energy is smooth: within 0.003 kcal/mol of that on level 2 for atoms and molecules up
#: to benzene, of a fifth of the points.
GRID_LEVEL = "coarse"
# Points of fewer electrons are left out: all that there can be of them change nothing.
_EMPTY = 1e-12
FORMS = ("vv10", "rvv10")


class VV10(XCFunctional):
    r"""Correlation between two places, from density and gradient at both.

    .. math::

        E = \int n \left[ \beta + \tfrac12 \int n' \Phi \,\mathrm{d}r' \right] \mathrm{d}r, \qquad
        \Phi = -\frac{3}{2 g g' (g + g')}, \quad g = \omega R^2 + \kappa

        \omega = \sqrt{C |\nabla n / n|^4 + \tfrac{4\pi}{3} n}, \quad
        \kappa = \frac{3 \pi b}{2} \left( \frac{n}{9 \pi} \right)^{1/6}, \quad
        \beta = \frac{1}{32} \left( \frac{3}{b^2} \right)^{3/4}

    In rVV10, :math:`g + g'` and the product before it have :math:`\omega/\kappa\, R^2 + 1` in place
    of g, and :math:`(\kappa \kappa')^{-3/2}` comes as a factor: equal to VV10 wherever
    :math:`\kappa = \kappa'`. The energy is that of the spin-summed density.

    Parameters
    ----------
    b, c : float
        Damping at short range, and gradient correction, which sets C6 coefficients. Positive.
    form : {"vv10", "rvv10"}
    coefficient : float
        What the energy is multiplied by.
    trainable : bool
        Whether b and c are optimised: their logarithms are, so that both stay positive.
    grid_level : int, "coarse" or None
        Level (0 to 9) of the quadrature; that which two-grid fields begin on; None for the
        molecule's own. PySCF has level 3 unless ``mf.nlcgrids`` says otherwise.

    Raises
    ------
    FunctionalError
        For parameters that make no functional.

    Notes
    -----
    Time grows with the square of the number of points, memory in proportion to it. Pairs that are
    more than 1 Bohr apart are computed in single precision, which changes the energy by some 1e-10 Ha.

    References
    ----------
    VV10: Vydrov and Van Voorhis, J. Chem. Phys. 133, 244103 (2010). rVV10: Sabatini, Gorni and de
    Gironcoli, Phys. Rev. B 87, 041108(R) (2013).

    Examples
    --------
    >>> VV10(6.0, 0.01)
    VV10(b=6, c=0.01, form='vv10', grid_level='coarse')
    >>> from deepchem_dft.molecule import Molecule
    >>> from deepchem_dft.xc.quadrature import Quadrature
    >>> quadrature = Molecule("He 0 0 0", "sto-3g", grid_level=1).grid.quadrature
    >>> rho = torch.zeros(1, 4, quadrature.size, dtype=torch.float64)
    >>> VV10(6.0, 0.01).energy(rho, quadrature).item()
    0.0
    """

    family = "gga"
    needs_quadrature = True
    log_b: Tensor
    log_c: Tensor

    def __init__(
        self,
        b: float,
        c: float,
        *,
        form: str = "vv10",
        coefficient: float = 1.0,
        trainable: bool = False,
        grid_level: int | str | None = GRID_LEVEL,
    ) -> None:
        super().__init__()
        for name, value in (("b", b), ("c", c)):
            if not (isinstance(value, (int, float)) and 0.0 < value < math.inf):
                raise FunctionalError(
                    f"{value!r} is no parameter of VV10", field=name, remedy="give a positive number"
                )
        if form not in FORMS:
            raise FunctionalError(
                f"there is no form {form!r} of VV10", field="form", remedy=f"one of {', '.join(FORMS)}"
            )
        level = 0 if grid_level in (None, "coarse") else grid_level
        if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= 9:
            raise FunctionalError(
                f"there is no quadrature {str(grid_level)[:60]!r} for VV10",
                field="grid_level",
                remedy="a level from 0 to 9, 'coarse', or None for the molecule's own",
            )
        self.form, self.coefficient, self.grid_level = form, float(coefficient), grid_level
        self.constant = not trainable
        for name, value in (("log_b", b), ("log_c", c)):
            logarithm = torch.tensor(float(value), dtype=torch.float64).log()
            if trainable:
                self.register_parameter(name, nn.Parameter(logarithm))
            else:  # part of the name of the functional, not of its weights
                self.register_buffer(name, logarithm, persistent=False)

    def energy(self, rho: Tensor, quadrature: "Quadrature") -> Tensor:
        """Return the energy, Ha; see the base class."""
        check_rho(rho, self.family)
        total = rho[:, :4].sum(0)
        electrons = total[0] * quadrature.weights
        counts = (total[0] >= THRESHOLD) & (electrons.abs() >= _EMPTY)
        n, gradient, electrons = total[0, counts], total[1:, counts], electrons[counts]
        b, c = self.log_b.exp().to(n.device), self.log_c.exp().to(n.device)
        steepness = gradient.square().sum(0) / n.square()
        omega = (c * steepness.square() + (4.0 * math.pi / 3.0) * n).sqrt()
        kappa = 1.5 * math.pi * b * (n / (9.0 * math.pi)) ** (1.0 / 6.0)
        charges = electrons
        if self.form == "rvv10":
            charges, omega, kappa = electrons * kappa**-1.5, omega / kappa, torch.ones_like(kappa)
        beta = (3.0 / b.square()) ** 0.75 / 32.0
        pairs = pair_energy(charges, omega, kappa, quadrature.points[counts])
        return self.coefficient * (beta * electrons.sum() + pairs)

    def extra_repr(self) -> str:
        b, c = (log.detach().exp().item() for log in (self.log_b, self.log_c))
        return f"b={b:.6g}, c={c:.6g}, form={self.form!r}, grid_level={self.grid_level!r}"

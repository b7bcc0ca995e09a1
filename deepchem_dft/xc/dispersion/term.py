"""A dispersion energy as a module: its damping parameters can be trained with a functional."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft.errors import InputError
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.dispersion.library import MODELS, PARAMETERS, Reference, known_parameters
from deepchem_dft.xc.dispersion.nuclei import Nuclei

#: Step of the derivative by a damping parameter of the energy of triples (a1; a2 in Bohr).
_STEP = 1e-3
#: Displacement for second derivatives by positions, Bohr.
_DISPLACEMENT = 0.002


class Dispersion(nn.Module):
    r"""D3(BJ) or D4: what pairs and triples of atoms contribute to the energy of a molecule.

    .. math::

        E = -\sum_{i<j} \left( \frac{s_6 C_6}{r^6 + R^6} + \frac{s_8 C_8}{r^8 + R^8} \right)
        + s_9 \sum_{i<j<k} E_\mathrm{ATM}, \qquad R = a_1 \sqrt{C_8/C_6} + a_2

    Coefficients come from the libraries ``dftd3`` and ``dftd4``, once for each geometry, and depend on
    none of the parameters; the damping of pairs is evaluated here. Triples (Axilrod, Teller, Muto) are
    the library's. They are damped by a1 and a2 in D4, not in D3.

    Parameters
    ----------
    model : {"d3bj", "d4"}
    method : str, optional
        A conventional functional whose published parameters are taken where none are given.
    s6, s8, s9, a1, a2 : float, optional
        Parameters; a2 in Bohr. Without a method, s8, a1 and a2 must be given, s6 is 1, and s9 is 1
        for D4 and 0 for D3, which leaves triples out; with one, s9 is 0 for D3 all the same.
    train : sequence of str
        Names of those that are trained.

    Raises
    ------
    InputError
        For an unknown model or method, a missing parameter or library.

    References
    ----------
    Grimme, Antony, Ehrlich and Krieg, J. Chem. Phys. 132, 154104 (2010); Grimme, Ehrlich and Goerigk,
    J. Comput. Chem. 32, 1456 (2011); Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019).

    Examples
    --------
    >>> d3 = Dispersion("d3bj", "pbe", train=["s8"])
    >>> d3
    Dispersion(d3bj, s6=1, s8=0.7875, s9=0, a1=0.4289, a2=4.4407, train=['s8'])
    >>> argon = Nuclei.of([18, 18], [[0, 0, 0], [0, 0, 7.1]])
    >>> energy = d3.energy(argon)
    >>> round(1e3 * energy.item(), 3), energy.requires_grad
    (-0.411, True)
    """

    s6: nn.Parameter
    s8: nn.Parameter
    s9: nn.Parameter
    a1: nn.Parameter
    a2: nn.Parameter

    @unaffected
    def __init__(
        self,
        model: str,
        method: str | None = None,
        *,
        s6: float | None = None,
        s8: float | None = None,
        s9: float | None = None,
        a1: float | None = None,
        a2: float | None = None,
        train: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if model not in MODELS:
            raise InputError(
                f"there is no dispersion model {str(model)[:40]!r}",
                field="dispersion",
                remedy=f"use one of {', '.join(MODELS)}",
            )
        self.model = model
        values: dict[str, float | None] = {"s6": 1.0}
        if method is not None:
            values.update(known_parameters(model, method))
        values["s9"] = 0.0 if model == "d3bj" else 1.0
        given = {"s6": s6, "s8": s8, "s9": s9, "a1": a1, "a2": a2}
        values.update({name: value for name, value in given.items() if value is not None})
        train = [train] if isinstance(train, str) else list(train)
        for name in train:
            if name not in PARAMETERS:
                raise InputError(
                    f"{str(name)[:40]!r} is no parameter of a dispersion",
                    field="dispersion.train",
                    remedy=f"use some of {', '.join(PARAMETERS)}",
                )
        for name in PARAMETERS:
            number = _number(name, values.get(name))
            self.register_parameter(
                name, nn.Parameter(torch.tensor(number, dtype=torch.float64), requires_grad=name in train)
            )

    @property
    def values(self) -> dict[str, float]:
        """Present values of the parameters, by name."""
        return {name: float(getattr(self, name).detach()) for name in PARAMETERS}

    @property
    def trained(self) -> list[str]:
        """Names of the parameters that are trained."""
        return [name for name in PARAMETERS if getattr(self, name).requires_grad]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that make the same term again: plain data."""
        return {"model": self.model, **self.values, "train": self.trained}

    def extra_repr(self) -> str:
        numbers = ", ".join(f"{name}={value:.7g}" for name, value in self.values.items())
        return f"{self.model}, {numbers}" + (f", train={self.trained}" if self.trained else "")

    # -- energies ------------------------------------------------------------------------------

    def energy(self, nuclei: Nuclei) -> Tensor:
        """Return the energy (Ha), 0-dimensional, differentiable in the parameters."""
        return self.at([nuclei])()[0]

    def at(self, systems: Sequence[Nuclei]) -> Callable[[], Tensor]:
        """Return the energies of many systems as a function of the parameters alone.

        All that does not depend on them is computed here, once.

        Parameters
        ----------
        systems : sequence of Nuclei

        Returns
        -------
        callable
            Without arguments; returns Ha, shape (number of systems,).

        Raises
        ------
        InputError
            For an element that the model does not know.
        """
        device = self.s6.device
        pairs = [_pairs(self.model, nuclei) for nuclei in systems]
        counts = torch.tensor([p.shape[1] for p in pairs], device=device)
        owner = torch.arange(len(pairs), device=device).repeat_interleave(counts)
        c6, ratio, distance = torch.cat([torch.zeros(3, 0, dtype=torch.float64), *pairs], 1).to(device)
        root, r6, r8 = ratio.sqrt(), distance**6, distance**8
        triples = _Triples(self.model, systems)

        def energies() -> Tensor:
            radius = self.a1 * root + self.a2
            # as products: the derivative of a power is not finite at zero
            square = radius * radius
            sixth = square * square * square
            by_pair = c6 * (self.s6 / (r6 + sixth) + self.s8 * ratio / (r8 + sixth * square))
            total = -by_pair.new_zeros(len(pairs)).index_add(0, owner, by_pair)
            if self.s9.requires_grad or float(self.s9) != 0.0:
                total = total + self.s9 * triples(self.a1, self.a2)
            return total

        return energies

    def gradient(self, nuclei: Nuclei) -> Tensor:
        """Return the derivative of the energy by the positions, shape (natom, 3), Ha/Bohr."""
        return torch.from_numpy(Reference(self.model, nuclei).gradient(self.values))

    def hessian(self, nuclei: Nuclei) -> Tensor:
        """Return the second derivatives by positions, shape (natom, natom, 3, 3), Ha/Bohr^2.

        From differences of analytic first derivatives, to fourth order in the displacement.
        """
        rest = np.array(nuclei.positions)
        found = np.zeros((len(rest), len(rest), 3, 3))
        for place in np.ndindex(rest.shape):
            for steps, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
                moved = rest.copy()
                moved[place] += steps * _DISPLACEMENT
                slope = self.gradient(nuclei.moved(moved)).numpy()
                found[place[0], :, place[1]] += weight / _DISPLACEMENT * slope
        return torch.from_numpy(0.5 * (found + found.transpose(1, 0, 3, 2)))


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value is None or isinstance(value, bool) or not math.isfinite(number):
        problem = "is missing" if value is None else f"is {str(value)[:40]!r}, which is no finite number"
        raise InputError(
            f"the dispersion parameter {name} {problem}",
            field=f"dispersion.{name}",
            remedy="give s8, a1 and a2, or the name of a functional whose parameters to use",
        )
    return number


@lru_cache(maxsize=4096)
def _pairs(model: str, nuclei: Nuclei) -> Tensor:
    """C6, C8/C6 and distance of every pair, shape (3, P): kept, as each is asked for again and again."""
    with torch.no_grad():
        return torch.from_numpy(np.stack(Reference(model, nuclei).pairs()))


class _Triples:
    """Energies of triples of several systems, at unit scale, as functions of a1 and a2."""

    def __init__(self, model: str, systems: Sequence[Nuclei]) -> None:
        self._model, self._systems = model, systems
        self._references: list[Reference] | None = None
        self._last: tuple[tuple[float, float], Tensor] | None = None

    def __call__(self, a1: Tensor, a2: Tensor) -> Tensor:
        return _TripleEnergies.apply(a1, a2, self)

    def energies(self, a1: float, a2: float) -> Tensor:
        """Return energies at some damping, shape (number of systems,)."""
        if self._references is None:
            self._references = [Reference(self._model, nuclei) for nuclei in self._systems]
        parameters = {"s6": 0.0, "s8": 0.0, "s9": 1.0, "a1": a1, "a2": a2}
        found = [reference.energy(parameters) for reference in self._references]
        return torch.tensor(found, dtype=torch.float64)

    def kept(self, a1: float, a2: float) -> Tensor:
        """Return energies, those of the last damping without computing them again."""
        if self._last is None or self._last[0] != (a1, a2):
            self._last = (a1, a2), self.energies(a1, a2)
        return self._last[1]

    def slope(self, a1: float, a2: float, by_a1: bool) -> Tensor:
        """Return the derivative by a1 or a2, from differences to fourth order in the step."""
        total = torch.zeros(len(self._systems), dtype=torch.float64)
        if self._model == "d3bj":  # damped by radii of the atoms alone
            return total
        for steps, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            moved = steps * _STEP
            total += weight * self.energies(a1 + moved * by_a1, a2 + moved * (not by_a1))
        return total / _STEP


class _TripleEnergies(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a1: Tensor, a2: Tensor, triples: _Triples) -> Tensor:
        ctx.at, ctx.triples, ctx.device = (float(a1), float(a2)), triples, a1.device
        return triples.kept(*ctx.at).to(a1.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, weight: Tensor):
        slopes = [
            (weight * ctx.triples.slope(*ctx.at, by_a1).to(ctx.device)).sum() if wanted else None
            for by_a1, wanted in zip((True, False), ctx.needs_input_grad[:2], strict=True)
        ]
        return (*slopes, None)

"""A dispersion energy as a module: its damping parameters can be trained with a functional."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc import chebyshev
from deepchem_dft.xc.dispersion.library import MODELS, PARAMETERS, Nuclei, Reference, known_parameters

#: While a1 and a2 (Bohr) are trained, energies of triples are interpolated on patches of this size, from
#: so many values a side: right to 2e-10 Ha for the benzene dimer, whatever they are.
_PATCH, _NODES = (0.05, 0.2), 8
#: Displacement for second derivatives by positions, Bohr.
_DISPLACEMENT = 0.002


class Dispersion(nn.Module):
    r"""D3(BJ) or D4: what pairs and triples of atoms contribute to the energy of a molecule.

    .. math::

        E = -\sum_{i<j} \left( \frac{s_6 C_6}{r^6 + R^6} + \frac{s_8 C_8}{r^8 + R^8} \right)
        + s_9 \sum_{i<j<k} E_\mathrm{ATM}, \qquad R = a_1 \sqrt{C_8/C_6} + a_2

    Coefficients come from the libraries ``dftd3`` and ``dftd4``, once for each geometry, and depend on
    none of the parameters; the damping of pairs is evaluated here. Triples (Axilrod, Teller, Muto) are
    the library's. In D3 they do not depend on a1 and a2. In D4 they do, and while these are trained the
    energy of triples is interpolated between values on patches of them.

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
        model: str = "d3bj",
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
        self.model = choice(model, MODELS, "dispersion", "dispersion model")
        values: dict[str, float | None] = {"s6": 1.0}
        if method is not None:
            values.update(known_parameters(model, method))
        values["s9"] = 0.0 if model == "d3bj" else 1.0
        given = {"s6": s6, "s8": s8, "s9": s9, "a1": a1, "a2": a2}
        values.update({name: value for name, value in given.items() if value is not None})
        train = [train] if isinstance(train, str) else list(train)
        for name in train:
            choice(name, PARAMETERS, "dispersion.train", "parameter of a dispersion")
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
        self._known: dict[tuple[float, ...], Tensor] = {}

    def __call__(self, a1: Tensor, a2: Tensor) -> Tensor:
        """Return Ha, shape (number of systems,), differentiable in the parameters."""
        if self._model == "d3bj":  # damped by radii of the atoms alone
            return self._kept((0.0, 0.0), _triples).to(a1.device)
        place = (float(a1.detach()), float(a2.detach()))
        if not (torch.is_grad_enabled() and (a1.requires_grad or a2.requires_grad)):
            return self._kept(place, _triples).to(a1.device)
        patch = tuple(math.floor(x / size) for x, size in zip(place, _PATCH, strict=True))
        values = self._kept(patch, _on_patch).to(a1.device)
        along = [chebyshev.weights(x, n) for x, n in zip((a1, a2), _nodes(*patch), strict=True)]
        return torch.einsum("nij,i,j->n", values, *along)

    def _kept(self, place: tuple[float, ...], make: Callable[..., Tensor]) -> Tensor:
        """Return what was computed last, if it is for the same place."""
        if place not in self._known:
            found = [make(self._model, nuclei, *place) for nuclei in self._systems]
            self._known = {place: torch.stack(found) if found else torch.zeros(0, dtype=torch.float64)}
        return self._known[place]


def _nodes(i: float, j: float) -> list[list[float]]:
    """Return values of a1 and of a2 that span one patch of them."""
    return [
        chebyshev.points(k * size, (k + 1) * size, _NODES) for k, size in zip((i, j), _PATCH, strict=True)
    ]


@lru_cache(maxsize=16384)
def _triples(model: str, nuclei: Nuclei, a1: float, a2: float) -> Tensor:
    parameters = {"s6": 0.0, "s8": 0.0, "s9": 1.0, "a1": a1, "a2": a2}
    return torch.tensor(Reference(model, nuclei).energy(parameters), dtype=torch.float64)


@lru_cache(maxsize=16384)
def _on_patch(model: str, nuclei: Nuclei, i: int, j: int) -> Tensor:
    """Return the energy of triples at the nodes of a patch of parameters, shape (nodes, nodes)."""
    reference = Reference(model, nuclei)
    zero = {"s6": 0.0, "s8": 0.0, "s9": 1.0}
    first, second = _nodes(i, j)
    found = [[reference.energy({**zero, "a1": a1, "a2": a2}) for a2 in second] for a1 in first]
    return torch.tensor(found, dtype=torch.float64)

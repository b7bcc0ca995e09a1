"""Weighted sum of a neural functional, a conventional one and exact exchange."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepchem_dft.checks import choice
from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional, highest_family
from deepchem_dft.xc.dispersion import Dispersion
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.neural import NEURAL, NeuralXC
from deepchem_dft.xc.nonlocality.terms import local_at_density, local_density, nonlocal_parts
from deepchem_dft.xc.quadrature import Quadrature

Terms = list[tuple[float | Tensor, float | None]]


class HybridXC(XCFunctional):
    r"""``a * neural + b * conventional + exact exchange``, with trainable weights.

    Parameters
    ----------
    xcstr : str, XCFunctional or None
        The conventional functional. ``None``, ``""`` or ``"none"``: the network alone.
    nnmodel : nn.Module or XCFunctional
        A network, which is wrapped by NNLDA, NNPBE or NNMGGA, or a functional used as it is.
    aweight0, bweight0 : float
        Initial weights of the network and of the conventional functional.
    exchange : float, optional
        Full-range share of exact exchange. Left out, all exact exchange is b times that of the
        conventional functional. Given, it replaces the full-range share and does not follow b;
        long-range terms still do. The semilocal exchange is not reduced to make room for it.
    train_a, train_b, train_exchange : bool
        Whether the weights are optimised. ``train_exchange`` without ``exchange`` starts at the
        conventional functional's own share.
    family : {"lda", "gga", "mgga"}, optional
        What the network sees; by default the family of the conventional functional (lda if none).
    spin_symmetric : bool
        As in :class:`~deepchem_dft.xc.neural.NeuralXC`; for a network only.
    device : str or torch.device, optional
        Where network and weights go; matrices of a field follow them. Default: where the network is.

    Attributes
    ----------
    aweight, bweight : nn.Parameter, float64
    exchange : nn.Parameter or None
        The share of exact exchange, if it is a number of its own.
    xc, nnxc : XCFunctional
        The conventional part (None if there is none) and the neural one.

    Raises
    ------
    FunctionalError
        For an unknown functional, a network of the wrong width, or weights with which nothing could
        be learned: a fixed at zero, or a = 0 with a network that returns zero.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    >>> xc = HybridXC("pbe0", net, aweight0=1.0)
    >>> xc.family, [c.item() for c, _ in xc.exchange_terms]
    ('gga', [0.25])
    """

    def __init__(
        self,
        xcstr: str | XCFunctional | None,
        nnmodel: nn.Module,
        aweight0: float = 0.0,
        bweight0: float = 1.0,
        *,
        exchange: float | None = None,
        train_a: bool = True,
        train_b: bool = True,
        train_exchange: bool = False,
        family: str | None = None,
        spin_symmetric: bool = True,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        if isinstance(xcstr, str) and xcstr.strip().lower() in ("", "none"):
            xcstr = None
        self.xc: XCFunctional | None = None if xcstr is None else get_xc(xcstr)
        self.nnxc = self._wrap(nnmodel if device is None else nnmodel.to(device), family, spin_symmetric)
        parts = [p for p in (self.xc, self.nnxc) if p is not None]
        self.family = highest_family(*(p.family for p in parts))
        self.spin_symmetric = all(p.spin_symmetric for p in parts)
        device = next((p.device for p in self.nnxc.parameters()), None)
        self.aweight = _weight("aweight0", aweight0, train_a, device)
        self.bweight = _weight("bweight0", bweight0, train_b and self.xc is not None, device)
        if exchange is None and train_exchange:
            exchange = float(sum(torch.as_tensor(c).detach() for c, w in self._own_terms() if w is None))
        self.exchange = None if exchange is None else _weight("exchange", exchange, train_exchange, device)
        if aweight0 == 0.0:
            self._check_learnable(train_a)

    def _wrap(self, nnmodel: nn.Module, family: str | None, spin_symmetric: bool) -> XCFunctional:
        if isinstance(nnmodel, XCFunctional):
            if family not in (None, nnmodel.family):
                raise FunctionalError(
                    f"family '{family}' does not fit a {nnmodel.family} functional",
                    field="family",
                    remedy="leave family out",
                )
            return nnmodel
        family = family or (self.xc.family if self.xc is not None else "lda")
        return NEURAL[choice(family, NEURAL, "family", error=FunctionalError)](
            nnmodel, spin_symmetric=spin_symmetric
        )

    def _check_learnable(self, train_a: bool) -> None:
        if not train_a:
            raise FunctionalError(
                "the weight of the network is fixed at 0, so that nothing can be learned",
                field="aweight0",
                remedy="set aweight0=1, or leave train_a on",
            )
        if not isinstance(self.nnxc, NeuralXC):
            return
        # d/da is the network and d/dnetwork is a: if both vanish, no optimiser can move
        if not self.nnxc.probe().any():
            raise FunctionalError(
                "the network starts at zero and so does its weight: no gradient reaches either",
                field="aweight0",
                remedy="set aweight0=1, or build the network with zero_last=False",
            )

    def _own_terms(self) -> Terms:
        """Exact exchange of both parts, each with its weight."""
        terms: Terms = []
        for weight, part in ((self.bweight, self.xc), (self.aweight, self.nnxc)):
            terms += [(weight * c, w) for c, w in (part.exchange_terms if part is not None else [])]
        return terms

    @property
    def dispersion_terms(self) -> list[tuple[float | Tensor, Dispersion]]:
        """Its own dispersion if it has one, else that of both parts, each with its weight."""
        if self.dispersion is not None:
            return [(1.0, self.dispersion)]
        parts = [(self.aweight, self.nnxc)] + ([] if self.xc is None else [(self.bweight, self.xc)])
        return [(weight * c, term) for weight, part in parts for c, term in part.dispersion_terms]

    @property
    def exchange_terms(self) -> Terms:
        """Exact exchange as ``(coefficient, omega)``; the coefficients carry gradients."""
        if self.exchange is None:
            return self._own_terms()
        return [(self.exchange, None)] + [(c, w) for c, w in self._own_terms() if w is not None]

    @property
    def uniform_gas(self) -> bool:  # type: ignore[override]
        """True if there is nothing but a part that promises it."""
        return bool(
            self.xc is None and self.exchange is None and self.nnxc.uniform_gas and self.aweight == 1.0
        )

    @property
    def nonlocal_terms(self) -> list[XCFunctional]:
        """Those of both parts, with the weights; a part that is nonlocal itself is one."""
        return nonlocal_parts(self.aweight, self.nnxc) + nonlocal_parts(self.bweight, self.xc)

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        energy = self.aweight.to(rho.dtype) * local_density(self.nnxc, rho)
        if self.xc is not None:
            energy = energy + self.bweight.to(rho.dtype) * local_density(self.xc, rho)
        return energy

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        neural = local_at_density(self.nnxc, rho, quadrature)
        conventional = None if self.xc is None else local_at_density(self.xc, rho, quadrature)

        def energy() -> Tensor:
            learned = self.aweight.to(rho.dtype) * neural()
            if conventional is None:
                return learned
            return learned + self.bweight.to(rho.dtype) * conventional()

        return energy

    def extra_repr(self) -> str:
        text = f"a={self.aweight.item():.6g}, b={self.bweight.item():.6g}"
        if self.exchange is not None:
            text += f", exchange={self.exchange.item():.6g}"
        return f"{text}, family={self.family}"


def _weight(name: str, value: float, trainable: bool, device: torch.device | None) -> nn.Parameter:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FunctionalError(
            f"{value!r} is not a finite number", field=name, remedy="write a number such as 1.0"
        )
    return nn.Parameter(torch.tensor(number, dtype=torch.float64, device=device), requires_grad=trainable)

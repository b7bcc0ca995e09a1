"""Functionals by name."""

from typing import Any

from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals.base import LatticeFunctional
from deepchem_dft.lattice.functionals.neural import NetworkXC, NeuralXC
from deepchem_dft.lattice.functionals.uniform import UniformGasLDA
from deepchem_dft.lattice.grid import Grid

#: The networks of the paper: what differs from the defaults of :class:`NeuralXC`.
KINDS: dict[str, dict[str, Any]] = {
    "global": {},
    "gradient": {"convolutions": 0, "hidden": (16, 16, 16), "windows": (3, 1, 1), "gate": False},
    "local": {"convolutions": 0, "hidden": (16, 16, 16), "windows": 1, "gate": False},
}


def make_functional(
    functional: str | nn.Module = "global", grid: Grid | None = None, **options: Any
) -> LatticeFunctional:
    """Return a functional from its name, or from a network.

    Parameters
    ----------
    functional : {"global", "gradient", "local", "uniform-gas"}, LatticeFunctional or nn.Module
        A network of the paper, the uniform gas, a ready functional (returned as it is), or the
        user's network: see :class:`~deepchem_dft.lattice.functionals.NetworkXC`.
    grid : Grid, optional
        Default: the paper's.
    **options
        Of the functional's class, such as ``polarised``, ``gate``, ``seed``.

    Raises
    ------
    InputError
        For an unknown name or option.

    Examples
    --------
    >>> make_functional("local", seed=1).layers[0].shape
    torch.Size([16, 1, 1])
    """
    grid = grid or Grid()
    if isinstance(functional, LatticeFunctional):
        return functional
    try:
        if isinstance(functional, nn.Module):
            return NetworkXC(grid, functional, **{k: v for k, v in options.items() if k != "seed"})
        if functional == "uniform-gas":
            return UniformGasLDA(grid, bool(options.get("polarised")))
        if functional in KINDS:
            return NeuralXC(grid, **{**KINDS[functional], **options})
    except TypeError as error:
        raise InputError(str(error).partition("() ")[2], field="functional") from None
    raise InputError(
        f"unknown functional {functional!r}",
        field="functional",
        remedy=f"use one of {', '.join([*KINDS, 'uniform-gas'])}, or a torch module",
    )

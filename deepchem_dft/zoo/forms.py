"""Functionals as plain data and back: what a card says of the form, without weights.

A form names its parts; only parts listed here are ever built. A new kind of functional or network
with a ``config`` of plain values that its constructor takes joins by a line in ``CONFIGURED``;
others by a pair of functions in ``_WRITE`` and ``_BUILD``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion import Dispersion, attached
from deepchem_dft.xc.enhancement import EnhancedXC
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.names import NATIVE
from deepchem_dft.xc.native import PBE, SlaterPW92
from deepchem_dft.xc.networks import ACTIVATIONS, ExpM1Activation, XCNetwork, build_network
from deepchem_dft.xc.neural import NEURAL, NNLDA, NNMGGA, NNPBE
from deepchem_dft.xc.nonlocality.network import NNNonlocal
from deepchem_dft.xc.nonlocality.vv10 import VV10

Form = dict[str, Any]

#: Modules with a ``config``, by the name of their type: (class, what rebuilds it from that).
CONFIGURED: dict[str, tuple[type[nn.Module], Callable[..., nn.Module]]] = {
    "xc_network": (XCNetwork, build_network),
    "enhanced": (EnhancedXC, EnhancedXC),
    "nonlocal": (NNNonlocal, NNNonlocal),
}
_DTYPES = {"float64": torch.float64, "float32": torch.float32}
_ACTIVATIONS: dict[str, type[nn.Module]] = {**ACTIVATIONS, "expm1": ExpM1Activation}
#: Far beyond any functional; a card with larger numbers would only fill the memory.
_WIDEST, _LONGEST = 8192, 256


def form_of(module: nn.Module) -> Form:
    """Return the form of a functional or of a network in it.

    Parameters
    ----------
    module : XCFunctional or nn.Module

    Returns
    -------
    dict
        Plain data; :func:`build_form` makes a module of the same form from it, with the same names
        of parameters.

    Raises
    ------
    FunctionalError
        If a part is of a class that is not known here.

    Examples
    --------
    >>> form_of(Libxc("pbe"))
    {'type': 'libxc', 'name': 'pbe'}
    >>> form_of(nn.Linear(2, 1, dtype=torch.float64))
    {'type': 'linear', 'inputs': 2, 'outputs': 1, 'bias': True, 'dtype': 'float64'}
    """
    if isinstance(module, XCFunctional) and module.dispersion is not None:
        return {**_form_of(module), "dispersion": module.dispersion.config}
    return _form_of(module)


def _form_of(module: nn.Module) -> Form:
    for name, (known, _) in CONFIGURED.items():
        if type(module) is known:
            return {"type": name, **module.config}  # type: ignore[dict-item]
    write = _WRITE.get(type(module))  # a subclass may compute something else
    if write is None:
        raise FunctionalError(
            f"a {type(module).__name__} cannot be written down as data",
            field="form",
            remedy="build networks by build_network, or of nn.Sequential, nn.Linear and the "
            f"activations {', '.join(ACTIVATIONS)}",
        )
    return write(module)


def build_form(form: Any, place: str = "form") -> Any:
    """Return a module of a form, its weights not yet those of any file.

    Parameters
    ----------
    form : mapping
    place : str
        Of the form on its card, for messages.

    Raises
    ------
    InputError
        If the form cannot be.

    Examples
    --------
    >>> build_form({"type": "linear", "inputs": 2, "outputs": 1, "dtype": "float64"})
    Linear(in_features=2, out_features=1, bias=True)
    """
    if not isinstance(form, Mapping):
        raise InputError(f"{_shown(form)} is not a form", field=place)
    options = dict(form)
    name = options.pop("type", None)
    if not isinstance(name, str) or name not in {*_BUILD, *CONFIGURED}:
        raise InputError(
            f"unknown type {_shown(name)}",
            field=place,
            remedy="update deepchem_dft: the file may be from a later version",
        )
    dispersion = options.pop("dispersion", None)
    _check_sizes(options, place)
    build = _BUILD.get(name) or (lambda place, **config: CONFIGURED[name][1](**config))
    try:
        module: Any = build(place, **options)
        return module if dispersion is None else attached(module, Dispersion(**dispersion))
    except InputError as error:
        raise error.located(field=place) from None
    except Exception as error:  # the options are anybody's, of any type
        raise InputError(
            f"a part of type {name!r} cannot be built: {str(error)[:200]}", field=place
        ) from None


def _check_sizes(options: Mapping[str, Any], place: str) -> None:
    for name, value in options.items():
        items = value if isinstance(value, list) else [value]
        large = any(isinstance(i, int) and i > _WIDEST for i in items) and name != "seed"
        if large or len(items) > _LONGEST:
            raise InputError(f"'{name}' is too large", field=place)


def _shown(value: Any) -> str:
    return repr(value)[:60]


# -- functionals -----------------------------------------------------------------------------------


def _write_libxc(module: Libxc) -> Form:
    form: Form = {"type": "libxc", "name": module.name}
    terms = [term for term in module.nonlocal_terms if isinstance(term, VV10)]
    if terms:
        form |= {"vv10_level": terms[0].grid_level, "train_vv10": not terms[0].constant}
    return form


def _write_hybrid(module: HybridXC) -> Form:
    return {
        "type": "hybrid",
        "conventional": None if module.xc is None else form_of(module.xc),
        "learned": form_of(module.nnxc),
        "own_exchange": module.exchange is not None,
        "train_a": module.aweight.requires_grad,
        "train_b": module.bweight.requires_grad,
        "train_exchange": module.exchange is not None and module.exchange.requires_grad,
    }


def _build_hybrid(
    place: str,
    *,
    conventional: Any,
    learned: Any,
    own_exchange: bool = False,
    train_a: bool = True,
    train_b: bool = True,
    train_exchange: bool = False,
) -> HybridXC:
    # The weights stand for those of the file: a = 0 would be refused as nothing could be learned.
    return HybridXC(
        None if conventional is None else build_form(conventional, f"{place}.conventional"),
        build_form(learned, f"{place}.learned"),
        aweight0=1.0,
        exchange=0.0 if own_exchange else None,
        train_a=bool(train_a),
        train_b=bool(train_b),
        train_exchange=bool(own_exchange and train_exchange),
    )


def _write_neural(module: Any) -> Form:
    return {
        "type": "neural",
        "family": module.family,
        "spin_symmetric": module.spin_symmetric,
        "network": form_of(module.nnmodel),
    }


def _build_neural(place: str, *, family: str, network: Any, spin_symmetric: bool = True) -> Any:
    if family not in NEURAL:
        raise InputError(f"unknown family {_shown(family)}")
    return NEURAL[family](build_form(network, f"{place}.network"), bool(spin_symmetric))


def _write_ensemble(module: EnsembleXC) -> Form:
    return {
        "type": "ensemble",
        "calibration": module.calibration,
        "floor": module.floor,
        **({"by_kind": {k: list(pair) for k, pair in module.by_kind.items()}} if module.by_kind else {}),
        "members": [form_of(m) for m in module],
    }


def _build_ensemble(
    place: str, *, members: Any, calibration: Any = 1.0, floor: Any = 0.0, by_kind: Any = None
) -> EnsembleXC:
    if not isinstance(members, list):
        raise InputError("the members are no list")
    if not isinstance(by_kind, (dict, type(None))):
        raise InputError("by_kind is no mapping")
    return EnsembleXC(
        [build_form(m, f"{place}.members[{i}]") for i, m in enumerate(members)], calibration, floor, by_kind
    )


def _build_native(place: str, *, name: str) -> nn.Module:
    return NATIVE[name]()


# -- networks --------------------------------------------------------------------------------------


def _write_linear(module: nn.Linear) -> Form:
    return {
        "type": "linear",
        "inputs": module.in_features,
        "outputs": module.out_features,
        "bias": module.bias is not None,
        "dtype": str(module.weight.dtype).removeprefix("torch."),
    }


def _build_linear(
    place: str, *, inputs: int, outputs: int, bias: bool = True, dtype: str = "float64"
) -> nn.Linear:
    return nn.Linear(inputs, outputs, bool(bias), dtype=_DTYPES[dtype])


def _build_sequential(place: str, *, layers: Any) -> nn.Sequential:
    if not isinstance(layers, list):
        raise InputError("the layers are no list")
    return nn.Sequential(*(build_form(x, f"{place}.layers[{i}]") for i, x in enumerate(layers)))


def _write_activation(module: nn.Module) -> Form:
    name = next(name for name, known in _ACTIVATIONS.items() if type(module) is known)
    # A slope or a threshold of the user's would be lost.
    if repr(module) != repr(_ACTIVATIONS[name]()):
        raise FunctionalError(
            f"{module!r} cannot be written down as data", field="form", remedy=f"use {_ACTIVATIONS[name]()!r}"
        )
    return {"type": "activation", "name": name}


def _build_activation(place: str, *, name: str) -> nn.Module:
    return _ACTIVATIONS[name]()


_WRITE: dict[type, Callable[[Any], Form]] = {
    Libxc: _write_libxc,
    SlaterPW92: lambda module: {"type": "native", "name": "lda"},
    PBE: lambda module: {"type": "native", "name": "pbe"},
    HybridXC: _write_hybrid,
    **dict.fromkeys((NNLDA, NNPBE, NNMGGA), _write_neural),
    EnsembleXC: _write_ensemble,
    nn.Linear: _write_linear,
    nn.Sequential: lambda module: {"type": "sequential", "layers": [form_of(m) for m in module]},
    **dict.fromkeys(_ACTIVATIONS.values(), _write_activation),
}
_BUILD: dict[str, Callable[..., Any]] = {
    "libxc": lambda place, name, **options: Libxc(name, **options),
    "native": _build_native,
    "hybrid": _build_hybrid,
    "neural": _build_neural,
    "ensemble": _build_ensemble,
    "linear": _build_linear,
    "sequential": _build_sequential,
    "activation": _build_activation,
}

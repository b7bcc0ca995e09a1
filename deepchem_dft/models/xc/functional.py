"""Building the functional an XCModel trains from its constructor's arguments."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.xc import HybridXC, build_network, deepchem_network, get_xc
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion import Dispersion, attached, parse, split
from deepchem_dft.xc.enhancement import EnhancedXC
from deepchem_dft.xc.libxc_names import split_nonlocal
from deepchem_dft.xc.neural import INPUTS, NEURAL
from deepchem_dft.xc.nonlocality.network import NNNonlocal
from deepchem_dft.xc.parents import hybrid_name

#: Factors on a parent, by what a mapping says they are.
FORMS: dict[str, Callable[..., XCFunctional]] = {"enhancement": EnhancedXC, "nonlocal": NNNonlocal}


def make_functional(
    xcstr: str | None,
    nnmodel: nn.Module | Mapping[str, Any] | None = None,
    *,
    input_size: int | None = None,
    hidden_size: int = 10,
    n_layers: int = 1,
    modeltype: int = 1,
    aweight0: float | None = None,
    bweight0: float = 1.0,
    train_a: bool = True,
    train_b: bool = True,
    exchange: float | None = None,
    train_exchange: bool = False,
    family: str | None = None,
    spin_symmetric: bool = True,
    seed: int | None = None,
    dispersion: str | Mapping[str, Any] | None = None,
) -> XCFunctional:
    """Build ``a * network + b * xcstr + exact exchange``.

    Parameters
    ----------
    xcstr : str
        Conventional functional, any name libxc knows.
    nnmodel : nn.Module, mapping or None
        A network of the user's; or keywords of ``deepchem_dft.xc.build_network``; or
        ``{"form": "enhancement", ...}`` with keywords of ``EnhancedXC``, whose parent is ``xcstr``
        (VV10 added to its name is added to the functional);
        or ``{"form": "nonlocal", ...}`` with keywords of ``NNNonlocal``, in the same way;
        or None for DeepChem's network (``hidden_size``, ``n_layers``, ``modeltype``).
    aweight0 : float, optional
        Initial weight of the network. Default: 1 for a network that returns zero, as those built
        here do, and 0 for any other, so that training starts at ``xcstr`` in either case.

    See ``XCModel`` for the others.

    Returns
    -------
    HybridXC

    Examples
    --------
    >>> make_functional("lda", seed=0).family
    'lda'
    """
    if xcstr is None:
        raise InputError(
            "neither a functional's name nor a ready functional was given",
            field="xcstr",
            remedy="give xcstr (such as 'pbe', or 'none' for the network alone), or xc=",
        )
    xcstr, term = _dispersion_of(xcstr, dispersion)
    if isinstance(nnmodel, Mapping) and nnmodel.get("form") in FORMS:
        options = {name: value for name, value in nnmodel.items() if name != "form"}
        xcstr, added = split_added(xcstr)
        enhanced = FORMS[nnmodel["form"]](
            xcstr, exchange=exchange or 0.0, train_exchange=train_exchange, seed=seed, **options
        )
        # no factor is learned for what is added; a name of libxc's has a semilocal part, here of nothing
        beside = f"0*lda_x{added}" if added else None
        return _with(term, HybridXC(beside, enhanced, aweight0=1.0, train_a=False, train_b=False))
    if family is None:
        family = "lda" if xcstr.strip().lower() in ("", "none") else get_xc(xcstr).family
    if family not in INPUTS:
        raise InputError(f"unknown family {family!r}", field="family", remedy="use 'lda', 'gga' or 'mgga'")
    if not isinstance(nnmodel, nn.Module):
        # With a seed, the caller's random numbers do not move.
        with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            if nnmodel is None:
                size = _input_size(input_size, family)
                nnmodel = deepchem_network(size, hidden_size, n_layers, modeltype)
                _zero_last(nnmodel)
            else:
                nnmodel = build_network(**{"family": family, **nnmodel})
    network = NEURAL[family](nnmodel, spin_symmetric=spin_symmetric)
    if aweight0 is None:
        aweight0 = 0.0 if bool(network.probe().any()) else 1.0
    functional = HybridXC(
        xcstr,
        network,
        aweight0=aweight0,
        bweight0=bweight0,
        exchange=exchange,
        train_a=train_a,
        train_b=train_b,
        train_exchange=train_exchange,
    )
    return _with(term, functional)


def starting_functional(xcstr: str | None, config: Mapping[str, Any], functional: XCFunctional) -> Functional:
    """Return what a functional made of ``xcstr`` is before it is trained, by name if that has one.

    Then it is without dispersion, on which no density depends.

    Parameters
    ----------
    xcstr : str or None
        None of a functional that starts from no conventional one: it is itself.
    config : mapping
        Arguments of the model.
    functional : XCFunctional
        That of the model, not trained yet.
    """
    if xcstr is None:
        return Functional.trained(functional)
    xc = split(xcstr.strip())[0]
    network, share = config.get("nnmodel") or {}, config.get("exchange") or 0.0
    enhanced = network.get("form") in FORMS
    ranges = network.get("range_separation")
    if enhanced and ranges is not None and ranges.get("long_exchange", 1.0) != share:
        return Functional.trained(functional)  # nothing of libxc's is like it
    name = "lda" if xc.lower() in ("", "none") else xc
    parent, added = split_added(xc) if enhanced else (xc, "")
    if enhanced and (share or parent.lower() == "lda"):  # libxc's has exchange only
        name = hybrid_name(parent, share) + added
    return Functional.named(name)


def split_added(xcstr: str) -> tuple[str, str]:
    """Split a name into that of the parent, and what is added to it of VV10 or rVV10.

    Examples
    --------
    >>> split_added("r2scan+vv10(6.0,0.01)")
    ('R2SCAN', '+vv10(6.0,0.01)')
    """
    parent, terms = split_nonlocal(xcstr)
    return parent, "".join(f"+{term.form}({term.b!r},{term.c!r})" for term in terms)


def _dispersion_of(xcstr: str, given: str | Mapping[str, Any] | None) -> tuple[str, Dispersion | None]:
    """Return the name without its dispersion, and the dispersion of either argument."""
    own, suffix = split(xcstr)
    if given is not None and suffix is not None:
        raise InputError(
            f"'{xcstr}' names a dispersion already", field="dispersion", remedy="give one of the two"
        )
    term = given if suffix is None else suffix
    return own, None if term is None else parse(term, own)


def _with(term: Dispersion | None, functional: XCFunctional) -> XCFunctional:
    return functional if term is None else attached(functional, term)


#: What describes a functional, by name.
FUNCTIONAL_OPTIONS = tuple(
    p.name for p in inspect.signature(make_functional).parameters.values() if p.kind is p.KEYWORD_ONLY
)


def _input_size(input_size: int | None, family: str) -> int:
    needed = len(INPUTS[family])
    if input_size not in (None, needed):
        raise InputError(
            f"a {family} network has {needed} inputs ({', '.join(INPUTS[family])}), not {input_size}",
            field="input_size",
            remedy="leave input_size out, or choose another family=",
        )
    return needed


def _zero_last(network: nn.Module) -> None:
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for parameter in linear[-1].parameters():
            parameter.zero_()


def conventional_parts(functional: XCFunctional) -> list[str]:
    """Name the parts of a functional that have no parameters, and so leave no trace in a file.

    Examples
    --------
    >>> conventional_parts(make_functional("PBE", seed=0))
    ["libxc('pbe', family=gga)"]
    """
    parts = []
    for part in functional.modules():
        if isinstance(part, EnhancedXC):
            parts.append(f"enhanced({part.config['parent']!r}, bound={part.bound:g})")
        elif isinstance(part, NNNonlocal):
            parts.append(f"nonlocal({part.config['parent']!r}, bound={part.bound:g})")
        elif isinstance(part, XCFunctional) and not any(
            not name.startswith("dispersion.") for name, _ in part.named_parameters()
        ):
            parts.append(f"{type(part).__name__}({part.extra_repr()})".lower())
        elif isinstance(part, Dispersion):
            parts.append(part.model)
    return parts

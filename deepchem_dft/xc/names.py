"""From a name to a functional: libxc's names, ``native:`` in torch, ``zoo:`` for trained ones."""

from typing import Any

from deepchem_dft import plugins
from deepchem_dft.errors import FunctionalError
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc import dispersion
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion.spelling import is_trained as is_trained
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.native import PBE, SlaterPW92

#: Functionals written in torch, reached as ``native:<name>``.
NATIVE: dict[str, type[XCFunctional]] = {"lda": SlaterPW92, "pbe": PBE}


@unaffected
def get_xc(xc: str | XCFunctional) -> XCFunctional:
    """Return the functional that a name stands for; a functional is returned as it is.

    Parameters
    ----------
    xc : str or XCFunctional
        A libxc name as in :class:`~deepchem_dft.xc.libxc.Libxc`, or ``"native:lda"`` (Slater and
        PW92) or ``"native:pbe"``, which run on the device of their input; or ``"zoo:NAME"`` or
        the file of a trained one, see :mod:`deepchem_dft.zoo`. Any of them may end in a dispersion:
        ``"pbe+d3bj"``, ``"r2scan+d4"``, ``"zoo:NAME+d3bj(pbe)"``; see
        :func:`~deepchem_dft.xc.dispersion.naming.parse`.

    Raises
    ------
    FunctionalError
        If there is no such functional or it cannot be run whole.
    CheckpointError
        If the files of a trained functional are damaged.

    Examples
    --------
    >>> get_xc("b3lyp")
    Libxc('b3lyp', family=gga)
    >>> get_xc("native:pbe")
    PBE()
    >>> get_xc("pbe+d3bj").dispersion
    Dispersion(d3bj, s6=1, s8=0.7875, s9=0, a1=0.4289, a2=4.4407)
    """
    if isinstance(xc, XCFunctional):
        return xc
    if isinstance(xc, str):
        own, term = dispersion.split(xc)
        if term is not None:
            return dispersion.attached(get_xc(own), dispersion.parse(term, own))
    if isinstance(xc, str) and xc.strip().lower().startswith("native:"):
        name = xc.split(":", 1)[1].strip().lower()
        if name not in NATIVE:
            raise FunctionalError(
                f"there is no functional 'native:{name}'",
                field="xc",
                remedy=f"one of {', '.join('native:' + k for k in NATIVE)}, or a "
                "libxc name without 'native:'",
            )
        return NATIVE[name]()
    if isinstance(xc, str) and is_trained(xc):
        return plugins.find("functionals", "zoo")(xc)  # which builds functionals, so it lies above
    if not isinstance(xc, str):
        raise FunctionalError(
            f"{type(xc).__name__} is not a functional",
            field="xc",
            remedy="pass a name or an XCFunctional; wrap a network in NNLDA, NNPBE, NNMGGA or HybridXC",
        )
    return Libxc(xc)


def check(functional: str | XCFunctional, **options: Any) -> Any:
    """Ask a functional whether it keeps the contract of functionals.

    Parameters
    ----------
    functional : str or XCFunctional
        Any, of this package or your own.
    **options
        ``only`` (names of some checks) and ``raise_on_failure``; see
        :func:`~deepchem_dft.scf.conformance.checker.check_functional`.

    Returns
    -------
    Report
        Prints as a table; ``passed``, ``failed``, ``raise_for_failures()``.

    Examples
    --------
    >>> check("native:lda", only=["rotation"]).passed
    True
    """
    # which solves fields, so it lies above
    return plugins.find("checks", "functional")(functional, **options)

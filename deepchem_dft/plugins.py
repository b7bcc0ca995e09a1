"""What is reached by name from a room below: trained functionals, other engines.

Other packages add theirs as entry points of the groups ``deepchem_dft.functionals`` and
``deepchem_dft.engines``.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

#: Those of this package, which must work without being installed.
_OWN = {
    ("functionals", "zoo"): "deepchem_dft.zoo.registry:functional",
    ("cards", "zoo"): "deepchem_dft.zoo.registry:find",
    ("engines", "dqc"): "deepchem_dft.interop.dqc.engine:run_dqc",
    ("engines", "surroundings"): "deepchem_dft.interop.embedding:run_embedded",
    ("checks", "functional"): "deepchem_dft.scf.conformance.checker:check_functional",
}


def find(group: str, name: str) -> Any:
    """Return what a name stands for in a group, or None.

    Parameters
    ----------
    group : {"functionals", "engines", "checks"}
        A functional is called with the whole name, such as ``zoo:nn-mgga``, and returns an
        ``XCFunctional``; an engine is called as ``run_dqc`` is.
    name : str
        What stands before the colon, or the engine's name.

    Examples
    --------
    >>> find("functionals", "zoo").__name__, find("functionals", "nobody")
    ('functional', None)
    """
    place = _OWN.get((group, name))
    if place is not None:
        module, _, attribute = place.partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=f"deepchem_dft.{group}"):
        if point.name == name:
            return point.load()
    return None

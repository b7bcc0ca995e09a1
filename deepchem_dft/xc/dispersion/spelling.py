"""Names of functionals taken apart, without torch: what is trained, what is dispersion, what there is."""

import re

_SPELLINGS = r"d3bj(?:atm)?|d3\(bj\)|d4"
#: A dispersion, perhaps with brackets.
TERM = re.compile(rf"\s*(?P<kind>{_SPELLINGS})\s*(?:\((?P<inside>[^()]*)\))?\s*", re.IGNORECASE)
_SUFFIX = re.compile(rf"(?P<base>.*\S)\s*\+(?P<term>{TERM.pattern})", re.IGNORECASE | re.DOTALL)


def split(name: str) -> tuple[str, str | None]:
    """Split a description into the functional's own and that of its dispersion.

    Examples
    --------
    >>> split("gga_x_pbe+gga_c_pbe+D3BJ(pbe)")
    ('gga_x_pbe+gga_c_pbe', 'D3BJ(pbe)')
    >>> split("pbe")
    ('pbe', None)
    """
    match = _SUFFIX.fullmatch(name)
    return (match["base"], match["term"].strip()) if match else (name, None)


def is_trained(xc: object) -> bool:
    """Return True for names of trained functionals: ``zoo:NAME`` and files of weights.

    Examples
    --------
    >>> is_trained("zoo:mine"), is_trained("folder/mine.safetensors"), is_trained("pbe")
    (True, True, False)
    """
    text = split(xc)[0].strip().lower() if isinstance(xc, str) else ""
    return text.startswith("zoo:") or text.endswith(".safetensors")


def check_name(xc: str) -> None:
    """Raise what asking for a functional would raise for its name alone, in a fraction of the time.

    What is right with the name may still be wrong with the functional: weights and parameters of dispersions
    are not looked at.

    Parameters
    ----------
    xc : str
        As for :func:`~deepchem_dft.xc.names.get_xc`.

    Raises
    ------
    FunctionalError
        If there is no such functional.

    Examples
    --------
    >>> check_name("b3lyp+d3bj")
    >>> check_name("pbee")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.FunctionalError: field 'xc': unknown functional 'pbee'. Remedy: did you mean 'pbe'...
    """
    from deepchem_dft import plugins
    from deepchem_dft.xc import libxc_names

    own = split(xc)[0].strip()
    if own.lower().startswith("native:"):
        return
    if is_trained(own):
        plugins.find("cards", "zoo")(own)
    else:
        libxc_names.resolve(own)

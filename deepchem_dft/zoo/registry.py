"""Where trained models stand: names, cards, loading and saving."""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.files import SAFE_NAME, replacing, write
from deepchem_dft.torchstate import unaffected
from deepchem_dft.zoo.cards import KINDS, Card, form_digest, read_card

if TYPE_CHECKING:
    from deepchem_dft.xc.base import XCFunctional

#: Models that come with the package.
SHIPPED = Path(__file__).resolve().parent / "shipped"
#: Folders, separated as in PATH, that are looked through before that.
VARIABLE = "DEEPCHEM_DFT_ZOO"
_NAME = re.compile(SAFE_NAME)
_PREFIX = "zoo:"


def folders(folder: str | Path | None = None) -> list[Path]:
    """Return the folders of the zoo, those that are looked into first at the beginning.

    Parameters
    ----------
    folder : path, optional
        This one only. Default: those named by the variable DEEPCHEM_DFT_ZOO, and the package's.

    Raises
    ------
    InputError
        If one was named that does not exist.
    """
    named = (
        [folder]
        if folder is not None
        else [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    )
    for path in named:
        if not os.path.isdir(path):
            raise InputError(
                "the folder does not exist",
                file=str(path),
                field="folder" if folder is not None else VARIABLE,
                remedy="check the path",
            )
    return [Path(path) for path in named] + ([SHIPPED] if folder is None else [])


def names(folder: str | Path | None = None) -> list[str]:
    """Return the names of all models, in alphabetical order.

    Parameters
    ----------
    folder : path, optional
        Another zoo than the package's.

    Examples
    --------
    >>> import tempfile
    >>> names(tempfile.mkdtemp())
    []
    """
    found = {
        path.stem
        for place in folders(folder)
        if place.is_dir()
        for path in place.glob("*.json")
        if _NAME.fullmatch(path.stem)
    }
    return sorted(found)


def find(name: str | Path, folder: str | Path | None = None) -> Path:
    """Return the card's file of a model.

    Parameters
    ----------
    name : str or Path
        A name, with or without ``zoo:`` before it; or the file of a card or of weights.
    folder : path, optional

    Raises
    ------
    InputError
        If there is no model of that name; the message suggests near ones.
    """
    text = str(name).strip()
    text = text[len(_PREFIX) :] if text.lower().startswith(_PREFIX) else text
    path = Path(text)
    if path.suffix in (".json", ".safetensors") or len(path.parts) > 1:
        if path.suffix not in (".json", ".safetensors"):
            raise InputError("not a file of the zoo", file=text, remedy="give NAME.safetensors or NAME.json")
        if not os.path.isfile(path):
            raise InputError("the file does not exist", file=text, remedy="check the path")
        return path.with_suffix(".json")
    if _NAME.fullmatch(text):
        for place in folders(folder):
            # Weights without a card are found too, so that the message is about the card.
            if any((place / f"{text}{end}").is_file() for end in (".json", ".safetensors")):
                return place / f"{text}.json"
    raise FunctionalError(
        f"there is no {text[:60]!r} in the zoo", field="name", remedy=_near(text, names(folder))
    )


def _near(name: str, known: list[str]) -> str:
    if not known:
        return f"the zoo is empty; set {VARIABLE} to a folder of models, or give the file NAME.safetensors"
    lowered = {n.lower(): n for n in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(lowered[c]) for c in close)}?".rstrip("?")
    return f"one of {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"


def card(name: str | Path, folder: str | Path | None = None) -> Card:
    """Return the card of a model, without reading its weights.

    Parameters
    ----------
    name : str or Path
        A name, or the file of a card or of weights.
    folder : path, optional
        Another zoo than the package's.

    Raises
    ------
    InputError, CheckpointError
        If there is none, or it is damaged.
    """
    return read_card(find(name, folder))


@unaffected
def load(name: str | Path, folder: str | Path | None = None) -> Any:
    """Rebuild a model from its card and weights, without running code of the files.

    Parameters
    ----------
    name : str or Path
        A name, with or without ``zoo:`` before it; or a file NAME.safetensors or NAME.json, with
        the other beside it.
    folder : path, optional
        Another zoo than the package's.

    Returns
    -------
    XCFunctional, KSRModel, DEQModel or HamiltonianModel
        A functional is in evaluation mode.

    Raises
    ------
    InputError
        If there is no model of that name.
    CheckpointError
        If its files are missing, damaged, changed, or not what they say they are.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_dft import HybridXC
    >>> from deepchem_dft.xc import build_network
    >>> folder = tempfile.mkdtemp()
    >>> xc = HybridXC("pbe", build_network(family="gga", hidden=[4]), aweight0=1.0)
    >>> saved = save(xc, folder + "/mine.safetensors", summary="untrained")
    >>> names(folder), card("mine", folder).summary
    (['mine'], 'untrained')
    >>> load("mine", folder).xc
    Libxc('pbe', family=gga)
    """
    from deepchem_dft.zoo.models import model_of_form, module_of
    from deepchem_dft.zoo.weights import BoundedTensors, fill, read_weights

    file = find(name, folder)
    found = read_card(file)
    weights = file.with_suffix(".safetensors")
    tensors = read_weights(weights, found.weights["sha256"])
    try:
        with BoundedTensors(sum(tensor.numel() for tensor in tensors.values())):
            thing = model_of_form(found.kind, found.form)
    except InputError as error:
        raise error.located(file=str(file)) from None
    module = module_of(thing)
    fill(module, tensors, weights)
    if found.kind == "functional":
        module.eval()
        #: As what solutions of this very file are known.
        thing.identity = f"zoo:{found.key}"
    return thing


@unaffected
def functional(name: str | Path, folder: str | Path | None = None) -> "XCFunctional":
    """Return a functional of molecules, as :func:`load` does.

    Raises
    ------
    FunctionalError
        If the model of that name is something else.
    """
    kind = card(name, folder).kind
    if kind != "functional":
        raise FunctionalError(
            f"'{name}' is a {KINDS[kind]}, not a functional for molecules",
            field="xc",
            remedy="load it by zoo.load",
        )
    return load(name, folder)


@unaffected
def save(thing: Any, path: str | Path, **known: Any) -> Card:
    """Write a functional or model as two files, NAME.safetensors and NAME.json.

    Parameters
    ----------
    thing : XCFunctional, KSRModel, DEQModel or HamiltonianModel
        Of an XCModel, its ``functional``.
    path : path
        NAME.safetensors. Files that are there are replaced.
    **known
        What the card says: see :class:`Card`, from ``summary`` on. Versions are filled in.

    Returns
    -------
    Card

    Raises
    ------
    FunctionalError
        If a part cannot be written down as data, or a parameter is not finite.
    InputError
        For a path that is none, or an unknown field of the card.
    StorageError
        If the system refuses; files that were there are as before.
    """
    from deepchem_dft.zoo.models import kind_of, module_of, write_form
    from deepchem_dft.zoo.weights import packed_weights

    path = Path(path)
    if path.suffix != ".safetensors" or not _NAME.fullmatch(path.stem):
        raise InputError(
            "not a name for a file of weights",
            file=str(path),
            remedy="end it with .safetensors; letters, digits, '.', '_', '+', '-'",
        )
    foreign = set(known) - _documented()
    if foreign:
        raise InputError(
            f"a card has no field {min(foreign)!r}",
            field=min(foreign),
            remedy=f"use some of {', '.join(sorted(_documented()))}",
        )
    kind = kind_of(thing)
    form = write_form(kind, thing)
    raw, weights = packed_weights(path, module_of(thing))
    weights["form_sha256"] = form_digest(kind, form)
    known.setdefault("versions", _versions())
    written = Card(name=path.stem, kind=kind, form=form, weights=weights, **known)
    # Both are there before one is put into its place. The card comes last: a process killed before
    # leaves a pair that is refused, never a wrong one.
    with replacing(path.with_suffix(".json")) as draft:
        written.write(draft)
        write(path, raw)
    return written


def _documented() -> set[str]:
    return set(Card.__dataclass_fields__) - {"name", "kind", "form", "weights"}


def _versions(packages: Iterable[str] = ("deepchem_dft", "torch", "pyscf", "numpy")) -> dict:
    from importlib import metadata

    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found

"""Cards: what a trained functional is, how far to trust it, and which weights belong to it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from deepchem_dft.errors import CheckpointError
from deepchem_dft.files import SAFE_NAME, write
from deepchem_dft.json_text import parse_json
from deepchem_dft.sinks import markdown_cell, markdown_prose, one_line

#: What every card says it is; the number changes when older programs would misread it.
FORMAT = "deepchem_dft/zoo/1"
#: Kinds of models, and what they are.
KINDS = {
    "functional": "exchange-correlation functional",
    "ksr": "functional of one-dimensional molecules",
    "deq": "equilibrium network for properties",
    "hamiltonian": "network for Kohn-Sham matrices",
}
#: A card is text for people; a file beyond this size, in bytes, is something else.
LARGEST = 1 << 20
_HEX = frozenset("0123456789abcdef")
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "kind": (str,),
    "form": (dict,),
    "weights": (dict,),
    "summary": (str,),
    "parent": (str, type(None)),
    "worse_than_parent": (list,),
    "training": (dict,),
    "overlap": (list,),
    "errors": (list,),
    "cost": (dict,),
    "known_failures": (list,),
    "out_of_scope": (list,),
    "versions": (dict,),
    "seed": (int, list, type(None)),
}
_TEXTS = ("worse_than_parent", "overlap", "known_failures", "out_of_scope")


@dataclass(frozen=True)
class Card:
    """What is known of a trained model.

    Attributes
    ----------
    name : str
    kind : {"functional", "ksr", "deq", "hamiltonian"}
    form : dict
        Plain data that rebuilds the module without its weights; see :mod:`deepchem_dft.zoo.forms`.
    weights : dict
        ``file``, ``sha256`` of the whole file, ``parameters`` (how many are trained),
        and ``form_sha256``.
    summary : str
        One sentence.
    parent : str or None
        The conventional functional it corrects.
    worse_than_parent : list of str
        Where it is worse than that; shown first.
    training : dict
        What it was trained on and how.
    overlap : list of str
        What training data and each test set share.
    errors : list of dict
        ``set``, ``type``, ``entries``, ``unit`` and ``mae``: by name of the functional, its own
        under ``"this"``.
    cost : dict
        Of the training, units in the names; and, as ``scf_relative_to_pbe``, of a self-consistent field in
        terms of PBE's processor time (benzene in def2-SVP).
    known_failures, out_of_scope : list of str
    versions : dict
        Of the programs it was made with.
    seed : int, list of int or None
    """

    name: str
    kind: str
    form: dict[str, Any]
    weights: dict[str, Any]
    summary: str = ""
    parent: str | None = None
    worse_than_parent: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    overlap: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    known_failures: list[str] = field(default_factory=list)
    out_of_scope: list[str] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)
    seed: int | list[int] | None = None

    @property
    def key(self) -> str:
        """Identity of what is computed: equal for two cards of the same form and weights."""
        both = self.weights["sha256"] + form_digest(self.kind, self.form)
        return hashlib.sha256(both.encode()).hexdigest()[:32]

    @property
    def members(self) -> int:
        """Number of functionals in it: 1, or that of an ensemble."""
        members = self.form.get("members") if self.form.get("type") == "ensemble" else None
        return len(members) if isinstance(members, list) else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the card's file."""
        return {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}}

    def write(self, path: str | Path) -> None:
        """Write the card; the file is whole or not there at all."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write(path, text + "\n")

    def text(self) -> str:
        """Return the card as Markdown."""
        return card_text(self)


def form_digest(kind: str, form: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a form, in the one spelling JSON has for it with sorted keys.

    Examples
    --------
    >>> form_digest("functional", {"a": 1, "b": 2}) == form_digest("functional", {"b": 2, "a": 1})
    True
    """
    text = json.dumps([FORMAT, kind, form], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_card(path: str | Path) -> Card:
    """Read a card and check everything about it that can be checked without its weights.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, of another format, or was changed where that matters.
    """
    path = Path(path)
    content = _content(path)
    found = content.pop("format", None)
    if found != FORMAT:
        known = isinstance(found, str) and found.startswith("deepchem_dft/zoo/")
        raise CheckpointError(
            f"{path}: the format is {found!r}, this version reads {FORMAT!r}. Remedy: "
            + ("update deepchem_dft" if known else "give a card of a functional of the zoo")
            + "."
        )
    missing = [name for name in ("name", "kind", "form", "weights") if name not in content]
    if missing:
        raise CheckpointError(f"{path}: '{missing[0]}' is missing from the card. Remedy: get the card again.")
    for name, value in content.items():
        _check(path, name, value)
    card = Card(**content)
    if card.weights["form_sha256"] != form_digest(card.kind, card.form):
        raise CheckpointError(
            f"{path}: the form on the card has been changed or damaged (its "
            "SHA-256 is another). Remedy: get card and weights again."
        )
    return card


def _content(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST + 1)
    except OSError:
        raise CheckpointError(
            f"{path}: there is no such card. Remedy: a model is two files, NAME.safetensors and "
            "NAME.json; put the card beside the weights."
        ) from None
    if len(raw) > LARGEST:
        raise CheckpointError(f"{path}: too large to be a card. Remedy: get the card again.")
    try:
        content = parse_json(raw.decode("utf-8"))
    except ValueError as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(
            f"{path}: the card is damaged or not JSON ({reason}). Remedy: get the card again."
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a card. Remedy: give a card of the zoo.")
    return content


def _check(path: Path, name: str, value: Any) -> None:
    allowed = _TYPES.get(name)
    problem = None
    wrong = allowed is not None and type(value) not in allowed  # True is an int otherwise
    if allowed is None:
        problem = f"unknown key {name!r}"
    elif wrong:
        problem = f"'{name}' is a {type(value).__name__}"
    elif name == "name" and not re.fullmatch(SAFE_NAME, value):  # it becomes the name of a file
        problem = f"{value!r} is no name for a model"
    elif name == "kind" and value not in KINDS:
        problem = f"unknown kind {value!r}"
    elif name in _TEXTS and not all(isinstance(item, str) for item in value):
        problem = f"'{name}' is not a list of texts"
    elif name == "errors" and not all(
        isinstance(row, dict) and isinstance(row.get("mae"), dict) for row in value
    ):
        problem = "'errors' is not a list of rows with 'mae'"
    elif name == "weights":
        digests = (value.get("sha256"), value.get("form_sha256"))
        if not all(isinstance(d, str) and len(d) == 64 and set(d) <= _HEX for d in digests):
            problem = "'weights' has no SHA-256"
    if problem is not None:
        raise CheckpointError(f"{path}: {problem[:200]} on the card. Remedy: get the card again.")


# -- cards as text ---------------------------------------------------------------------------------

_UNSTATED = "not stated"


def card_text(card: Card) -> str:
    """Return a card as Markdown; where it is worse than its parent comes first."""
    what = KINDS[card.kind]
    if card.members > 1:
        what += f", ensemble of {card.members}"
    lines = [f"# {card.name}", ""]
    if card.worse_than_parent:
        lines += [f"**Worse than {card.parent or 'its parent'}:**", ""]
        lines += [*_list(card.worse_than_parent), ""]
    lines += [card.summary or f"(summary {_UNSTATED})", ""]
    lines += _list(
        [
            f"kind: {what}",
            f"parent: {card.parent or 'none'}",
            f"parameters: {card.weights.get('parameters', _UNSTATED)}",
            *_uncertainty(card),
            f"seed: {_UNSTATED if card.seed is None else card.seed}",
            f"weights: {card.weights.get('file')}, SHA-256 {card.weights['sha256']}",
        ]
    )
    for title, part in (
        ("Errors", _errors(card)),
        ("Known failures", _list(card.known_failures)),
        ("Out of scope", _list(card.out_of_scope)),
        ("Training", _mapping(card.training)),
        ("Overlap of training data and tests", _list(card.overlap)),
        ("Cost", _mapping(card.cost)),
        ("Versions", _mapping(card.versions)),
        ("Form", _mapping(card.form)),
    ):
        lines += ["", f"## {title}", "", *(part or [_UNSTATED])]
    return markdown_prose("\n".join(lines)) + "\n"


def _uncertainty(card: Card) -> list[str]:
    if card.members < 2:
        return []
    from deepchem_dft.units import HARTREE_TO_KCAL

    factor, floor = (card.form.get(name, usual) for name, usual in (("calibration", 1.0), ("floor", 0.0)))
    if not all(isinstance(number, (int, float)) for number in (factor, floor)):
        return []
    text = f"uncertainty: {_number(factor)} x standard deviation of the members"
    if floor:
        text += f", {_number(floor * HARTREE_TO_KCAL)} kcal/mol added in quadrature"
    own = card.form.get("by_kind")
    if isinstance(own, dict) and own:
        text += f"; other numbers for rows of {', '.join(map(str, own))} on a board"
    return [text + (" (not calibrated)" if (factor, floor) == (1.0, 0.0) else " (calibrated)")]


#: What to begin with: close to the best of its kind, at the least cost.
START_WITH = {"nn-hybrid": "energies of molecules", "nn-hybrid-ensemble": "the same with an uncertainty"}


def list_text(cards: list[Card]) -> str:
    """Return cards as a Markdown table, one line each, those to begin with first and named below."""
    order = [*START_WITH, *(c.name for c in cards if c.name not in START_WITH)]
    rows = [
        [
            c.name,
            c.kind if c.members < 2 else f"{c.kind} x {c.members}",
            _first_error(c),
            _number(c.cost.get("scf_relative_to_pbe")),
            c.summary,
        ]
        for c in sorted(cards, key=lambda c: order.index(c.name))
    ]
    head = ["name", "kind", "mean absolute error (of its parent)", "CPU time, x PBE", "summary"]
    begin = [f"{name} ({why})" for name, why in START_WITH.items() if name in {c.name for c in cards}]
    text = "\n".join(_table(head, rows))
    return text + (f"\n\nStart with {', '.join(begin)}." if begin else "")


def _first_error(card: Card) -> str:
    """Return the error on the first set of a card, the one its makers care for, beside the parent's."""
    row = card.errors[0] if card.errors else {}
    own = row.get("mae", {}).get("this")
    if not isinstance(own, (int, float)):
        return "-"
    name = (card.parent or "").lower()
    known = {key.lower(): value for key, value in row["mae"].items()}
    parent = known.get(name, known.get(name.partition(",")[0]))
    beside = f" ({card.parent} {_number(parent)})" if isinstance(parent, (int, float)) else ""
    return f"{_number(own)}{beside} {row.get('unit', '')}, {row.get('set', '')}"


def _errors(card: Card) -> list[str]:
    others = list(dict.fromkeys(n for row in card.errors for n in row["mae"] if n != "this"))
    rows = []
    for row in card.errors:
        numbers = [_number(row["mae"].get(name)) for name in ("this", *others)]
        words = [str(row.get(key, "")) for key in ("set", "type", "entries", "unit")]
        rows.append([*words, *numbers])
    if not rows:
        return []
    head = ["set", "type", "entries", "unit", f"**{card.name}**", *map(str, others)]
    return ["Mean absolute errors.", "", *_table(head, rows)]


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "-"


def _list(items: list[str]) -> list[str]:
    return [f"- {one_line(item)}" for item in items]


def _mapping(values: Any, indent: str = "") -> list[str]:
    """Return nested plain data as nested lists."""
    lines = []
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in pairs:
        nested = isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(v, (Mapping, list)) for v in value)
        )
        if nested and value:
            lines += [f"{indent}- {one_line(str(key))}:", *_mapping(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}- {one_line(f'{key}: {shown}')}")
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines]

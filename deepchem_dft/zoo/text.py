"""Cards and lists of cards as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sinks import markdown_cell, markdown_prose, one_line
from .cards import KINDS, Card

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
    lines += _list([
        f"kind: {what}",
        f"parent: {card.parent or 'none'}",
        f"parameters: {card.weights.get('parameters', _UNSTATED)}",
        *_uncertainty(card),
        f"seed: {_UNSTATED if card.seed is None else card.seed}",
        f"weights: {card.weights.get('file')}, SHA-256 {card.weights['sha256']}",
    ])  # fmt: skip
    for title, part in (
        ("Errors", _errors(card)),
        ("Known failures", _list(card.known_failures)),
        ("Out of scope", _list(card.out_of_scope)),
        ("Training", _mapping(card.training)),
        ("Overlap of training data and tests", _list(card.overlap)),
        ("Cost of the training", _mapping(card.cost)),
        ("Versions", _mapping(card.versions)),
        ("Form", _mapping(card.form)),
    ):
        lines += ["", f"## {title}", "", *(part or [_UNSTATED])]
    return markdown_prose("\n".join(lines)) + "\n"


def _uncertainty(card: Card) -> list[str]:
    if card.members < 2:
        return []
    from ..units import HARTREE_TO_KCAL

    factor, floor = (card.form.get(name, usual) for name, usual in (
        ("calibration", 1.0), ("floor", 0.0)))
    if not all(isinstance(number, (int, float)) for number in (factor, floor)):
        return []
    text = f"uncertainty: {_number(factor)} x standard deviation of the members"
    if floor:
        text += f", {_number(floor * HARTREE_TO_KCAL)} kcal/mol added in quadrature"
    return [text + (" (not calibrated)" if (factor, floor) == (1.0, 0.0) else " (calibrated)")]


def list_text(cards: list[Card]) -> str:
    """Return cards as a Markdown table, one line each."""
    rows = [[c.name, c.kind if c.members < 2 else f"{c.kind} x {c.members}", c.parent or "",
             c.summary] for c in cards]  # fmt: skip
    return "\n".join(_table(["name", "kind", "parent", "summary"], rows))


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
            isinstance(value, list) and any(isinstance(v, (Mapping, list)) for v in value))
        if nested and value:
            lines += [f"{indent}- {one_line(str(key))}:", *_mapping(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}- {one_line(f'{key}: {shown}')}")
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines]

"""The keys of a run configuration as text, made from the schema itself."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deepchem_dft.runs.kinds import KINDS
from deepchem_dft.runs.section import Section
from deepchem_dft.runs.xc.schema import RunConfig


def keys(model: type[Section] = RunConfig) -> list[tuple[str, str, str, str]]:
    """Return (dotted key, type, default, meaning) of every key, in the order of the schema.

    The keys below ``data.valid`` and ``data.test`` are those below ``data.train``.

    Examples
    --------
    >>> [row for row in keys() if row[0] == "training.seed"]
    [('training.seed', 'int', '0', 'of initial weights and order of entries')]
    """
    return list(_rows(model, ""))


def keys_text() -> str:
    """Return the keys as text, a line per key: usual runs first, then ``model:`` others."""
    parts = []
    for kind in KINDS.values():
        key = "" if kind.name == "xc" else f" (model: {kind.name})"
        parts.append(f"A run on {kind.about}{key}\n\n{_text(keys(kind.schema))}")
    return "\n\n".join(parts)


def _text(rows: list[tuple[str, str, str, str]]) -> str:
    lines = []
    for key, kind, default, meaning in rows:
        depth = key.count(".")
        head = "  " * depth + key.rpartition(".")[2]
        value = f"{kind} = {default}" if default else kind
        lines.append(f"{head:<26} {value:<44} {meaning}".rstrip())
    return "\n".join(lines)


#: Sections whose keys are those of ``data.train``.
_REPEATED = (("data.", "valid"), ("data.", "test"))


def _rows(model: type[Section], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        section, is_list = _section(field.annotation)
        kind = "section" if section else _type_name(field.annotation)
        yield key, "list of" if is_list else kind, _default(field, section), field.description or ""
        if section is not None and (prefix, name) not in _REPEATED:
            yield from _rows(section, f"{key}.0." if is_list else f"{key}.")


def _section(annotation: Any) -> tuple[type[Section] | None, bool]:
    """Return the section a type holds, and whether it holds a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    is_list = get_origin(annotation) is list
    for part in get_args(annotation):
        section, _ = _section(part)
        if section is not None:
            return section, is_list
    return None, False


def _type_name(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(p) for p in parts if p is not type(None))
    if origin is list:
        return f"list of {_type_name(parts[0])}"
    if origin is dict:
        return f"mapping to {_type_name(parts[1])}"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo, section: type[Section] | None) -> str:
    if section is not None or field.default in (PydanticUndefined, None, "", [], {}):
        return ""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(field.default)

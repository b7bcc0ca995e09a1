"""What is changed in a mutant: cosmic-ray's operators that keep types, and numbers a tenth smaller."""

from typing import Any

import parso
from cosmic_ray.ast import is_number
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

#: Replacements that are of the same type, so that it is not the interpreter that finds them.
_SWAPS = {
    ("Add", "Sub"),
    ("Sub", "Add"),
    ("Mul", "Div"),
    ("Div", "Mul"),
    ("Pow", "Mul"),
    ("FloorDiv", "Div"),
    ("Mod", "FloorDiv"),
    ("Lt", "LtE"),
    ("Lt", "GtE"),
    ("LtE", "Lt"),
    ("LtE", "Gt"),
    ("Gt", "GtE"),
    ("Gt", "LtE"),
    ("GtE", "Gt"),
    ("GtE", "Lt"),
    ("Eq", "NotEq"),
    ("NotEq", "Eq"),
    ("Is", "IsNot"),
    ("IsNot", "Is"),
}


class NumberScaler(Operator):
    """Makes numbers with a point or an exponent a tenth smaller: slightly wrong constants."""

    def mutation_positions(self, node: Any) -> Any:
        if is_number(node) and isinstance(value := eval(node.value), float) and value:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        value = f" {0.9 * eval(node.value)!r}"
        return parso.python.tree.Number(value, node.start_pos)

    @classmethod
    def examples(cls) -> tuple:
        return ()


def operators() -> dict[str, Operator]:
    """Return the operators in use by name."""
    found: dict[str, Operator] = {"NumberScaler": NumberScaler()}
    for name in operator_names():
        short, kind = name.split("/")[1], get_operator(name)
        if short.startswith(("ReplaceBinaryOperator", "ReplaceComparisonOperator")):
            if tuple(short.split("_")[1:]) not in _SWAPS:
                continue
        elif short.startswith("ReplaceUnaryOperator") and "Delete" not in short:
            continue
        if not kind.arguments():
            found[short] = kind()
    return found

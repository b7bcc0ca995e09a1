"""xcnn's YAML schema: ``type``, ``cmd``, ``systems[].kwargs``; commands are parsed, never run."""

import ast
import math
from typing import Any

from deepchem_dft.checks import choice
from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.fields import Fields, inside, show
from deepchem_dft.data.reading.context import COMMON_KEYS, Context
from deepchem_dft.data.stoichiometry import check_balance
from deepchem_dft.data.system import read_systems
from deepchem_dft.errors import InputError

TYPES = ("ie", "ae", "dm", "dens")
KEYS = ("type", "cmd", "true_val", "systems", "ref", *COMMON_KEYS)

_CMD_REMEDY = (
    "combine energy(systems[i]) with numbers, + - * / and parentheses, e.g. "
    "2 * energy(systems[1]) - energy(systems[0])"
)
_MAX_LENGTH = 2000


def parse_command(cmd: Any, n_systems: int) -> list[float]:
    """Turn a command into one signed coefficient per system, without running anything.

    Parameters
    ----------
    cmd : str
        Sums of ``energy(systems[i])`` with numeric factors.
    n_systems : int
        Number of systems; every one must be used.

    Returns
    -------
    list of float

    Raises
    ------
    InputError
        For anything else than such a sum.

    Examples
    --------
    >>> parse_command("energy(systems[1]) + 3 * energy(systems[2]) - energy(systems[0])", 3)
    [-1.0, 1.0, 3.0]
    """
    if not isinstance(cmd, str) or len(cmd) > _MAX_LENGTH:
        raise InputError(f"{show(cmd)} is not a command", field="cmd", remedy=_CMD_REMEDY)
    try:
        tree = ast.parse(cmd.strip(), mode="eval")
        constant, factors = _linear(tree.body, n_systems)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ArithmeticError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read the command {show(cmd)}", field="cmd", remedy=_CMD_REMEDY) from None
    if constant != 0:
        raise InputError(
            f"the command adds the bare number {constant:g}", field="cmd", remedy="move it to true_val"
        )
    unused = [i for i in range(n_systems) if not factors.get(i)]
    if unused:
        raise InputError(
            f"the command does not use systems[{unused[0]}]",
            field="cmd",
            remedy="use every system, or remove it",
        )
    if not all(math.isfinite(c) for c in factors.values()):
        raise InputError("a factor in the command is not finite", field="cmd", remedy=_CMD_REMEDY)
    return [factors[i] for i in range(n_systems)]


def _linear(node: ast.expr, n: int) -> tuple[float, dict[int, float]]:
    """Return (constant, factor of each energy) of an expression that is linear in energies."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    ):
        value = float(node.value)
        if not math.isfinite(value):
            raise InputError("a number in the command is not finite", field="cmd", remedy=_CMD_REMEDY)
        return value, {}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        return _scaled(_linear(node.operand, n), -1.0 if isinstance(node.op, ast.USub) else 1.0)
    if isinstance(node, ast.BinOp):
        left, right = _linear(node.left, n), _linear(node.right, n)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            right = _scaled(right, 1.0 if isinstance(node.op, ast.Add) else -1.0)
            factors = dict(left[1])
            for i, factor in right[1].items():
                factors[i] = factors.get(i, 0.0) + factor
            return left[0] + right[0], factors
        if isinstance(node.op, ast.Mult) and not left[1]:
            return _scaled(right, left[0])
        if isinstance(node.op, ast.Mult) and not right[1]:
            return _scaled(left, right[0])
        if isinstance(node.op, ast.Div) and not right[1]:
            return _scaled(left, 1.0 / right[0])
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "energy"
        and len(node.args) == 1
        and not node.keywords
    ):
        return 0.0, {_index(node.args[0], n): 1.0}
    raise InputError(f"{show(ast.unparse(node))} has no place in a command", field="cmd", remedy=_CMD_REMEDY)


def _scaled(term: tuple[float, dict[int, float]], c: float) -> tuple[float, dict[int, float]]:
    return term[0] * c, {i: factor * c for i, factor in term[1].items()}


def _index(node: ast.expr, n: int) -> int:
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "systems"
        and isinstance(node.slice, ast.Constant)
        and type(node.slice.value) is int
    ):
        if 0 <= node.slice.value < n:
            return node.slice.value
        raise InputError(
            f"there is no systems[{show(node.slice.value)}]",
            field="cmd",
            remedy=f"the entry has systems[0] to systems[{n - 1}]",
        )
    raise InputError(
        f"energy({show(ast.unparse(node))}) is not the energy of a system", field="cmd", remedy=_CMD_REMEDY
    )


def _systems(items: Any) -> list[Any]:
    if not isinstance(items, list):
        return items  # read_systems refuses it with the right message
    out = []
    for i, item in enumerate(items):
        try:
            fields = Fields(item, ("type", "kwargs"), "a system of xcnn's schema")
            kind = fields.text("type", "mol")
            if kind != "mol":
                raise InputError(
                    f"unknown system type {kind[:40]!r}", field="type", remedy="only 'mol' is supported"
                )
            out.append(fields.require("kwargs", "write kwargs with moldesc and basis"))
        except InputError as error:
            raise inside(error, f"systems[{i}]") from None
    return out


def build(data: Any, context: Context) -> DFTEntry:
    """Make an entry of one item of an xcnn file.

    Parameters
    ----------
    data : mapping
        ``name``, ``type`` (ie, ae, dm, dens), ``cmd``, ``true_val`` (Hartree), ``systems``,
        ``ref``. dm and dens entries without a file get a CCSD reference made by PySCF.
    context : Context

    Returns
    -------
    DFTEntry

    Raises
    ------
    InputError

    Examples
    --------
    >>> he = {"type": "mol", "kwargs": {"moldesc": "He 0 0 0", "basis": "sto-3g"}}
    >>> build({"name": "rho", "type": "dens", "systems": [he]}, Context()).is_ccsd
    True
    """
    fields = Fields(data, KEYS, "an entry of xcnn's schema")
    e_type = fields.require("type", f"write one of {', '.join(TYPES)}")
    choice(e_type, TYPES, "type", "entry type")
    options = context.options(fields)
    options["source"] = options["source"] or fields.text("ref")
    systems = read_systems(_systems(fields.require("systems", "list the systems")), context.folder)
    value, weight = fields.get("true_val"), fields.number("weight", 1)
    if e_type in ("dm", "dens"):
        _check_target_command(fields, e_type)
        if value is None or (
            isinstance(value, str) and value.replace(" ", "") == f"ccsd_{e_type}(systems[0])"
        ):
            value = "ccsd"
        return DFTEntry.create(e_type, value, systems, weight, **options)
    cmd = fields.require("cmd", _CMD_REMEDY)
    coefficients = parse_command(cmd, len(systems))
    for i, system in enumerate(systems):
        if system.no != 1:
            raise InputError(
                "number is not part of xcnn's schema",
                field=f"systems[{i}].number",
                remedy="write the factor into cmd",
            )
    if len(systems) > 1:
        check_balance(systems, coefficients, charges=e_type == "ae", field="cmd")
    return DFTEntry.create(e_type, value, systems, weight, coefficients=coefficients, **options)


def _check_target_command(fields: Fields, e_type: str) -> None:
    cmd = fields.get("cmd")
    if cmd is None:
        return
    if not isinstance(cmd, str) or cmd.replace(" ", "") not in (e_type, f"{e_type}(systems[0])"):
        raise InputError(
            f"{show(cmd)} is not the command of a {e_type} entry",
            field="cmd",
            remedy=f"write {e_type}(systems[0]), or leave it out",
        )

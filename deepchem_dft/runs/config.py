"""Reading a run configuration: YAML, overrides, and errors that name file and field."""

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from deepchem_dft.data.reading.yaml_text import dump_yaml as dump_yaml_text
from deepchem_dft.data.reading.yaml_text import parse_yaml, read_text
from deepchem_dft.errors import InputError
from deepchem_dft.runs.kinds import KINDS
from deepchem_dft.runs.section import BaseRunConfig

#: Bytes of a configuration that are read; the longest example has 4,000.
_LARGEST = 1 << 20
#: What a configuration may be.
AnyConfig: TypeAlias = BaseRunConfig


def read_yaml_mapping(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that must hold a mapping.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, is empty or holds something else; see
        :func:`~deepchem_dft.data.reading.yaml_text.parse_yaml`.
    """
    content = parse_yaml(read_text(path, _LARGEST), str(path))
    if not isinstance(content, dict):
        found = "empty" if content is None else f"a {type(content).__name__}"
        raise InputError(
            f"the file is {found}, not a mapping of sections",
            file=str(path),
            field="YAML",
            remedy="start from one of the files in examples/",
        )
    return content


def apply_overrides(content: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return a copy with dotted ``key.sub=value`` assignments applied.

    Parameters
    ----------
    content : dict
        The configuration as read.
    overrides : list of str
        Values are YAML; a number as a key addresses an element of a list.

    Raises
    ------
    InputError
        If an assignment has no ``=`` or addresses what cannot hold it.

    Examples
    --------
    >>> apply_overrides({"training": {"stages": [{"epochs": 9}]}}, ["training.stages.0.epochs=5"])
    {'training': {'stages': [{'epochs': 5}]}}
    """
    content = copy.deepcopy(content)
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts) or not key.isprintable():
            raise InputError(
                f"the override {_shown(override)} is not of the form key=value",
                remedy="write for example training.epochs=5",
            )
        try:
            value = parse_yaml(text)
        except InputError as error:
            raise InputError(
                f"the value of the override {_shown(override)} cannot be used: {error.problem}",
                field=key.strip()[:60],
            ) from None
        _assign(content, parts, value, override)
    return content


def _assign(content: Any, parts: list[str], value: Any, override: str) -> None:
    node = content
    for depth, part in enumerate(parts):
        last, above = depth == len(parts) - 1, ".".join(parts[:depth])[:60]
        if isinstance(node, list):
            if not re.fullmatch("[0-9]{1,9}", part) or int(part) >= len(node):
                raise InputError(
                    f"the override {_shown(override)}: '{above}' is a list of {len(node)}",
                    field=".".join(parts)[:60],
                    remedy=f"use a number from 0 to {len(node) - 1}",
                )
            part = int(part)  # type: ignore[assignment]
        elif not isinstance(node, dict):
            raise InputError(
                f"the override {_shown(override)}: '{above}' is a single value", field=".".join(parts)[:60]
            )
        if last:
            node[part] = value
        else:
            if isinstance(node, dict) and node.get(part) is None:
                node[part] = {}
            node = node[part]


def validate(content: dict[str, Any], file: str | None = None) -> AnyConfig:
    """Check a configuration against the schema that its key ``model`` names.

    Raises
    ------
    InputError
        Naming the first offending field, with a suggestion where there is one.

    Examples
    --------
    >>> validate({"data": {"train": ["w4-11:train"]}}).data.train[0].split
    'train'
    >>> try:
    ...     validate({"data": {"train": ["w4-11"]}, "trainig": {}}, file="a.yaml")
    ... except InputError as error:
    ...     print(error)
    a.yaml, field 'trainig': unknown key. Remedy: use 'training' instead.
    """
    kind = content.get("model", "xc")
    if not isinstance(kind, str) or kind not in KINDS:
        known = [f"{one.name} for {one.about}" for one in KINDS.values() if one.name != "xc"]
        raise InputError(
            f"there is no model {_shown(kind)}",
            file=file,
            field="model",
            remedy=f"use {', '.join(known)}, or leave it out",
        )
    if kind == "xc":
        content = {k: v for k, v in content.items() if k != "model"}
    try:
        return KINDS[kind].schema.model_validate(content)
    except ValidationError as error:
        raise as_input_error(error, file) from None


def as_input_error(error: ValidationError, file: str | None = None) -> InputError:
    """Return the first problem that pydantic found in our terms: field, what is wrong, remedy."""
    details = error.errors()
    first = next((d for d in details if d["type"] == "unknown_key"), details[0])
    context = first.get("ctx") or {}
    # pydantic puts branches of unions into the location; the user never wrote them.
    branches = (
        "CurveConfig",
        "str",
        "list[str]",
        "list[float]",
        "literal[False]",
        "[key]",
        "literal['test','valid','curve']",
    )
    location = [str(part) for part in first["loc"] if part not in branches]
    if "key" in context:
        location.append(context["key"])
    problem, remedy = first["msg"].removeprefix("Value error, "), context.get("remedy")
    if first["type"] == "missing":
        problem = "this field is required but missing"
    elif first["type"] != "unknown_key" and not isinstance(first["input"], (dict, list)):
        problem = f"{problem} (found {_shown(first['input'])})"
    return InputError(problem, file=file, field=".".join(location) or None, remedy=remedy)


def _shown(value: Any) -> str:
    """Return a value for a message, however long it is."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def load_config(path: str | Path, overrides: list[str] | None = None) -> AnyConfig:
    """Read, override and check a run configuration.

    Parameters
    ----------
    path : str or Path
        The YAML file. Data files in it are found relative to its folder.
    overrides : list of str, optional
        Dotted assignments such as ``training.epochs=5``.

    Returns
    -------
    BaseRunConfig
        Of the kind that its key ``model`` names.
        With data files as absolute paths.

    Raises
    ------
    InputError
        Naming the file, the field and the remedy.
    """
    content = apply_overrides(read_yaml_mapping(path), overrides or [])
    config = validate(content, file=str(path))
    config.locate(Path(path).resolve().parent)
    return config


def config_hash(config: AnyConfig) -> str:
    """Return a SHA-256 of everything that can change a number of the run."""
    text = json.dumps(config.hashed(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def dump_yaml(config: AnyConfig) -> str:
    """Return the resolved configuration as YAML text."""
    return dump_yaml_text(config.model_dump(mode="json"))

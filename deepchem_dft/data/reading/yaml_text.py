"""YAML text to plain Python values: strict about duplicates, free of YAML 1.1's surprises."""

import re
from pathlib import Path
from typing import Any

import yaml

from deepchem_dft.errors import InputError

_MAX_DEPTH = 40
#: Bytes of a file that is read at all: data sets of tens of thousands of entries are far below.
_LARGEST = 1 << 26
#: Aliases may make a document larger by this factor; a few lines of aliases of aliases ask for
#: billions of items otherwise.
_MAX_EXPANSION = 20
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "null", "bool", "int", "float", "merge")
)


# libyaml's parser is 25 times faster than the pure Python one, where PyYAML was built with it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class StrictLoader(_Base):
    """A safe loader that follows YAML 1.2's core schema.

    Only ``true`` and ``false`` are booleans, so that nitric oxide may be called ``NO`` and a
    coordinate ``y``; ``1e-3`` is a number; ``010`` is ten; dates and ``1:30`` stay text.
    """


def _core_int(loader: StrictLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > 400:  # longer ones are no quantity, and Python refuses to convert them
        raise yaml.constructor.ConstructorError(None, None, "a number with too many digits", node.start_mark)
    return int(text)


def _core_float(loader: StrictLoader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or the core schema would take for something else."""


StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("merge", r"^(?:<<)$", "<"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
):
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
StrictLoader.add_constructor("tag:yaml.org,2002:int", _core_int)
StrictLoader.add_constructor("tag:yaml.org,2002:float", _core_float)


def parse_yaml(text: str, file: str | None = None) -> Any:
    """Parse YAML text.

    Parameters
    ----------
    text : str
    file : str, optional
        Named in errors.

    Returns
    -------
    Any
        Dicts, lists, text, numbers, booleans, None.

    Raises
    ------
    InputError
        Malformed text (with its line), duplicate keys, tags beyond YAML's core, recursive or too
        deep structures, aliases that multiply.

    Examples
    --------
    >>> parse_yaml("name: NO\\nvalue: 1e-3\\nflags: [yes, true]")
    {'name': 'NO', 'value': 0.001, 'flags': ['yes', True]}
    """
    try:
        _check_depth(text, file)
        loader = StrictLoader(text)
        try:
            node = loader.get_single_node()
            _check_nodes(node)
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except InputError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"
        detail = getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed"
        raise InputError(
            f"not valid YAML at {where}: {detail}",
            file=file,
            field="YAML",
            remedy="check indentation, brackets and quotes there",
        ) from None
    except (RecursionError, ValueError, ArithmeticError, TypeError, LookupError, AttributeError) as error:
        # ValueError and the like: an explicit tag (!!int, !!timestamp) on text it does not fit.
        raise InputError(
            f"not readable YAML ({type(error).__name__})",
            file=file,
            field="YAML",
            remedy="remove tags (!!...) and deep nesting",
        ) from None
    return value


def dump_yaml(value: Any) -> str:
    """Return YAML text that `parse_yaml` reads back.

    Examples
    --------
    >>> parse_yaml(dump_yaml({"name": "1e5", "lr": 1e-5})) == {"name": "1e5", "lr": 1e-5}
    True
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)


def read_yaml_file(path: str | Path) -> Any:
    """Read one YAML file; see `parse_yaml`. Raises `InputError` if it is missing or empty."""
    value = parse_yaml(read_text(path), str(path))
    if value is None or value == [] or value == {}:
        raise InputError(
            "the file is empty", file=str(path), field="entries", remedy="add at least one entry"
        )
    return value


def read_text(path: str | Path, largest: int = _LARGEST) -> str:
    """Read a text file that is meant to be YAML.

    Parameters
    ----------
    path : path
    largest : int
        Bytes that are read at most.

    Raises
    ------
    InputError
        If it is missing, cannot be read, is larger than that, or is not UTF-8.
    """
    file = str(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(largest + 1)
        if len(raw) > largest:
            raise InputError(
                f"the file is larger than {largest >> 20} MiB",
                file=file,
                field="path",
                remedy="check that it is the right one",
            )
        return raw.decode("utf-8-sig")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(
            "there is no such file", file=file, field="path", remedy=_file_remedy(Path(path))
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            "the file is not UTF-8 text", file=file, field="path", remedy="give a YAML file saved as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise InputError(
            f"the file cannot be read ({reason})",
            file=file,
            field="path",
            remedy="give the path of a readable YAML file",
        ) from None


def _file_remedy(path: Path) -> str:
    from deepchem_dft.data.fields import suggest

    try:
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        names = []
    hint = suggest(path.name, names)
    return hint or f"check the path; relative paths start at {Path.cwd()}"


def _check_depth(text: str, file: str | None) -> None:
    """Refuse deep nesting before the recursive composer of libyaml runs out of stack."""
    depth = 0
    for event in yaml.parse(text, Loader=StrictLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise InputError(
                f"the YAML is nested more than {_MAX_DEPTH} levels deep",
                file=file,
                field="YAML",
                remedy="check the brackets",
            )


def _check_nodes(root: yaml.Node | None) -> None:
    """Refuse duplicate keys and foreign tags; before merge keys (<<) are expanded."""
    stack, sizes = [root], {}
    order: list[yaml.Node] = []
    while stack:
        node = stack.pop()
        if node is None or id(node) in sizes:
            continue
        sizes[id(node)] = 1
        order.append(node)
        if node.tag not in _TAGS:
            raise yaml.composer.ComposerError(
                None, None, f"the tag {node.tag[:60]!r} is not read", node.start_mark
            )
        if isinstance(node, yaml.MappingNode):
            _check_mapping(node)
        stack += reversed(_children(node))
    _check_expansion(order, sizes)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_expansion(order: list[yaml.Node], sizes: dict[int, int]) -> None:
    """Refuse documents that aliases blow up, and those that contain themselves."""
    waiting = {id(node): len(_children(node)) for node in order}
    heights = dict.fromkeys(waiting, 1)
    parents: dict[int, list[yaml.Node]] = {}
    for node in order:
        for child in _children(node):
            parents.setdefault(id(child), []).append(node)
    ready = [node for node in order if not waiting[id(node)]]
    done = 0
    while ready:
        node = ready.pop()
        done += 1
        for parent in parents.get(id(node), ()):
            sizes[id(parent)] += sizes[id(node)]
            heights[id(parent)] = max(heights[id(parent)], heights[id(node)] + 1)
            waiting[id(parent)] -= 1
            if not waiting[id(parent)]:
                ready.append(parent)
    if done < len(order):
        raise yaml.composer.ComposerError(
            None, None, "the YAML contains itself by an alias", order[0].start_mark
        )
    if max(heights.values(), default=0) > _MAX_DEPTH + 1:  # aliases of aliases nest as well
        raise yaml.composer.ComposerError(
            None, None, f"aliases nest it more than {_MAX_DEPTH} levels deep", order[0].start_mark
        )
    if order and sizes[id(order[0])] > _MAX_EXPANSION * len(order) + 10_000:
        raise yaml.composer.ComposerError(
            None, None, "its aliases multiply without measure", order[0].start_mark
        )


def _check_mapping(node: yaml.MappingNode) -> None:
    names: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.composer.ComposerError(None, None, "a key must be plain text", key.start_mark)
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in names:
            raise yaml.composer.ComposerError(
                None, None, f"the key '{key.value[:60]}' occurs twice", key.start_mark
            )
        names.add(key.value)

"""Broken and hostile versions of good files: bytes, words, structure; the same for a given seed."""

from __future__ import annotations

import json
import pickle
import random
import re
from pathlib import Path
from typing import Any

import yaml

#: What people and programs write by mistake, and what people write on purpose.
VALUES: list[Any] = [
    0,
    -1,
    1,
    2**31,
    2**63,
    10**9,
    10**30,
    -5,
    0.0,
    -0.0,
    1e-320,
    1e308,
    1e-5,
    float("inf"),
    float("nan"),
    True,
    False,
    None,
    "",
    " ",
    "x",
    "1e400",
    "1_000",
    "0x1F",
    "010",
    "NO",
    "~",
    "é",
    "2020-13-45",
    "a\0b",
    "a\x1b[2Jb",
    "\x1b]8;;http://x\x07",
    "\u202egnp",
    "\ud800",
    "../victim",
    "/etc/passwd",
    "~/victim",
    "..",
    ".",
    "a/b",
    "zoo:../victim",
    "CON",
    '=HYPERLINK("http://x")',
    "+1+1",
    "-cmd|x",
    "@SUM(1)",
    "a|b",
    "<script>alert(1)</script>",
    "[x](javascript:x)",
    "a\nb",
    "a\r\n# b",
    "%s%n",
    "{0.__class__}",
    "$(touch executed)",
    "`touch executed`",
    "x" * 5000,
    "9" * 5000,
    [],
    {},
    [[]],
    [1],
    [10**9],
    [[1, 2], [3]],
    {"a": 1},
    {"": None},
    ["a", "a"],
    "__import__('os').system('touch executed')",
    [8192] * 10,
    [0],
    [-1],
    [None],
    [1e400],
]
#: Text that means something to one of the readers.
WORDS = [
    "[" * 900,
    "{a: " * 300,
    "(" * 500,
    "- " * 3000,
    "9" * 5000,
    "1e400",
    "-1e308",
    ".inf",
    ".nan",
    "nan",
    "Infinity",
    "!!int banana",
    "!!python/object/apply:os.system ['touch executed']",
    "!!binary aGFsbG8=",
    "!!timestamp 2020-13-45",
    "&a [*a]",
    "*a",
    "<<: *a",
    "? ",
    "---",
    "...",
    "\0",
    "\x1b[2J",
    "\ufeff",
    "\u2028",
    "\x85",
    "\t",
    "\r",
    "#",
    "'",
    '"',
    "\\",
    "|",
    ">",
    "%",
    "@",
    "`",
    ",",
    ":",
    ";",
    "=",
    "null",
    "true",
    "0x1F",
    "1_0",
    "\uff11\uff12",
    "\xb2",
    "=1+1",
    "../victim",
    "/",
    "Xx",
    "Ghost-H",
    "D",
    "H1",
    "999",
    "-3",
    'Lattice="1 0 0 0 1 0 0 0 1"',
    "Properties=species:S:1:pos:R:3",
    "charge=1e9",
    "mult=0",
    'pbc="T T T"',
]


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def bomb(rng: random.Random, marker: Path) -> bytes:
    """Return a file that runs code where something unpickles it."""
    import io

    import numpy as np
    import torch

    kind, out = rng.randrange(4), io.BytesIO()
    if kind == 0:
        torch.save({"format": "deepchem_dft/checkpoint/1", "x": Bomb(marker)}, out)
    elif kind == 1:
        np.save(out, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    elif kind == 2:
        np.savez(out, x=np.array([Bomb(marker)], dtype=object))
    return out.getvalue() or pickle.dumps(Bomb(marker), protocol=rng.randrange(6))


def bytes_mutated(rng: random.Random, raw: bytes) -> bytes:
    """Return bytes with some of them changed, lost, doubled or moved."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 8, 100, 1000))
        kind = rng.randrange(8)
        if kind == 0:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            data[at:at] = rng.choice((b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"\x1b[2J", b"\n"))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            del data[at:]
        elif kind == 5 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 6:
            data[at:at] = b"0123456789"[rng.randrange(10) :] * rng.choice((1, 50, 600))
        else:
            del data[: at // 8]
    return bytes(data)


def words_mutated(rng: random.Random, text: str) -> str:
    """Return text with words or lines changed, lost, doubled or swapped."""
    by_line = rng.random() < 0.3
    parts = text.splitlines(keepends=True) if by_line else re.findall(r"\w+|\s+|[^\w\s]", text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not parts:
            break
        a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(6)
        if kind <= 1:
            parts[a] = rng.choice(WORDS) + ("\n" if by_line else "")
        elif kind == 2:
            parts[a], parts[b] = parts[b], parts[a]
        elif kind == 3:
            del parts[a]
        elif kind == 4:
            parts.insert(a, parts[b])
        else:
            value = rng.choice(VALUES)
            parts[a] = value if isinstance(value, str) else repr(value)
    return "".join(parts)


def structure_mutated(rng: random.Random, content: Any) -> Any:
    """Return nested data with values, keys or branches changed."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            break
        node, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind <= 3:
            node[key] = rng.choice(VALUES)
        elif kind == 4:
            del node[key]
        elif kind == 5:
            other, source = rng.choice(places)
            node[key] = json.loads(json.dumps(other[source], default=str)) if _there(other, source) else None
        elif kind == 6 and isinstance(node, dict):
            node[str(rng.choice(VALUES))[:200]] = node.pop(key)
        else:
            value = node[key]
            for _ in range(rng.choice((1, 2, 80))):
                value = [value] if rng.random() < 0.5 else {"a": value}
            node[key] = value
    return content


def _places(node: Any) -> Any:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _there(node: Any, key: Any) -> bool:
    return key in node if isinstance(node, dict) else key < len(node)


def yaml_mutated(rng: random.Random, raw: bytes) -> bytes:
    """Return a broken YAML file."""
    kind = rng.randrange(10)
    if kind < 5:
        made = structure_mutated(rng, yaml.safe_load(raw))
        text = yaml.safe_dump(made, allow_unicode=rng.random() < 0.5, sort_keys=False)
        raw = text.encode("utf-8", "surrogatepass")
        if rng.random() < 0.2:
            raw = words_mutated(rng, raw.decode("utf-8", "replace")).encode("utf-8", "replace")
        return raw
    return text_mutated(rng, raw)


def json_mutated(rng: random.Random, raw: bytes) -> bytes:
    """Return a broken JSON file."""
    if rng.random() < 0.6:
        return json.dumps(structure_mutated(rng, json.loads(raw)), ensure_ascii=rng.random() < 0.8).encode(
            "utf-8", "surrogatepass"
        )
    return text_mutated(rng, raw)


def text_mutated(rng: random.Random, raw: bytes) -> bytes:
    """Return a broken text file: words or bytes."""
    if rng.random() < 0.5:
        return words_mutated(rng, raw.decode("utf-8", "replace")).encode("utf-8", "surrogatepass")
    return bytes_mutated(rng, raw)

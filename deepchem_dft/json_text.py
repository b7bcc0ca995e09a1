"""JSON of anybody's to plain Python values: strict where Python's reader is lenient."""

import json
import math
from typing import Any

#: Levels of lists within lists: a form of a functional has some ten.
_DEEPEST = 60


def parse_json(text: str) -> Any:
    r"""Parse JSON that may be written out again, also as UTF-8, and be walked through.

    Raises
    ------
    ValueError
        Malformed text, keys that occur twice, NaN and infinite numbers, whole numbers beyond 20
        digits, half characters such as ``\ud800``, lists nested without end.

    Examples
    --------
    >>> parse_json('{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    >>> parse_json('{"a": 1e400}')
    Traceback (most recent call last):
    ...
    ValueError: 1e400 is not a number
    """
    try:
        content = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError("it is nested without end") from None
    _check_depth(content)
    json.dumps(content, ensure_ascii=False).encode()
    return content


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else _no_number(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _check_depth(content: Any) -> None:
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it is nested without end")
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]

r"""Text of anybody's on its way to a terminal, a spreadsheet or a page: one escape for each.

Names of entries, sets, functionals and files come out of files that may be a stranger's. A terminal
obeys escape codes, a spreadsheet calculates cells that begin like a formula, and Markdown passes
HTML and links on. Whatever writes a name to one of these sends it through the function made for it;
HTML pages have :mod:`deepchem_dft.runs.report.markup`.
"""

import re
from collections.abc import Iterable
from typing import Any

#: What makes Excel, LibreOffice and Google Sheets calculate a cell.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)", re.ASCII)
_HTML = re.compile(r"<(?=[A-Za-z/!?])")
_PLAIN_SPACES = {"\xa0": " ", "\u2007": " ", "\u202f": " "}


def printable(text: str) -> str:
    r"""Replace control and direction characters: a terminal, or a reader of a log, obeys them.

    Examples
    --------
    >>> printable("a\x1b[2Jb\n")
    'a?[2Jb\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _PLAIN_SPACES.get(c, "?") for c in text)


def one_line(text: str) -> str:
    r"""Return printable text without line ends.

    Examples
    --------
    >>> one_line("a\r\nb\x07")
    'a b?'
    """
    return printable(" ".join(text.splitlines()))


def csv_cell(value: Any) -> Any:
    r"""Return what a table of comma-separated values may hold: numbers as they are, text inert.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which it hides;
    :func:`csv_plain` takes it away again.

    Examples
    --------
    >>> [csv_cell(v) for v in ("H2O", "-1.5e-3", -1.5, '=HYPERLINK("http://x")', "-cmd|x", "a\x07")]
    ['H2O', '-1.5e-3', -1.5, '\'=HYPERLINK("http://x")', "'-cmd|x", 'a?']
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if _risky(text) and not _NUMBER.fullmatch(text) else text


def _risky(text: str) -> bool:
    return text.lstrip(" \t").startswith((*_FORMULA, "'")) or text.startswith("\t")


def csv_row(values: Iterable[Any]) -> list[Any]:
    """Return the cells of one line; see :func:`csv_cell`."""
    return [csv_cell(value) for value in values]


def csv_plain(cell: str) -> str:
    """Return the text a cell was made of.

    Examples
    --------
    >>> csv_plain(csv_cell("=1+1")), csv_plain(csv_cell("'quoted")), csv_plain("H2O")
    ('=1+1', "'quoted", 'H2O')
    """
    return cell[1:] if cell.startswith("'") and _risky(cell[1:]) else cell


def markdown_prose(text: str) -> str:
    r"""Return Markdown in which no HTML begins and nothing is unprintable.

    Examples
    --------
    >>> markdown_prose("error < 1 <script>")
    'error < 1 &lt;script>'
    """
    return _HTML.sub("&lt;", printable(text))


def markdown_cell(value: Any) -> str:
    r"""Return text for a cell or one line of Markdown: no HTML, no links, no line ends.

    Examples
    --------
    >>> markdown_cell("a|b <script> [x](http://y)")
    'a\\|b &lt;script> [x\\](http://y)'
    """
    text = markdown_prose(one_line(str(value))).replace("|", "\\|")
    return text.replace("](", "\\](").replace("][", "\\][")

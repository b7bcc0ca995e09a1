"""HTML from Python values: everything is escaped unless it is markup already."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_EMPTY = ("br", "img", "input", "meta")


class Html(str):
    """Text that is markup already, and is not escaped again."""


def text(value: Any) -> Html:
    """Return a value as markup: escaped, unless it is markup.

    Examples
    --------
    >>> text("<b>"), text(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element; children and values of attributes are escaped.

    Parameters
    ----------
    name : str
        Of the element.
    *children : str or Html
        None is left out.
    **attributes
        ``class_`` is ``class``, and ``_`` within a name is ``-``. None and False leave the
        attribute out, True writes it without a value.

    Examples
    --------
    >>> tag("p", "a < b", class_="x", data_tip='"', hidden=True)
    '<p class="x" data-tip="&quot;" hidden>a &lt; b</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{text(value)}"')
    opened = f"<{' '.join(parts)}>"
    if name in _EMPTY:
        return Html(opened)
    return Html(opened + join(children) + f"</{name}>")


def join(children: Iterable[Any]) -> Html:
    """Return children one after the other, without those that are None."""
    return Html("".join(text(child) for child in children if child is not None))


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    shown : str or Html
        What is read.
    value : float, str or None
        What is sorted by; default what is shown. NaN is sorted to the end.
    note : str
        Shown while the pointer rests on it.
    style : str
        Classes of the element.
    exact : str
        The number as the run's own table has it.
    """

    shown: Any
    value: float | str | None = None
    note: str = ""
    style: str = ""
    exact: str = ""

    def element(self, first: bool) -> Html:
        """Return the ``td``, or ``th`` if it names its row."""
        number = isinstance(self.value, float)
        key = self.value if self.value is not None else str(self.shown)
        if isinstance(key, float):
            key = "" if math.isnan(key) else f"{key:.10g}"
        classes = " ".join(filter(None, [self.style, "number" * number])) or None
        return tag(
            "th" if first else "td",
            self.shown,
            class_=classes,
            title=self.note or None,
            data_v=self.exact or key,
            scope="row" if first else None,
        )


def number(value: float, digits: int = 2, note: str = "", style: str = "") -> Cell:
    """Return a cell with a number, or a dash for NaN.

    Examples
    --------
    >>> number(1.234).shown, number(float("nan")).shown, number(-0.001).shown
    ('1.23', '–', '0.00')
    """
    shown = "–" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"
    return Cell(shown, float(value), note, style)


def table(
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    ident: str | None = None,
    sortable: bool = True,
    style: str = "",
) -> Html:
    """Return a table that scrolls sideways where it must.

    Parameters
    ----------
    header : list of str
        One cell per column.
    rows : list of list of (str or Cell)
        The first cell of each names the row.
    ident : str, optional
        The element's ``id``.
    sortable : bool
        A click on a heading sorts by the column.
    style : str
        Classes of the table.
    """
    body = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    numeric = [
        any(isinstance(row[i].value, float) for row in body if i < len(row)) for i in range(len(header))
    ]
    heads = [
        tag(
            "th",
            tag("button", name, type="button") if sortable else name,
            scope="col",
            class_="number" if is_number else None,
        )
        for name, is_number in zip(header, numeric)
    ]
    lines = [tag("tr", *(cell.element(i == 0) for i, cell in enumerate(row))) for row in body]
    classes = " ".join(filter(None, ["sortable" * sortable, style])) or None
    inner = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines), id=ident, class_=classes)
    return tag("div", inner, class_="scroll", tabindex="0")


def section(ident: str, title: str, *children: Any) -> Html:
    """Return a section with a heading that the table of contents can point to."""
    return tag("section", tag("h2", title), *children, id=ident)


def folded(title: str, *children: Any, opened: bool = False) -> Html:
    """Return what is shown after a click on its title."""
    return tag("details", tag("summary", title), *children, open=opened)


def bullets(items: Iterable[Any]) -> Html:
    """Return a list."""
    return tag("ul", *(tag("li", item) for item in items))

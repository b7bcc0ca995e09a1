"""What all figures share: the style, the file that is written, how seeds, formulas and accuracy are shown."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.files import write

#: The style sheet of the package, ``figures.mplstyle``, by the name that ``matplotlib.style.use`` knows.
STYLE = "deepchem_dft.figures"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", ":", "-.")


def colour(index: int) -> str:
    """Return the name of a colour of the style; they begin anew after the seventh."""
    return f"C{index}"


def line_style(index: int) -> str:
    """Return dashes that tell lines of the same colour apart."""
    return _DASHES[index // len(MARKERS) % len(_DASHES)]


@contextmanager
def drawing(
    path: str | Path,
    rows: int = 1,
    columns: int = 2,
    size: tuple[float, float] = (9.5, 3.8),
    layout: Any = None,
    **grid: Any,
) -> Iterator[np.ndarray]:
    """Give the axes of a new figure, shape (rows, columns), which is written in the end.

    Nothing of pyplot is touched, so a notebook's own figures stay as they are.

    Parameters
    ----------
    path : str or Path
        The image file, of the kind that its ending says.
    rows, columns : int
    size : (float, float)
        Inches.
    layout : str, optional
        As of matplotlib's figures.
    **grid
        More for ``Figure.subplots``, for instance ``sharex``.
    """
    from matplotlib import style  # imported late: half a second
    from matplotlib.figure import Figure

    with style.context(STYLE):
        figure = Figure(figsize=size, layout=layout)
        yield figure.subplots(rows, columns, squeeze=False, **grid)
        save(figure, path)


def save(figure: Any, path: str | Path) -> None:
    """Write a figure, of the kind that the name's ending says; all of it or nothing."""
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:].lower() or "png")
    write(path, content.getvalue())


def by_epoch(
    axis: Any, history: Sequence[Mapping[str, Any]], columns: Mapping[str, str], **labels: Any
) -> None:
    """Draw columns of a history, named in the legend, where their values are known."""
    epochs = column(history, "epoch")
    for index, (key, label) in enumerate(columns.items()):
        values = column(history, key)
        known = np.isfinite(values)
        if known.any():
            axis.plot(epochs[known], values[known], color=colour(index), label=label)
    axis.set(xlabel="epoch", **labels)
    whole_numbers(axis)
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Return a column of a history, NaN where it says nothing."""
    values = [row.get(key) for row in history]
    return np.array([math.nan if v in (None, "") else float(v) for v in values])


def whole_numbers(axis: Any) -> None:
    """Let ticks of the horizontal axis be integers: there is no half of an epoch."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def mark_kept(axis: Any, epoch: float) -> None:
    """Mark the epoch whose parameters were kept."""
    axis.axvline(epoch, color="0.5", linewidth=1, linestyle=":", label=f"kept: epoch {epoch:g}")


def accuracy_band(axis: Any, half: float, label: str = "±1 kcal/mol", vertical: bool = False) -> None:
    """Shade errors within chemical accuracy, ``half`` being 1 kcal/mol in the unit of the axis."""
    span = axis.axvspan if vertical else axis.axhspan
    span(-half, half, color="grey", alpha=0.2, linewidth=0, label=label, zorder=0)


#: Symbols of the first three rows, in which molecules of the data sets are written in small letters.
_SYMBOL = "(?:he|li|be|ne|na|mg|al|si|cl|ar|[hbcnofps])"
_SMALL = re.compile(rf"([a-z]-)?((?:{_SYMBOL}\d*)+)")
_SUBSCRIPTS = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉⁺⁻")


def formula(name: str) -> str:
    """Write a molecule's name as a formula with subscripts, if it is one.

    Examples
    --------
    >>> [formula(name) for name in ("ch3nh2", "sif4", "t-hcoh", "H2+", "hocl", "propane", "nn-mgga")]
    ['CH₃NH₂', 'SiF₄', 't-HCOH', 'H₂⁺', 'HOCl', 'propane', 'nn-mgga']
    """
    small = _SMALL.fullmatch(name)
    if small:
        symbols = re.sub(_SYMBOL, lambda found: found[0].capitalize(), small[2])
        return (small[1] or "") + symbols.translate(_SUBSCRIPTS)
    if re.fullmatch(r"(?:[A-Z][a-z]?\d*)+[+-]?", name):
        return name.translate(_SUBSCRIPTS)
    return name

"""Line and point charts as SVG inside the page: they follow its colours and its width."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from deepchem_dft.runs.report.markup import Html, tag, text


@dataclass(frozen=True)
class Scale:
    """From values to pixels along one axis.

    Attributes
    ----------
    low, high : float
        Ends of the axis, in values.
    start, end : float
        Where they lie, in pixels.
    log : bool
        Logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value in pixels; NaN where there is none."""
        if self.log:
            if not value > 0:
                return math.nan
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int = 6) -> list[float]:
        """Return round values between the ends.

        Examples
        --------
        >>> Scale(0, 10, 0, 100).ticks(5)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        >>> Scale(0.5, 2000, 0, 100, log=True).ticks()
        [1.0, 10.0, 100.0, 1000.0]
        """
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, wanted)


def fitted(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool = False,
    zero: bool = False,
    margin: float = 0.04,
) -> Scale:
    """Return a scale that shows all finite values.

    Parameters
    ----------
    values : iterable of float
        NaN, and on a logarithmic axis what is not positive, is passed over.
    start, end : float
        Pixels.
    log : bool
        Logarithmic.
    zero : bool
        Show zero, and begin there if nothing is negative.
    margin : float
        Free share at each end.

    Examples
    --------
    >>> fitted([3.0, float("nan"), 10.0], 0, 100, zero=True, margin=0.0).low
    0.0
    """
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    low, high = (min(known), max(known)) if known else ((0.1, 1.0) if log else (0.0, 1.0))
    if log:
        room = (high / low) ** margin if high > low else 2.0
        return Scale(low / room, high * room, start, end, True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = margin * (high - low) or 0.5 * abs(high) or 0.5
    floor = 0.0 if zero and low == 0.0 else low - room
    ceiling = 0.0 if zero and high == 0.0 and low < 0.0 else high + room
    return Scale(floor, ceiling, start, end)


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    rough = (high - low) / max(wanted, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        found = [f * 10.0**d for d in decades for f in factors if low * 0.999 <= f * 10.0**d <= high * 1.001]
        if len(found) >= 4:
            return found[:: math.ceil(len(found) / 8)]
    return _ticks(low, high, 4)


def label(value: float) -> str:
    """Return a tick's text.

    Examples
    --------
    >>> label(0.0), label(-2.5), label(1e-05), label(20000.0)
    ('0', '−2.5', '1e−5', '20000')
    """
    text = f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"
    mantissa, e, power = text.partition("e")
    return (mantissa + (f"e{int(power)}" if e else "")).replace("-", "−")


#: Pixels of the drawing; the page scales it to its column, hardly ever below 0.8.
WIDTH, HEIGHT = 440, 320
_RIGHT, _TOP, _BOTTOM = 12, 10, 46
_SHAPES = {
    0: "M{x:.1f} {y:.1f}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    1: "M{x:.1f} {y:.1f}m-3.5-3.5h7v7h-7z",
    2: "M{x:.1f} {y:.1f}m0-4.5l4.5 8h-9z",
    3: "M{x:.1f} {y:.1f}m0-4.7l4.7 4.7l-4.7 4.7l-4.7-4.7z",
    4: "M{x:.1f} {y:.1f}m0 4.5l4.5-8h-9z",
}


@dataclass
class Series:
    """One curve or cloud of points.

    Attributes
    ----------
    label : str
        In the legend.
    x, y : list of float
        NaN interrupts a line.
    colour : int
        Number of the colour, 0 the strongest; -1 that of the text.
    line, points, dashed : bool
        How it is drawn.
    tips : list of str
        Shown when the pointer comes near a point.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    line: bool = True
    points: bool = False
    dashed: bool = False
    tips: Sequence[str] = ()


@dataclass
class Chart:
    """A figure with its legend.

    Attributes
    ----------
    title, xlabel, ylabel : str
        With units.
    series : list of Series
    xlog, ylog : bool
        Logarithmic axes.
    xzero, yzero : bool
        Whether zero is shown.
    rules : list of (float, str)
        Horizontal lines at a value, with a text.
    marks : list of float
        Dotted vertical lines.
    diagonal : bool
        Draw y = x, and give both axes one range.
    names : sequence of str
        What stands at 0, 1, 2, ... of the horizontal axis, in place of numbers.
    """

    title: str
    xlabel: str
    ylabel: str
    series: list[Series] = field(default_factory=list)
    xlog: bool = False
    ylog: bool = False
    xzero: bool = False
    yzero: bool = False
    rules: list[tuple[float, str]] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    diagonal: bool = False
    names: Sequence[str] = ()

    def figure(self) -> Html:
        """Return the ``figure`` element."""
        x, y = self._scales()
        # The first series is the most important one: drawn last, it lies on top.
        curves = [self._draw(i, s, x, y) for i, s in reversed(list(enumerate(self.series)))]
        drawn = [*self._frame(x, y), *curves]
        image = tag(
            "svg",
            *drawn,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=f"{self.title}: {self.ylabel} against {self.xlabel}",
        )
        title = tag("figcaption", _lowered(self.title, "<sub>", "</sub>"))
        return tag("figure", title, image, self._legend(), class_="chart")

    def _scales(self) -> tuple[Scale, Scale]:
        xs = list(chain.from_iterable(s.x for s in self.series))
        ys = [*chain.from_iterable(s.y for s in self.series), *(value for value, _ in self.rules)]
        if self.diagonal:
            xs = ys = [*xs, *ys]
        y = fitted(ys, HEIGHT - _BOTTOM, _TOP, log=self.ylog, zero=self.yzero, margin=0.06)
        widest = max((len(label(value)) for value in y.ticks(6)), default=1)
        left = 32 + 7.5 * max(widest, 3)
        x = fitted(xs, left, WIDTH - _RIGHT, log=self.xlog, zero=self.xzero)
        if self.diagonal:
            y = Scale(x.low, x.high, y.start, y.end, y.log)
        return x, y

    def _frame(self, x: Scale, y: Scale) -> list[Html]:
        parts = []
        ticks = [(float(i), name) for i, name in enumerate(self.names)]
        ticks = ticks or [(value, label(value)) for value in x.ticks(6)]
        for value, words in ticks:
            at = x(value)
            parts += [
                _line(at, y.start, at, y.end, "grid"),
                tag("text", words, x=f"{at:.1f}", y=HEIGHT - _BOTTOM + 17, class_="tick middle"),
            ]
        for value in y.ticks(6):
            at = y(value)
            parts += [
                _line(x.start, at, x.end, at, "grid"),
                tag("text", label(value), x=f"{x.start - 7:.1f}", y=f"{at + 4:.1f}", class_="tick end"),
            ]
        parts += [_line(x(m), y.start, x(m), y.end, "mark") for m in self.marks]
        for value, words in self.rules:
            parts += [
                _line(x.start, y(value), x.end, y(value), "rule"),
                tag("text", words, x=WIDTH - _RIGHT - 3, y=f"{y(value) - 5:.1f}", class_="tick end"),
            ]
        if self.diagonal:
            parts.append(_line(x.start, y.start, x.end, y.end, "rule"))
        turned = f"translate(14 {(_TOP + HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)"
        return [
            *parts,
            tag(
                "text", _lowered(self.xlabel), x=f"{(x.start + x.end) / 2:.1f}", y=HEIGHT - 8, class_="middle"
            ),
            tag("text", _lowered(self.ylabel), transform=turned, class_="middle"),
        ]

    def _draw(self, index: int, series: Series, x: Scale, y: Scale) -> Html:
        places = [(x(a), y(b)) for a, b in zip(series.x, series.y)]
        parts: list[Html] = []
        if series.line:
            dashes = "6 4" if series.dashed else None
            parts = [
                tag(
                    "polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in piece), stroke_dasharray=dashes
                )
                for piece in _pieces(places)
            ]
        shape = _SHAPES[max(series.colour, 0) % len(_SHAPES)]
        tips = series.tips or [""] * len(places)
        if series.points or series.tips:
            style = "point" if series.points else "point hidden"
            parts += [
                tag(
                    "path",
                    d=shape.format(x=a, y=b),
                    class_=style,
                    data_tip=tip or None,
                    data_x=f"{a:.1f}",
                    data_y=f"{b:.1f}",
                )
                for (a, b), tip in zip(places, tips)
                if math.isfinite(a + b) and (tip or series.points)
            ]
        return tag("g", *parts, class_=f"series {_colour(series.colour)}", data_series=index)

    def _legend(self) -> Html | None:
        if len(self.series) < 2:
            return None
        entries = []
        for index, series in enumerate(self.series):
            drawn = [
                tag("path", d=_SHAPES[max(series.colour, 0) % len(_SHAPES)].format(x=12, y=7), class_="point")
                if series.points
                else None,
                tag("polyline", points="0,7 24,7", stroke_dasharray="6 4" if series.dashed else None)
                if series.line
                else None,
            ]
            key = tag(
                "svg",
                tag("g", *drawn, class_=f"series {_colour(series.colour)}"),
                viewBox="0 0 24 14",
                class_="key",
                aria_hidden="true",
            )
            words = tag("span", _lowered(series.label, "<sub>", "</sub>"))
            entries.append(tag("button", key, words, type="button", aria_pressed="true", data_series=index))
        return tag("div", *entries, class_="legend")


def _lowered(words: str, opened: str = '<tspan dy="3" class="low">', closed: str = "</tspan>") -> Html:
    """Return words in which r_s, F_x and F_xc have their subscripts."""
    return Html(re.sub(r"\b([Fr])_(xc|x|s)\b", rf"\1{opened}\2{closed}", text(words)))


def _colour(number: int) -> str:
    return "c-text" if number < 0 else f"c{number % 7}"


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=style)


def _pieces(places: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split a line where it is interrupted."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for a, b in places:
        if math.isfinite(a + b):
            pieces[-1].append((a, b))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def thinned(rows: Sequence, most: int = 400) -> list:
    """Return no more than about so many of the rows, the first and last among them.

    Examples
    --------
    >>> thinned(list(range(10)), 4)
    [0, 3, 6, 9]
    """
    step = math.ceil(len(rows) / most) if most else 1
    kept = list(rows[::step]) if step else []
    return kept if not rows or kept[-1] is rows[-1] else [*kept, rows[-1]]

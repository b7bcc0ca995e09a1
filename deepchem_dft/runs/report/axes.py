"""Scales and ticks of the report's charts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


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

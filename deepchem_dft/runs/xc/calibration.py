r"""Are the uncertainties of ensembles right? Fitted, and shown by coverage and rank correlation.

An ensemble's uncertainty of a value is :math:`u = (f^2 + c^2 s^2)^{1/2}`, with :math:`s` the
standard deviation of its members' values, :math:`c` their calibration, and a floor :math:`f` for
what they all get wrong alike. The interval :math:`\pm u` is meant to hold 68 %
of the errors, and :math:`\pm u\,z_p/z_{0.68}` a fraction :math:`p` of them, where :math:`z_p =
\Phi^{-1}((1 + p)/2)` is that of a normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.runs.tables import TYPE_TITLES, EntryRecord
from deepchem_dft.sinks import markdown_cell

if TYPE_CHECKING:
    from deepchem_dft.xc.ensemble import EnsembleXC

#: What fraction of true values an interval of plus and minus the uncertainty is meant to hold.
LEVEL = 0.68
#: How many data it takes to fit two parameters.
FEWEST = 10


def fitted_factor(errors: Any, uncertainties: Any, level: float = LEVEL) -> float:
    r"""Return what uncertainties have to be multiplied by to hold a fraction of the errors.

    .. math:: c = r_{(k)}, \quad r_i = |e_i| / u_i, \quad k = \lceil p\,(n + 1) \rceil

    the k-th smallest of the ratios. If other errors are drawn as these are, a fraction between p
    and p + 1/(n + 1) of them lies within c u on average, whatever their distribution.

    Parameters
    ----------
    errors, uncertainties : (n,) of the same unit
        Of data that neither trained nor will test the ensemble.
    level : float
        The fraction p.

    Raises
    ------
    InputError
        For fewer data than the formula needs, 3 at 68 %, or where members agree on a wrong value.

    References
    ----------
    Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018): split conformal inference, section 5.2.

    Examples
    --------
    >>> fitted_factor([1.0, -2.0, 3.0], [1.0, 1.0, 1.0])
    3.0
    """
    ratios = np.sort(_ratios(errors, uncertainties))
    rank = math.ceil(level * (len(ratios) + 1))
    if rank > len(ratios):
        raise InputError(f"{len(ratios)} errors are too few for a calibration", remedy="add validation data")
    factor = float(ratios[rank - 1])
    if not 0.0 < factor < math.inf:
        raise InputError(
            "the members' spread says nothing of the errors: too many of the one or the other are zero",
            remedy="use other validation data, or members",
        )
    return factor


def fitted_calibration(errors: Any, spreads: Any) -> tuple[float, float]:
    r"""Return the factor c and the floor f of :math:`u = (f^2 + c^2 s^2)^{1/2}`.

    Their ratio is that of the largest likelihood of normally distributed errors of standard
    deviation u; then both are scaled by :func:`fitted_factor`, to hold 68 % of the errors.
    Fewer than :data:`FEWEST` data give no floor.

    Parameters
    ----------
    errors, spreads : (n,) of the same unit
        Errors and standard deviations of the members, of data that trained none of them.

    Returns
    -------
    factor : float
    floor : float
        In the unit of the data; 0.01 to 100 times the factor and the median spread, as good as
        none and as a constant uncertainty.

    Raises
    ------
    InputError
        As :func:`fitted_factor` with these spreads, or where one is not finite.

    References
    ----------
    Palmer et al., npj Comput. Mater. 8, 115 (2022), who fit :math:`u = f + c\,s` that way.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> spreads = draw.lognormal(size=4000)
    >>> errors = np.hypot(2.0 * spreads, 3.0) * draw.normal(size=4000)
    >>> factor, floor = fitted_calibration(errors, spreads)
    >>> 1.8 < factor < 2.2, 2.8 < floor < 3.2
    (True, True)
    """
    from scipy.optimize import minimize_scalar

    if not (np.isfinite(errors).all() and np.isfinite(spreads).all()):
        raise InputError("an error or a spread is not finite", remedy="leave such data out")
    alone = fitted_factor(errors, spreads)  # refuses what is no calibration data, too
    if len(errors) < FEWEST:
        return alone, 0.0
    squares, variances = np.square(np.asarray(errors, float)), np.square(np.asarray(spreads, float))

    def surprise(log_ratio: float) -> float:
        """Return minus the log of the likelihood, at the best scale, up to a constant."""
        shape = variances + typical * math.exp(2.0 * log_ratio)
        return float(np.log(shape).mean() + math.log((squares / shape).mean()))

    typical = float(np.median(variances[variances > 0.0]))
    # Where the likelihood has two maxima, the higher one: start from a scan.
    scan = np.linspace(math.log(1e-2), math.log(1e2), 81)
    best = scan[int(np.argmin([surprise(x) for x in scan]))]
    step = scan[1] - scan[0]
    ratio = minimize_scalar(surprise, bounds=(best - step, best + step), method="bounded").x
    floor = math.sqrt(typical) * math.exp(min(float(ratio), math.log(1e2)))
    factor = fitted_factor(errors, np.sqrt(variances + floor**2))
    return factor, factor * floor


def coverage(errors: Any, uncertainties: Any, levels: Any = LEVEL) -> Any:
    """Return the fraction of errors inside the intervals that are meant to hold ``levels``.

    Parameters
    ----------
    errors, uncertainties : (n,) of the same unit
    levels : float or (L,), between 0 and 1

    Returns
    -------
    float or array, shape (L,)

    Examples
    --------
    >>> float(coverage([0.5, -0.9, 2.0, 0.1], [1.0, 1.0, 1.0, 1.0]))
    0.75
    """
    from scipy.stats import norm

    width = norm.ppf((1.0 + np.asarray(levels)) / 2.0) / norm.ppf((1.0 + LEVEL) / 2.0)
    return (_ratios(errors, uncertainties) <= width[..., None]).mean(-1)


def rank_correlation(errors: Any, uncertainties: Any) -> float:
    """Return Spearman's between uncertainties and absolute errors; NaN if either is constant.

    Examples
    --------
    >>> rank_correlation([0.1, -0.5, 0.3], [1.0, 3.0, 2.0])
    1.0
    """
    from scipy.stats import spearmanr

    absolute, uncertainties = np.abs(errors), np.asarray(uncertainties, dtype=float)
    if len(absolute) < 2 or np.ptp(absolute) == 0.0 or np.ptp(uncertainties) == 0.0:
        return math.nan
    return round(float(spearmanr(absolute, uncertainties)[0]), 12)


def _ratios(errors: Any, uncertainties: Any) -> np.ndarray:
    absolute, uncertainties = np.abs(np.asarray(errors, float)), np.asarray(uncertainties, float)
    if absolute.shape != uncertainties.shape or not len(absolute):
        raise InputError(
            f"{absolute.size} errors with {uncertainties.size} uncertainties", remedy="give one for each"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        # an error of zero lies within whatever uncertainty
        return np.where(absolute == 0.0, 0.0, absolute / uncertainties)


@dataclass
class Quality:
    """How good an ensemble's uncertainties are on one data set and type of entry.

    Attributes
    ----------
    functional, role, set, type : str
        As in :class:`~deepchem_dft.runs.tables.EntryRecord`.
    errors, uncertainties : array, shape (n,), kcal/mol
        Of the entries that have both.
    """

    functional: str
    role: str
    set: str
    type: str
    errors: np.ndarray
    uncertainties: np.ndarray

    @property
    def covered(self) -> float:
        """Fraction of errors no larger than their uncertainty."""
        return float(coverage(self.errors, self.uncertainties))

    @property
    def rank(self) -> float:
        """Rank correlation of uncertainty and absolute error."""
        return rank_correlation(self.errors, self.uncertainties)

    def text(self) -> str:
        """Return a sentence."""
        rank = "" if math.isnan(self.rank) else f"; rank correlation with |error| {self.rank:.2f}"
        return (
            f"{self.functional}, {self.role}: {self.set} ({TYPE_TITLES[self.type]}): "
            f"68 % interval covers {100 * self.covered:.0f} % of {len(self.errors)}{rank}"
        )


def qualities(records: Iterable[EntryRecord]) -> list[Quality]:
    """Group what has errors and uncertainties by functional, set and type, in order of appearance.

    Examples
    --------
    >>> qualities([EntryRecord("pbe", "test", "w4-11", "h2", "ae", 0.10, 0.11)])
    []
    """
    from deepchem_dft.units import HARTREE_TO_KCAL

    groups: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    for r in records:
        if r.uncertainty is not None and math.isfinite(r.error):
            pair = r.error, r.uncertainty * HARTREE_TO_KCAL
            groups.setdefault((r.functional, r.role, r.set, r.type), []).append(pair)
    return [Quality(*key, *np.array(pairs).T) for key, pairs in groups.items()]


def coverage_markdown(records: Iterable[EntryRecord]) -> str:
    """Return a list of sentences on uncertainties; empty if there are none."""
    return "".join(f"- {markdown_cell(quality.text())}\n" for quality in qualities(records))


def calibrated(ensemble: EnsembleXC, records: Iterable[EntryRecord]) -> EnsembleXC:
    """Return an ensemble of the same members whose uncertainties fit its errors.

    The fit is :func:`fitted_calibration`.

    Parameters
    ----------
    ensemble : EnsembleXC
    records : list of EntryRecord
        Of this ensemble, with its present calibration, on validation data; all sets count alike,
        entry by entry.

    Raises
    ------
    InputError
        See :func:`fitted_factor`.
    """
    from deepchem_dft.units import HARTREE_TO_KCAL
    from deepchem_dft.xc.ensemble import EnsembleXC

    found = qualities(records)
    if not found:
        raise InputError("no record has an uncertainty", remedy="evaluate an ensemble")
    errors = np.concatenate([q.errors for q in found]) / HARTREE_TO_KCAL
    uncertainties = np.concatenate([q.uncertainties for q in found]) / HARTREE_TO_KCAL
    spreads = [_spread(ensemble, u) for u in uncertainties]
    return EnsembleXC(list(ensemble), *fitted_calibration(errors, spreads))


def recalibrated(records: Iterable[EntryRecord], before: EnsembleXC, after: EnsembleXC) -> list[EntryRecord]:
    """Return records of an ensemble with the uncertainties it has with another calibration."""
    return [
        r
        if r.uncertainty is None
        else replace(
            r, uncertainty=math.hypot(after.calibration * _spread(before, r.uncertainty), after.floor)
        )
        for r in records
    ]


def _spread(ensemble: EnsembleXC, uncertainty: float) -> float:
    """Return the standard deviation (Ha) that an uncertainty (Ha) of an ensemble is made of."""
    if ensemble.by_kind:
        raise InputError(
            "records do not tell which of the ensemble's calibrations, by kind, made their uncertainties",
            remedy="evaluate EnsembleXC(list(ensemble)), which has one",
        )
    return math.sqrt(max(uncertainty**2 - ensemble.floor**2, 0.0)) / ensemble.calibration


def draw(curves: Mapping[str, tuple[Any, Any]], path: str | Path, title: str = "Calibration") -> None:
    """Draw observed against nominal coverage.

    Parameters
    ----------
    curves : mapping of str to (errors, uncertainties)
        By label; two arrays of the same unit and length each.
    path : str or Path
        The image file. The grey band is where 95 % of such observations fall if the uncertainties
        of the first curve are right, its number of data being what it is.
    """
    from scipy.stats import binom

    from deepchem_dft.runs.drawing import MARKERS, colour, drawing

    levels = np.linspace(0.02, 0.98, 49)
    count = len(next(iter(curves.values()))[0])
    with drawing(path, 1, 1, (5.2, 5.0)) as ((axis,),):
        low, high = (binom.ppf(q, count, levels) / count for q in (0.025, 0.975))
        axis.fill_between(
            levels,
            low,
            high,
            color="grey",
            alpha=0.2,
            linewidth=0,
            step="mid",
            label=f"95 % range of {count} data",
        )
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for index, (name, (errors, uncertainties)) in enumerate(curves.items()):
            observed = coverage(errors, uncertainties, levels)
            label = f"{name} ({100 * coverage(errors, uncertainties):.0f} % at 68 %)"
            axis.plot(
                levels,
                observed,
                color=colour(index),
                label=label,
                marker=MARKERS[index % len(MARKERS)],
                markersize=3,
                markevery=4,
            )
        axis.axvline(LEVEL, color="grey", linestyle=":", linewidth=1)
        axis.set(
            xlabel="nominal coverage",
            ylabel="observed coverage",
            title=title,
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
        )
        axis.legend(loc="lower right", fontsize=8)

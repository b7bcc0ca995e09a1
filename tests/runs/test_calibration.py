"""Calibration: the factor does what its formula promises, and coverage is counted right."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.runs import drawing
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.runs.xc.calibration import (
    calibrated,
    coverage,
    coverage_markdown,
    draw,
    fitted_calibration,
    fitted_factor,
    qualities,
    rank_correlation,
    recalibrated,
)
from deepchem_dft.runs.xc.entries import EntrySet, select
from deepchem_dft.runs.xc.evaluate import Evaluation, _uncertainty
from deepchem_dft.runs.xc.schema import DatasetRef
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyCache, EnergyRecord, Functional
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.ensemble import EnsembleXC

from .conftest import DATA

KCAL = 1.0 / HARTREE_TO_KCAL


def samples(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors whose spread is known up to a factor of 2.5, from a distribution with long tails."""
    spread = rng.lognormal(size=count)
    return 2.5 * spread * rng.standard_t(4, size=count), spread


def test_fitted_factor_covers_other_data():
    """As the formula promises: between 68 % and that plus 1/(n + 1), on average."""
    rng, count, found = np.random.default_rng(0), 24, []
    for _ in range(1500):
        factor = fitted_factor(*samples(rng, count))
        errors, spread = samples(rng, 40)
        found.append(coverage(errors, factor * spread))
    noise = 3 * np.std(found) / len(found) ** 0.5
    assert 0.68 - noise < np.mean(found) < 0.68 + 1 / (count + 1) + noise
    errors, spread = samples(rng, 1000)
    factor = fitted_factor(errors, spread)
    assert coverage(errors, factor * spread) == pytest.approx(0.68, abs=2e-3)
    assert fitted_factor(errors, spread, 0.9) > factor


def test_fitted_floor_covers_other_data():
    """Errors that the members share: the floor finds them, and a factor alone is not as good."""
    rng, inside, levels = np.random.default_rng(2), [], [0.5, 0.68, 0.9]

    def shared(count: int) -> tuple[np.ndarray, np.ndarray]:
        spread = rng.lognormal(size=count)
        return np.hypot(1.5 * spread, 2.0) * rng.normal(size=count), spread

    factor, floor = fitted_calibration(*shared(20_000))
    assert factor == pytest.approx(1.5, rel=0.05) and floor == pytest.approx(2.0, rel=0.05)
    for _ in range(100):
        factor, floor = fitted_calibration(*shared(60))
        errors, spread = shared(400)
        inside.append(coverage(errors, np.hypot(factor * spread, floor), levels))
    np.testing.assert_allclose(np.mean(inside, axis=0), levels, atol=0.03)
    # without anything shared, hardly any floor; with nothing else, hardly any factor
    errors, spread = rng.normal(size=5000), rng.lognormal(size=5000)
    assert fitted_calibration(errors * spread, spread)[1] < 0.1
    factor, floor = fitted_calibration(errors, spread)
    assert factor < 0.15 and floor == pytest.approx(1.0, rel=0.05)
    assert fitted_calibration(errors[:9], spread[:9]) == (fitted_factor(errors[:9], spread[:9]), 0)


def test_the_factor_is_the_order_statistic_of_the_formula():
    ratios = np.arange(1.0, 25.0)
    signs = np.where(np.arange(24) % 2, 1.0, -1.0)
    assert fitted_factor(np.random.default_rng(0).permutation(ratios * signs), np.ones(24)) == 17.0
    assert fitted_factor(ratios * 2.0, np.full(24, 4.0), level=0.5) == 0.5 * 13.0
    assert fitted_factor(ratios[:3], np.ones(3)) == 3.0  # the fewest: ceil(0.68 * 4) = 3
    assert fitted_factor([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, 1.0]) == 3.0


def likelihood(errors: np.ndarray, spreads: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Return the largest log likelihood of normal errors of variance k (s^2 + ratio^2), per k."""
    shape = spreads**2 + ratios[:, None] ** 2
    best = (errors**2 / shape).mean(1, keepdims=True)
    return (-0.5 * np.log(2 * np.pi * best * shape) - errors**2 / (2 * best * shape)).sum(1)


@pytest.mark.parametrize("count", [10, 40])
def test_the_floor_is_the_most_likely_one(count):
    """Against all ratios of floor and factor there are, in steps of 0.1 %."""
    rng = np.random.default_rng(count)
    spreads = 1e-3 * rng.lognormal(size=count)
    errors = np.hypot(1.5 * spreads, 2e-3) * rng.normal(size=count)
    factor, floor = fitted_calibration(errors, spreads)
    ratios = np.median(spreads) * np.geomspace(1e-2, 1e2, 9212)
    best = ratios[likelihood(errors, spreads, ratios).argmax()]
    assert floor / factor == pytest.approx(best, rel=2e-3)
    inside = np.abs(errors) <= np.hypot(factor * spreads, floor) * (1 + 1e-12)
    assert inside.sum() == math.ceil(0.68 * (count + 1))
    scaled = fitted_calibration(7.0 * errors, 7.0 * spreads)  # the unit does not matter
    assert scaled == pytest.approx((factor, 7.0 * floor), rel=1e-6)


def test_the_floor_keeps_to_its_range():
    """0.01 to 100 times the factor and the median spread: errors that are all spread, or none."""
    rng = np.random.default_rng(5)
    spreads = np.append(0.0, rng.lognormal(size=400))  # members that agree say nothing of the size
    typical = np.sqrt(np.median(spreads[1:] ** 2))
    factor, floor = fitted_calibration(rng.normal(size=401), spreads)
    assert floor / factor / typical == pytest.approx(100.0, rel=1e-3)
    exact = spreads * np.where(rng.random(401) < 0.5, -1.0, 1.0)
    factor, floor = fitted_calibration(exact[1:], spreads[1:])
    assert 0.0085 < floor / factor / typical < 0.0101
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="not finite"):
            fitted_calibration([bad, 1.0, 1.0], [1.0, 1.0, 1.0])
        with pytest.raises(InputError, match="not finite"):
            fitted_calibration([1.0, 1.0, 1.0], [bad, 1.0, 1.0])


def test_normal_errors_are_covered_at_every_level():
    rng = np.random.default_rng(1)
    levels = np.array([0.1, 0.5, 0.68, 0.9, 0.99])
    scale = rng.uniform(0.5, 2.0, size=40_000)
    found = coverage(scale * rng.normal(size=scale.size), 0.99446 * scale, levels)
    np.testing.assert_allclose(found, levels, atol=0.01)
    assert coverage([1.0, -1.0], [0.0, 2.0]) == 0.5 and coverage([0.0], [0.0]) == 1.0


def test_rank_correlation():
    errors = np.array([1.0, -2.0, 3.0, -4.0, 5.0])
    assert rank_correlation(errors, np.exp(np.abs(errors))) == 1.0
    assert rank_correlation(errors, [5.0, 4.0, 3.0, 2.0, 1.0]) == -1.0
    assert rank_correlation(errors, [1.0, 2.0, 3.0, 5.0, 4.0]) == pytest.approx(0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scipy would warn
        assert math.isnan(rank_correlation(errors, np.ones(5)))
        assert math.isnan(rank_correlation(np.array([2.0, -2.0]), [1.0, 2.0]))
        assert math.isnan(rank_correlation(errors[:1], [1.0]))
        assert math.isnan(rank_correlation([], []))
    assert rank_correlation(errors[:2], [1.0, 2.0]) == 1.0


@pytest.mark.parametrize(
    "errors, spread, message",
    [
        ([1.0, 2.0], [1.0, 1.0], "too few"),
        ([], [], "one for each"),
        ([1.0, 2.0], [1.0], "one for each"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0], "spread says nothing"),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], "spread says nothing"),
    ],
)
def test_what_cannot_be_calibrated(errors, spread, message):
    with pytest.raises(InputError, match=message):
        fitted_factor(errors, spread)


def records() -> list[EntryRecord]:
    """Errors 1 to 4 kcal/mol, uncertainties of 2.5; one unconverged, one of another functional."""
    rows = [
        EntryRecord("mean", "test", "s", str(e), "ae", 0.1, 0.1 + e * KCAL, [], 2.5 * KCAL)
        for e in (1, -2, 3, -4)
    ]
    rows.append(EntryRecord("mean", "test", "s", "x", "ae", 0.1, math.nan, ["x"], None))
    return [*rows, EntryRecord("pbe", "test", "s", "1", "ae", 0.1, 0.2)]


def test_groups_and_text(tmp_path):
    (one,) = qualities(records())
    assert (one.functional, len(one.errors), one.covered) == ("mean", 4, 0.5)
    text = coverage_markdown(records())
    assert "68 % interval covers 50 % of 4" in text and text.count("\n") == 1
    assert "rank" not in text  # all uncertainties are equal
    assert coverage_markdown(records()[-1:]) == ""
    varied = [dataclasses.replace(r, uncertainty=abs(r.error) * KCAL) for r in records()[:4]]
    text = coverage_markdown(varied)
    assert "covers 100 % of 4; rank correlation with |error| 1.00" in text.replace("\\", "")
    assert "ensemble" not in text and text.startswith("- mean, test: s (atomisation")


def test_the_drawing_shows_coverage(tmp_path, monkeypatch):
    """What is drawn, read back from the figure."""
    from scipy.stats import binom

    kept, save = [], drawing.save
    monkeypatch.setattr(drawing, "save", lambda figure, path: (kept.append(figure), save(figure, path)))
    rng = np.random.default_rng(0)
    errors, width = rng.normal(size=200), np.full(200, 0.99446)
    draw(
        {"as it is": (errors, width), "twice": (errors[:50], 2 * width[:50])},
        tmp_path / "c.png",
        title="How good",
    )
    assert (tmp_path / "c.png").stat().st_size > 5000
    ((axis,),) = (figure.axes for figure in kept)
    diagonal, *curves, meant = axis.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    for line, (e, w) in zip(curves, [(errors, width), (errors[:50], 2 * width[:50])], strict=True):
        nominal, observed = line.get_data()
        assert nominal[0] == 0.02 and nominal[-1] == 0.98 and len(nominal) > 40
        np.testing.assert_allclose(observed, [coverage(e, w, p) for p in nominal])
    assert curves[0].get_color() != curves[1].get_color()
    assert curves[0].get_marker() != curves[1].get_marker()
    assert set(meant.get_xdata()) == {0.68}
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    inside = 100 * coverage(errors, width)
    assert labels[0] == "95 % range of 200 data"
    assert labels[1] == f"as it is ({inside:.0f} % at 68 %)" and labels[2].startswith("twice (9")
    (band,) = axis.collections
    edges = band.get_paths()[0].vertices
    for p in nominal:  # a step of a fiftieth about each
        at = edges[np.abs(edges[:, 0] - p) < 0.0101, 1]
        assert binom.ppf(0.025, 200, p) / 200 in at and binom.ppf(0.975, 200, p) / 200 in at
    assert all(line.get_linewidth() > 0 for line in axis.lines)
    assert axis.get_xlim() == axis.get_ylim() == (0, 1) and axis.get_title() == "How good"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("nominal coverage", "observed coverage")


def test_calibrated_ensemble():
    ensemble = EnsembleXC(["pbe", "blyp"], 2.0)
    better = calibrated(ensemble, records())
    assert list(better) == list(ensemble)
    assert better.calibration == pytest.approx(2.0 * 4.0 / 2.5)
    floored = EnsembleXC(["pbe", "blyp"], 2.0, 1.5 * KCAL)  # 2.5 of which 2.0 are the members'
    assert calibrated(floored, records()).calibration == pytest.approx(2.0 * 4.0 / 2.0)
    with pytest.raises(InputError, match="no record has an uncertainty"):
        calibrated(ensemble, records()[-1:])
    with pytest.raises(InputError, match="by kind"):
        calibrated(EnsembleXC(["pbe", "blyp"], 2.0, 0.0, {"BH": (1.0, 0.0)}), records())


@pytest.mark.parametrize("kind, factor, floor", [("BH", 3.0, 0.004), ("NC", 2.0, 0.001), (None, 2.0, 0.001)])
def test_a_row_has_the_interval_of_its_kind(kind, factor, floor):
    entry = select(DatasetRef(dataset="gscdb138", names=["G21IP_2"]))[0]
    entry.tags["kind"] = kind
    functional = Functional.trained(EnsembleXC(["pbe", "blyp"], 2.0, 0.001, {"BH": (3.0, 0.004)}))
    parts = [
        EnergyRecord(
            "m", functional.key, "x", 0.0, True, "converged", 1, 0.0, members=[-1.0, -1.0 + 0.003 * n]
        )
        for n in range(len(entry.coefficients))
    ]
    spread = 0.003 * abs(sum(c * n for n, c in enumerate(entry.coefficients))) / 2**0.5
    assert spread > 0.0
    assert _uncertainty(functional, entry, parts) == pytest.approx(math.hypot(factor * spread, floor))


def test_uncertainties_of_another_calibration():
    before = EnsembleXC(["pbe", "blyp"], 2.0, 1.5 * KCAL)  # 2.5 of which 2.0 are the members'
    after = EnsembleXC(["pbe", "blyp"], 3.0, 4.0 * KCAL)
    new = recalibrated(records(), before, after)
    assert [r.error for r in new[:4]] == [r.error for r in records()[:4]]
    for r in new[:4]:  # (3 * 1)^2 + 4^2 = 5^2
        assert r.uncertainty == pytest.approx(5.0 * KCAL)
    assert new[4].uncertainty is new[5].uncertainty is None
    small = [dataclasses.replace(records()[0], uncertainty=1.0 * KCAL)]  # below the floor: rounding
    assert recalibrated(small, before, after)[0].uncertainty == pytest.approx(4.0 * KCAL)


def test_an_evaluation_keeps_the_members(tmp_path):
    """Uncertainty of an atomisation energy from the file, against each member's by hand."""
    (tmp_path / "data.yaml").write_text(DATA)
    group = EntrySet("test", "tiny", select(DatasetRef(file=str(tmp_path / "data.yaml"))))
    ensemble = EnsembleXC(["lda", "pbe", "blyp"], 1.5, floor=1e-3)
    functional, known = Functional.trained(ensemble, "mean"), tmp_path / "solved.jsonl"
    found = Evaluation(Solver(1, cache=known), 1).run([(group, [functional])])
    assert Evaluation(Solver(1, cache=known), 1).run([(group, [functional])]) == found

    def members(geometry: str, spin: int = 0):
        molecule = Molecule(geometry, "sto-3g", spin=spin, grid_level=1)
        return ensemble.energies(KohnSham(molecule, ensemble).run())

    values = 2 * members("H 0 0 0", 1) - members("H 0 0 0; H 0 0 1.4")
    assert found[0].entry == "tiny:H2"
    assert found[0].value == pytest.approx(values.mean().item(), abs=1e-6)
    assert found[0].uncertainty == pytest.approx(math.hypot(1.5 * values.std().item(), 1e-3), rel=1e-3)


def test_solutions_from_before_members_were_kept_are_found_anew(tmp_path):
    known, functional = tmp_path / "e.jsonl", Functional.trained(EnsembleXC(["lda", "pbe"]))
    helium = Molecule("He 0 0 0", "sto-3g", grid_level=0)
    EnergyCache(known).add(EnergyRecord(helium.key, functional.key, "He", -2.8, True, "converged", 5, 0.1))
    found = Solver(1, cache=known).solve([(helium, [functional])])[helium.key, functional.key]
    assert found.energy != -2.8 and found.members is not None and len(found.members) == 2
    assert sum(found.members) / 2 == pytest.approx(found.energy, abs=1e-9)
    with torch.no_grad():
        alone = KohnSham(helium, "pbe").run().energy.item()
    assert found.members[1] == pytest.approx(alone, abs=1e-3)

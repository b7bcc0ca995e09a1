"""Range separation: its limits, the uniform gas's exchange hole, and libxc's functionals."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import erfc

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import EnhancedXC, EnsembleXC, HybridXC, get_xc
from deepchem_dft.xc.ranges import RangeSeparation, attenuation


def density(points: int = 40) -> torch.Tensor:
    """Return densities of both spins from 1e-4 to 10, with gradients and a tau above its lower bound."""
    generator = torch.Generator().manual_seed(1)
    rho = torch.rand(2, 5, points, generator=generator, dtype=torch.float64)
    rho = (rho + 0.1) * torch.logspace(-4, 1, points, dtype=torch.float64)
    rho[:, 4] += (rho[:, 1:4] ** 2).sum(1) / (8 * rho[:, 0])
    return rho


def enhanced(parent: str, learned: bool = True, **options) -> EnhancedXC:
    """Return one whose factors are not those of its parent."""
    xc = EnhancedXC(parent, hidden=[4], seed=1, **options)
    if learned:
        with torch.no_grad():
            for factor in (xc.x_factor, xc.c_factor):
                for p in factor.parameters():
                    p += 0.3 * torch.rand(p.shape, generator=torch.Generator().manual_seed(2), dtype=p.dtype)
    return xc


def exchange_of(xc: EnhancedXC) -> torch.Tensor:
    """Return its semilocal exchange energy per volume."""
    points, _ = xc.prepared(density())
    return sum(xc._exchange_energy(at) for at in points)


# -- the uniform gas ----------------------------------------------------------------------------


def from_the_hole(x: float) -> float:
    """The share of the exchange energy of a uniform gas that erfc(r k_F / x) / r keeps."""

    def hole(r):  # (3 j_1(r) / r)^2 of r k_F
        return 9.0 * ((math.sin(r) - r * math.cos(r)) / r**3) ** 2 if r > 1e-3 else 1.0 - 0.2 * r * r

    near = quad(lambda r: r * hole(r) * erfc(r / x), 0.0, 8.0 * x, limit=2000)[0]
    far = quad(lambda r: r * hole(r), 0.0, 400.0, limit=2000)[0]
    return near / (far + 9.0 / (4.0 * 400.0**2))  # cos^2 is 1/2 in the mean beyond


@pytest.mark.parametrize("x", [0.05, 0.4, 1.3, 1.7, 5.0])
def test_the_attenuation_is_that_of_the_exchange_hole(x):
    assert attenuation(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(
        from_the_hole(x), rel=1e-5
    )


def test_attenuation_is_smooth_where_its_forms_meet():
    below, above = (torch.tensor(1.5 + d, dtype=torch.float64, requires_grad=True) for d in (-1e-13, 1e-13))
    values = []
    for x in (below, above):
        value = attenuation(x)
        (first,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(first, x)
        values.append([value.item(), first.item(), second.item()])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-10)
    grid = torch.linspace(0.0, 6.0, 200, dtype=torch.float64)
    assert bool((attenuation(grid).diff() > 0).all())


def test_limits_of_the_attenuation():
    small, large = torch.tensor([0.0, 1e-5], dtype=torch.float64), torch.tensor(1e8, dtype=torch.float64)
    assert attenuation(small).tolist() == pytest.approx([0.0, 1e-10 / 9], rel=1e-9)
    assert attenuation(large).item() == pytest.approx(1.0, abs=1e-7)


# -- limits of the functional -------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["lda", "pbe", "blyp", "r2scan"])
@pytest.mark.parametrize("kind", ["uniform", "ityh"])
def test_limits_in_omega(parent, kind):
    """No range but the short one for omega to 0, and none of it for omega to infinity."""
    shares = {"exchange": 0.2, "range_separation": {"omega": 0.3, "long_exchange": 0.9, "attenuation": kind}}
    xc = enhanced(parent, **shares)
    whole = exchange_of(enhanced(parent))
    for omega, share in ((1e-9, 0.8), (1e9, 0.1)):
        with torch.no_grad():
            xc.ranges.omega.fill_(omega)
        assert torch.allclose(exchange_of(xc), share * whole, rtol=1e-7)
    with torch.no_grad():
        xc.ranges.omega.fill_(0.4)
    between = exchange_of(xc) / whole
    assert bool(((between > 0.1) & (between < 0.8)).all())


def test_equal_shares_are_a_global_hybrid():
    xc = enhanced("r2scan", exchange=0.25, range_separation={"omega": 0.3, "long_exchange": 0.25})
    plain = enhanced("r2scan", exchange=0.25)
    assert torch.allclose(xc(density()), plain(density()), rtol=1e-14)
    shares = [(float(c), w) for c, w in xc.exchange_terms]
    assert shares == [(0.25, None), (0.0, 0.3)]


def test_the_uniform_gas_is_kept():
    """Whatever is learned, short-range exchange of the uniform gas is that of the exchange hole."""
    n = torch.logspace(-3, 1, 20, dtype=torch.float64)
    rho = torch.zeros(1, 5, 20, dtype=torch.float64)
    rho[0, 0], rho[0, 4] = n, 0.3 * (3 * math.pi**2) ** (2 / 3) * n ** (5 / 3)
    for kind in ("uniform", "ityh"):
        options = {"range_separation": {"omega": 0.3, "attenuation": kind}}
        points, _ = enhanced("r2scan", **options).prepared(rho)
        (at,) = points
        ours = enhanced("r2scan", **options)._exchange_energy(at)
        assert torch.allclose(ours, get_xc("lda_x_erf")(rho), rtol=1e-9)


# -- libxc's ------------------------------------------------------------------------------------


def test_lc_blyp_is_that_of_libxc():
    options = {"bound": 99.0, "range_separation": {"omega": 0.33, "attenuation": "ityh"}}
    xc, expected = enhanced("blyp", learned=False, **options), get_xc("lc-blyp")
    assert torch.allclose(xc(density()), expected(density()), rtol=1e-12)
    assert [(float(c), w) for c, w in xc.exchange_terms] == expected.exchange_terms


@pytest.mark.parametrize("parent, name", [("lda", "lda_x_erf"), ("pbe", "gga_x_ityh_pbe")])
def test_short_range_exchange_is_that_of_libxc(parent, name):
    omega = {"lda": 0.3, "pbe": 0.33}[parent]  # libxc's own
    xc = enhanced(parent, learned=False, range_separation={"omega": omega, "attenuation": "ityh"})
    assert torch.allclose(exchange_of(xc), get_xc(name)(density()), rtol=1e-9)


def test_shares_of_both_ranges_are_those_of_libxc():
    xc = enhanced("lda", exchange=0.2, range_separation={"omega": 0.3, "long_exchange": 0.7})
    with torch.no_grad():
        for p in xc.c_factor.parameters():
            p.zero_()
    name = "0.2*SR_HF(0.3)+0.7*LR_HF(0.3)+0.5*lda_x_erf+0.3*lda_x,lda_c_pw_mod"
    assert torch.allclose(xc(density()), get_xc(name)(density()), rtol=1e-12)
    ours, libxc = xc.exchange_terms, get_xc(name).exchange_terms
    assert [w for _, w in ours] == [w for _, w in libxc]
    assert [float(c) for c, _ in ours] == pytest.approx([c for c, _ in libxc], abs=1e-15)


# -- derivatives and interpolation --------------------------------------------------------------


def test_slopes_by_shares_and_omega():
    train = ["omega", "long_exchange"]
    xc = enhanced(
        "r2scan", exchange=0.2, train_exchange=True, range_separation={"omega": 0.3, "train": train}
    )
    parameters = [xc.ranges.omega, xc.ranges.long_exchange, xc.share]
    coefficients = torch.linspace(0.5, 1.5, 9, dtype=torch.float64)  # as exact energies would be

    def energy():
        exact = sum(c * weight for (c, _), weight in zip(xc.exchange_terms, coefficients, strict=True))
        return xc(density()).sum() + exact

    slopes = torch.autograd.grad(energy(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        found = []
        for change in (1e-5, -2e-5):
            with torch.no_grad():
                parameter += change
                found.append(energy().item())
        with torch.no_grad():
            parameter += 1e-5
        assert slope.item() == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-7, abs=1e-8)


def test_the_shares_of_points_interpolate():
    """Polynomials below the number of points are exact; at a point it alone counts."""
    ranges = RangeSeparation(0.37, train=["omega"], reach=(0.2, 0.6), nodes=5)
    points, weights = ranges.points, [w.item() for w in ranges.shares()]
    assert min(points) > 0.2 and max(points) < 0.6 and len(points) == 5
    for power in range(5):
        assert sum(w * p**power for w, p in zip(weights, points, strict=True)) == pytest.approx(0.37**power)
    with torch.no_grad():
        ranges.omega.fill_(points[2])
    assert [w.item() for w in ranges.shares()] == pytest.approx([0, 0, 1, 0, 0], abs=1e-12)


def test_a_trained_omega_stays_in_reach_and_finds_back():
    ranges = RangeSeparation(0.3, train=["omega"], reach=(0.2, 0.5))
    with torch.no_grad():
        ranges.omega.fill_(0.7123)
    assert ranges.present.item() == pytest.approx(0.5, abs=1e-15)
    assert RangeSeparation(**ranges.config).config == ranges.config  # within reach to the last digit
    (slope,) = torch.autograd.grad(ranges.present.square(), ranges.omega)
    assert slope.item() == pytest.approx(1.0)


def test_members_of_different_omegas_share_their_preparation():
    learned = [enhanced("pbe", range_separation={"omega": omega}) for omega in (0.2, 0.4)]
    members = [HybridXC(None, xc, aweight0=1.0) for xc in learned]
    mean = EnsembleXC(members)
    assert mean._cores() is not None
    expected = (members[0](density()) + members[1](density())) / 2
    assert torch.allclose(mean(density()), expected, rtol=1e-13)
    other = HybridXC(None, enhanced("pbe"), aweight0=1.0)
    mixed, halves = EnsembleXC([members[0], other]), (members[0](density()) + other(density())) / 2
    assert mixed._cores() is None and torch.allclose(mixed(density()), halves, rtol=1e-13)


@pytest.mark.parametrize("train", [[], ["omega"], ["omega", "long_exchange"]])
@pytest.mark.parametrize("parent", ["lda", "r2scan"])
def test_histograms_give_the_energy(parent, train):
    options = {"omega": 0.28, "long_exchange": 0.9, "train": train, "attenuation": "ityh"}
    xc = enhanced(parent, exchange=0.2, range_separation=options)
    rho, weights = density(400), torch.full((400,), 1e-2, dtype=torch.float64)
    expected = (xc(rho) * weights).sum()
    parts = xc.histograms(rho, weights)
    found = sum((h.weights * xc.on_histogram(name, h.points)).sum() for name, h in parts.items())
    assert len(parts) == 3 + 7 * ("omega" in train)
    assert found.item() == pytest.approx(expected.item(), rel=2e-4 if parent == "r2scan" else 1e-6)


# -- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"omega": 0.0}, "omega"),
        ({"omega": "wide"}, "omega"),
        ({"omega": 0.3, "long_exchange": 1.5}, "long_exchange"),
        ({"omega": 0.3, "attenuation": "yukawa"}, "attenuation"),
        ({"omega": 0.3, "train": ["exchange"]}, "train"),
        ({"omega": 0.3, "reach": [0.5, 0.2]}, "reach"),
        ({"omega": 0.3, "reach": [0.5]}, "reach"),
        ({"omega": 0.3, "nodes": 1}, "nodes"),
        ({"omega": 0.9, "train": ["omega"]}, "omega"),
        ({"omega": 0.3, "mu": 1}, "range_separation"),
    ],
)
def test_what_cannot_be_is_refused(options, field):
    with pytest.raises(FunctionalError) as caught:
        EnhancedXC("pbe", range_separation=options)
    assert field in caught.value.field and caught.value.remedy

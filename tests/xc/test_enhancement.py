"""Enhanced parents: the parent at zero factors, and exact properties whatever is learned."""

import copy
import pickle

import pytest
import torch

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import EnhancedXC, HybridXC, Libxc
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.factors import make_factor
from deepchem_dft.xc.features import LDA_X, TAU_FACTOR
from deepchem_dft.xc.parents import PARTS, Parent, hybrid_name
from tests.xc.toy import check_at_density, weighted

MAIN = ["lda", "pbe", "r2scan"]


def wild(parent="r2scan", size=1.0, **options) -> EnhancedXC:
    """Return a functional whose factors are nowhere near zero."""
    options = {"hidden": [8, 8], "zero_last": False, "seed": 3, **options}
    xc = EnhancedXC(parent, **options)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in xc.named_parameters():
            if name != "share":
                p += size * torch.randn(p.shape, generator=draw, dtype=torch.float64)
    return xc


def parts(xc: EnhancedXC, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return energy densities of exchange and of correlation, of a functional without hybrid."""
    options = {**xc.config, "exchange": 1.0}  # exact exchange alone: correlation is left
    correlation = EnhancedXC(options.pop("parent"), **options)
    correlation.load_state_dict({**xc.state_dict(), "share": torch.tensor(1.0)})
    with torch.no_grad():
        return xc(rho) - correlation(rho), correlation(rho)


def one_orbital(density, points: int = 40) -> torch.Tensor:
    """Return densities of a single electron: tau is von Weizsaecker's, the other spin empty."""
    rho = density(points)
    rho[0, 4] = (rho[0, 1:4] ** 2).sum(0) / (8.0 * rho[0, 0])
    rho[1] = 0.0
    return rho


@pytest.mark.parametrize("parent", PARTS)
@pytest.mark.parametrize("spins", [1, 2])
@pytest.mark.parametrize("exchange", [0.0, 0.3])
def test_without_factors_it_is_the_parent(parent, spins, exchange, density):
    rho, reference = density(40)[:spins], Libxc(hybrid_name(parent, exchange))
    for options in ({}, {"degree": 3}, {"dtype": "float32"}):
        xc = EnhancedXC(parent, exchange=exchange, **options)
        torch.testing.assert_close(xc(rho), reference(rho), rtol=1e-13, atol=0)
        assert [(c.item(), w) for c, w in xc.exchange_terms] == reference.exchange_terms


@pytest.mark.parametrize("parent", ["pbe", "r2scan", "tpss"])
@pytest.mark.parametrize("size", [1.0, 8.0])
@pytest.mark.parametrize("bound", [1.804, 3.0])
def test_exchange_keeps_its_bound(parent, size, bound, density):
    rho = density(2000)[:1]
    exchange, _ = parts(wild(parent, size, bound=bound), rho)
    enhancement = exchange / (LDA_X * rho[0, 0] ** (4 / 3))
    assert enhancement.min() > -1e-12 and enhancement.max() < bound * (1 + 1e-12)
    assert enhancement.max() - enhancement.min() > 0.3


@pytest.mark.parametrize("parent", ["blyp", "revpbe"])
def test_a_parent_above_the_bound_is_left_there(parent, density):
    """A logit of what exceeds its bound has a pole; nothing is learned beyond."""
    s = torch.linspace(0.0, 30.0, 4001, dtype=torch.float64)
    n = torch.full_like(s, 0.3)
    rho = torch.zeros(1, 4, len(s), dtype=torch.float64)
    rho[0, 0], rho[0, 1] = n, s * 2 * (3 * torch.pi**2) ** (1 / 3) * n ** (4 / 3)
    limit = Parent.named(parent).enhancement(s * s, torch.ones_like(s))
    assert limit.max() > 1.9
    for seed in range(6):
        exchange, _ = parts(wild(parent, 0.5, seed=seed), rho)
        found = exchange / (LDA_X * n ** (4 / 3))
        beyond = limit > 1.804
        torch.testing.assert_close(found[beyond], limit[beyond], rtol=1e-9, atol=1e-9)
        assert found[~beyond].min() > 0 and found[~beyond].max() < 1.804 + 1e-9
        assert found.diff().abs().max() < 0.1


def test_correlation_is_at_most_doubled_and_never_positive(density):
    rho = density(500)
    _, correlation = parts(wild(size=4.0), rho)
    ratio = correlation / Parent.named("r2scan").correlation(rho)
    assert -1e-12 < ratio.min() < 0.3 and 1.5 < ratio.max() < 2.0 + 1e-12


@pytest.mark.parametrize("parent", MAIN)
def test_exchange_obeys_spin_scaling(parent, density):
    """Oliver and Perdew, Phys. Rev. A 20, 397 (1979): E_x[a, b] = (E_x[2a] + E_x[2b]) / 2."""
    xc, rho = wild(parent), density(60)
    whole, _ = parts(xc, rho)
    halves = [parts(xc, 2.0 * rho[spin : spin + 1])[0] for spin in (0, 1)]
    torch.testing.assert_close(whole, 0.5 * (halves[0] + halves[1]), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("parent", MAIN)
def test_exchange_obeys_uniform_scaling(parent, density):
    """Levy and Perdew, Phys. Rev. A 32, 2010 (1985): E_x[n_c] = c E_x[n], n_c = c^3 n(c r)."""
    xc, rho, c = wild(parent), density(60, low=-1.0), 1.7
    scaled = rho * torch.tensor([c**3, c**4, c**4, c**4, c**5], dtype=torch.float64)[:, None]
    torch.testing.assert_close(parts(xc, scaled)[0], c**4 * parts(xc, rho)[0])


@pytest.mark.parametrize("parent", ["pbe", "r2scan"])
@pytest.mark.parametrize("degree", [None, 3])
def test_the_uniform_gas_is_the_parents(parent, degree):
    rs, xi = torch.meshgrid(
        torch.tensor([0.1, 1.0, 5.0, 50.0], dtype=torch.float64),
        torch.linspace(0, 1, 5, dtype=torch.float64),
        indexing="ij",
    )
    n = 3 / (4 * torch.pi * rs.flatten() ** 3)
    up, down = n * (1 + xi.flatten()) / 2, n * (1 - xi.flatten()) / 2
    rho = torch.zeros(2, 5, len(n), dtype=torch.float64)
    for spin, own in enumerate((up, down)):
        rho[spin, 0], rho[spin, 4] = own, 2 ** (2 / 3) * TAU_FACTOR * own ** (5 / 3)
    expected = Libxc(hybrid_name(parent, 0.0))(rho)
    found = wild(parent, 3.0, degree=degree)(rho)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)  # libxc at no minority
    free = wild(parent, 3.0, degree=degree, ueg_exact=False)(rho)
    assert ((free - expected) / expected).abs().max() > 1e-2


@pytest.mark.parametrize("parent", ["r2scan", "tpss"])
def test_a_single_electron_has_no_correlation(parent, density):
    """As in the parent itself, whatever the factors."""
    rho = one_orbital(density)
    exchange, correlation = parts(wild(parent, size=4.0), rho)
    assert correlation.abs().max() < 1e-9 * exchange.abs().max()


@pytest.mark.parametrize("parent", MAIN)
def test_spins_are_alike(parent, density):
    xc, rho = wild(parent), density(40)
    torch.testing.assert_close(xc(rho), xc(rho.flip(0)), rtol=1e-12, atol=0)
    closed = rho[:1]
    both = torch.cat([closed, closed]) / 2
    torch.testing.assert_close(xc(closed), xc(both), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("parent", MAIN)
@pytest.mark.parametrize("spins", [1, 2])
def test_derivatives_are_finite_differences(parent, spins, density):
    """The potential, and along a direction the kernel."""
    xc, rho = wild(parent, exchange=0.2), density(25, low=-1.5)[:spins]
    rows = {"lda": 1, "pbe": 4, "r2scan": 5}[parent]
    direction = rho * torch.randn_like(rho)
    direction[:, rows:] = 0.0

    def at(step):
        here = (rho + step * direction).requires_grad_()
        (slope,) = torch.autograd.grad(xc(here).sum(), here, create_graph=True)
        return xc(here), slope, here

    energy, slope, here = at(0.0)
    (kernel,) = torch.autograd.grad((slope * direction).sum(), here)
    step = 1e-5  # r2SCAN of libxc has kinks
    values = [[part.detach() for part in at(k * step)[:2]] for k in (1, -1, 2, -2)]
    for order, found in enumerate([(slope * direction).sum((0, 1)), kernel]):
        v = [value[order] for value in values]
        numeric = (8 * (v[0] - v[1]) - (v[2] - v[3])) / (12 * step)
        scale = numeric.abs().amax(-1, keepdim=True) + 1e-6
        assert ((found.detach() - numeric).abs() / scale).max() < 1e-7


@pytest.mark.parametrize("parent", PARTS)
def test_corners_are_finite(parent, corners, assert_finite):
    xc = wild(parent)
    for rho in (corners, corners.sum(0, keepdim=True)):
        energy = assert_finite(xc, rho)
        own = EnhancedXC(parent)(rho)
        empty = rho[:, 0].sum(0) < 1e-13
        assert (energy.abs() <= 2 * own.detach().abs() + 1e-12)[empty].all()


@pytest.mark.parametrize("parent", PARTS)
@pytest.mark.parametrize("spins", [1, 2])
def test_at_density_is_the_energy_density(parent, spins, density):
    xc = wild(parent, exchange=0.3, train_exchange=True)
    assert all(p.requires_grad for p in xc.parameters())
    check_at_density(xc, density(40)[:spins], 1e-13, 1e-10)


def test_single_precision_of_the_networks(density):
    rho = density(60)
    high, low = wild(size=0.0), wild(size=0.0, dtype="float32")
    low.load_state_dict(high.state_dict())
    assert low.share.dtype == low(rho).dtype == torch.float64
    deviation = ((low(rho) - high(rho)) / high(rho)).abs().max()
    assert 0 < deviation < 1e-6
    low(rho).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in low.parameters() if p.requires_grad)


def test_a_local_parent_has_a_factor_on_correlation_alone():
    xc = EnhancedXC("lda", hidden=[4], ueg_exact=True)
    assert not list(xc.x_factor.parameters()) and xc.c_factor.size == 2
    assert xc.config["ueg_exact"] is False  # what it is at u = 0 is all there is to learn


def test_copies_and_what_is_trained(density):
    xc, rho = wild(exchange=0.25, train_exchange=True), density(5)
    twin, other = copy.deepcopy(xc), pickle.loads(pickle.dumps(xc))
    assert torch.equal(twin(rho), xc(rho)) and torch.equal(other(rho), xc(rho))
    (slope,) = torch.autograd.grad(xc(rho).sum(), xc.share)
    bare = wild()  # without exact exchange; what a share of it replaces
    assert slope.item() == pytest.approx(-parts(bare, rho)[0].sum().item(), rel=1e-10)
    assert not EnhancedXC("pbe", exchange=0.25).share.requires_grad
    assert EnhancedXC("pbe").exchange_terms == []
    ((start, _),) = EnhancedXC("pbe", train_exchange=True).exchange_terms
    assert start.item() == 0.0 and start.requires_grad


def test_defaults_and_seeds():
    """Exchange and correlation start from networks of their own, two of 16 neurons each."""
    xc = EnhancedXC("r2scan", zero_last=False, seed=5)
    options = {
        "hidden": [16, 16],
        "activation": "silu",
        "degree": None,
        "dtype": "float64",
        "uniform": [0.0, 0.5],
        "zero_last": False,
    }
    for factor, size, seed in ((xc.x_factor, 2, 5), (xc.c_factor, 4, 6)):
        expected = make_factor(size, seed=seed, **options).state_dict()
        assert (
            all(torch.equal(value, expected[name]) for name, value in factor.state_dict().items())
            and expected
        )
    assert xc.bound == 1.804 and not xc.exchange_terms and xc.config["dtype"] == "float64"
    started = EnhancedXC("r2scan", seed=5)
    assert not any(f.layers[-1].weight.any() for f in (started.x_factor, started.c_factor))


def test_spelling_of_the_parent_does_not_matter(density):
    assert EnhancedXC(" PBE ").config["parent"] == "pbe"


@pytest.mark.parametrize(
    "options, field",
    [
        ({"parent": "b3lyp"}, "parent"),
        ({"bound": 1.0}, "bound"),
        ({"bound": float("nan")}, "bound"),
        ({"exchange": 1.2}, "exchange"),
        ({"exchange": float("nan")}, "exchange"),
        ({"degree": 0}, "degree"),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": 8}, "hidden"),
        ({"hidden": "16"}, "hidden"),
        ({"hidden": [8.5]}, "hidden"),
        ({"hidden": None}, "hidden"),
        ({"activation": "relu"}, "activation"),
        ({"dtype": "half"}, "dtype"),
    ],
)
def test_options_that_describe_no_functional(options, field):
    with pytest.raises(FunctionalError) as caught:
        EnhancedXC(**{"parent": "pbe", **options})
    assert caught.value.field == field
    assert "Remedy" in str(caught.value)


@pytest.mark.parametrize("parent", MAIN)
@pytest.mark.parametrize("spins", [1, 2])
def test_histograms_hold_the_energy(parent, spins, density):
    """That of the parent, with smooth factors nearly; enhancement on the nodes is libxc's."""
    rho, weights = density(800, low=-1.5)[:spins], torch.linspace(0.1, 1.0, 800).double()

    def both(xc):
        few = xc.histograms(rho, weights)
        with torch.no_grad():
            return (
                (xc(rho) * weights).sum().item(),
                few,
                sum((h.weights * xc.on_histogram(name, h.points)).sum().item() for name, h in few.items()),
            )

    whole, few, boiled = both(EnhancedXC(parent, exchange=0.2))
    assert boiled == pytest.approx(whole, rel=1e-12)
    whole, _, boiled = both(wild(parent, 0.1, exchange=0.2))
    assert boiled == pytest.approx(whole, rel=2e-4)
    rows = {"lda": 0, "pbe": 1, "r2scan": 2}[parent]
    assert few["correlation"].points.shape[0] == rows + 2
    points = few["exchange"].points
    if rows:
        u, beta = points[0].clamp(max=0.9999), points[1].clamp(max=0.9999)
        s2 = u / (1 - u)
        n = torch.full_like(s2, 0.7)
        uniform, weizsaecker = TAU_FACTOR * n ** (5 / 3), 5 / 3 * s2 * TAU_FACTOR * n ** (5 / 3)
        # beta = (tau - tau_W) / (tau + tau_UEG)
        tau = (beta * uniform + weizsaecker) / (1 - beta) if rows == 2 else uniform + weizsaecker
        closed = torch.zeros(1, 5, len(n), dtype=torch.float64)
        closed[0, 0], closed[0, 4] = n, tau
        closed[0, 1] = s2.sqrt() * 2 * (3 * torch.pi**2) ** (1 / 3) * n ** (4 / 3)
        expected = Libxc(PARTS[parent][0])(closed) / (LDA_X * n ** (4 / 3))
        torch.testing.assert_close(points[-1], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("parents", [("r2scan", "r2scan", "r2scan"), ("pbe", "r2scan", "pbe")])
@pytest.mark.parametrize("weight", [None, 1.0, 0.7])
@pytest.mark.parametrize("spins", [1, 2])
def test_an_ensemble_is_the_mean(parents, weight, spins, density):
    """Also where members of one parent share what depends on the density alone."""
    members = [wild(p, seed=n, exchange=0.1 * n, bound=1.804 + n) for n, p in enumerate(parents)]
    if weight is not None:
        members = [HybridXC(None, m, aweight0=weight, exchange=0.1) for m in members]
    ensemble, rho = EnsembleXC(members), density(30)[:spins]
    expected = sum(member(rho) for member in members) / 3
    torch.testing.assert_close(ensemble(rho), expected, rtol=1e-12, atol=1e-15)
    weights = torch.rand(30, dtype=torch.float64)
    energy = ensemble.at_density(rho, weighted(weights))()
    assert energy.item() == pytest.approx((expected * weights).sum().item(), rel=1e-12)
    parameters = [p for p in ensemble.parameters() if p.requires_grad]
    slopes = [
        torch.autograd.grad(e, parameters, allow_unused=True)
        for e in (energy, (expected * weights).sum(), (ensemble(rho) * weights).sum())
    ]
    for ours, theirs in zip(slopes[0] + slopes[2], 2 * slopes[1], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)

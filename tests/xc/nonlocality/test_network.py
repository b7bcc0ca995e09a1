"""The network that sees its neighbours: its functions, derivatives, symmetries and exact properties."""

import math

import pytest
import torch
from e3nn import o3

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import EnhancedXC, Libxc, NNNonlocal, Quadrature
from deepchem_dft.xc.nonlocality.around import Around, Near, gathered, scattered, solid_harmonics

AROUND = Around((0.2, 1.0, 4.0), 3, 3.0, torch.float64)


def small(parent="r2scan", **options):
    given = {"hidden": [6], "channels": 3, "radial": 3, "descriptors": 3, "cutoff": 4.0, "seed": 3}
    return NNNonlocal(parent, **{**given, "zero_last": False, **options})


@pytest.fixture
def cloud(density):
    """Two spin densities on points about two nuclei, and the quadrature."""
    draw = torch.Generator().manual_seed(5)
    positions = torch.tensor([[0.0, 0.1, -0.2], [1.0, -0.3, 1.5]], dtype=torch.float64)
    owners = torch.arange(60) % 2
    points = positions[owners] + 1.2 * torch.randn(60, 3, generator=draw, dtype=torch.float64)
    weights = 0.2 + torch.rand(60, generator=draw, dtype=torch.float64)
    return density(60), Quadrature(points, weights, owners, positions, torch.tensor([8, 1]), weights)


def changed(quadrature, **parts):
    fields = {
        name: getattr(quadrature, name) for name in ("points", "weights", "atoms", "positions", "numbers")
    }
    return Quadrature(**{**fields, **parts}, atomic_weights=quadrature.atomic_weights)


# -- functions around nuclei -----------------------------------------------------------------------


def test_harmonics_are_those_of_e3nn():
    """Up to the order and signs within an l: equal products of two directions."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(7, 3, generator=draw, dtype=torch.float64)
    ours = solid_harmonics(vectors.T, 3).split([1, 3, 5, 7])
    for degree, part in enumerate(ours):
        theirs = o3.spherical_harmonics(degree, vectors, normalize=False, normalization="norm")
        torch.testing.assert_close(part.T @ part, theirs @ theirs.T)


def test_functions_end_smoothly_at_the_cutoff():
    radius = (3.0 - torch.tensor([-0.1, 0.0, 1e-3, 1e-2], dtype=torch.float64))[None].repeat(3, 1)
    values = AROUND.functions(radius / math.sqrt(3.0)).abs().amax(0)
    assert not values[:2].any()
    assert values[3] / values[2] == pytest.approx(1e4, rel=0.3)  # the fourth power: three derivatives


def test_sums_over_points_and_over_functions_with_their_derivatives(cloud):
    _, at = cloud
    draw = torch.Generator().manual_seed(1)
    signals = torch.randn(60, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    coefficients = torch.randn(2, 2, AROUND.size, generator=draw, dtype=torch.float64, requires_grad=True)
    points, positions = at.points.clone().requires_grad_(), at.positions.clone().requires_grad_()
    functions = [AROUND.functions((points - p).T) * AROUND.scales(points)[:, None] for p in positions]
    dense = torch.stack([(f @ signals).T for f in functions])
    torch.testing.assert_close(gathered(signals, points, positions, AROUND), dense)
    spread = sum((c @ f).T for c, f in zip(coefficients, functions, strict=True))
    torch.testing.assert_close(scattered(coefficients, points, positions, AROUND), spread)

    def value(collect, spread):
        return (collect.square() * coefficients).sum() + (spread.sin() * signals).sum()

    inputs = [signals, coefficients, points, positions]
    ours = value(
        gathered(signals, points, positions, AROUND), scattered(coefficients, points, positions, AROUND)
    )
    slopes = [torch.autograd.grad(v, inputs, create_graph=True) for v in (ours, value(dense, spread))]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)
    seconds = [torch.autograd.grad(s[0].square().sum(), inputs[:2], retain_graph=True) for s in slopes]
    for a, b in zip(*seconds, strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(FunctionalError, match="one derivative by the points"):
        torch.autograd.grad(slopes[0][2].square().sum(), signals)


def test_functions_that_are_kept_are_those_made_anew(cloud, monkeypatch):
    _, at = cloud
    signals = torch.randn(60, 2, dtype=torch.float64)
    made, kept = (Near(at.points, at.positions, AROUND, keep=keep) for keep in (False, True))
    calls = []
    functions = Around.functions
    monkeypatch.setattr(Around, "functions", lambda self, v: calls.append(1) or functions(self, v))
    sums = [gathered(signals, at.points, at.positions, AROUND, near) for near in (kept, made)]
    torch.testing.assert_close(*sums)
    assert len(calls) == 2  # for the second alone, once for each nucleus
    monkeypatch.setattr("deepchem_dft.xc.nonlocality.around.MOST_KEPT", 60 * AROUND.size * 8 // 2)
    list(Near(at.points, at.positions, AROUND, keep=True))
    assert len(calls) == 4  # too many to be kept


@pytest.mark.parametrize("spins", [1, 2])
def test_energy_at_one_density_follows_the_parameters(spins, cloud):
    rho, at = cloud
    rho, xc = rho[:spins], small()
    energy = xc.at_density(rho, at)
    for _ in range(2):
        torch.testing.assert_close(energy(), xc.energy(rho, at), rtol=1e-13, atol=0)
        with torch.no_grad():
            for parameter in xc.parameters():
                parameter += 0.1


# -- the functional --------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["pbe", "r2scan"])
@pytest.mark.parametrize("spins", [1, 2])
def test_it_starts_exactly_at_its_parent(parent, spins, cloud):
    rho, at = cloud
    rho = rho.sum(0, keepdim=True) if spins == 1 else rho
    expected = (Libxc(parent).energy_density(rho) * at.weights).sum()
    found = small(parent, zero_last=True).energy(rho, at)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    assert abs(small(parent).energy(rho, at) - expected) > 1e-3


def test_default_size():
    assert sum(p.numel() for p in NNNonlocal("r2scan").parameters()) < 50_000


@pytest.mark.parametrize("spins", [1, 2])
def test_derivatives_by_everything(spins, cloud):
    rho, at = cloud
    rho = rho.sum(0, keepdim=True) if spins == 1 else rho
    xc, draw = small(exchange=0.1, train_exchange=True), torch.Generator().manual_seed(2)
    inputs = [rho, at.points, at.weights, at.positions]
    along = [torch.randn(t.shape, generator=draw, dtype=torch.float64) for t in inputs]
    along[0] = along[0] * 0.1 * rho.abs()

    def energy(rho, points, weights, positions):
        return xc.energy(rho, changed(at, points=points, weights=weights, positions=positions))

    leaves = [t.clone().requires_grad_() for t in inputs]
    slopes = torch.autograd.grad(energy(*leaves), leaves)
    for which, step in enumerate((1e-3, 1e-4, 1e-3, 1e-4)):
        ends = []
        for k in (1, -1, 2, -2):
            moved = [
                t + k * step * a * (i == which) for i, (t, a) in enumerate(zip(inputs, along, strict=True))
            ]
            ends.append(energy(*moved).item())
        expected = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
        assert (slopes[which] * along[which]).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_derivatives_by_weights(cloud):
    rho, at = cloud
    xc = small()
    parameters = [p for p in xc.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(xc.energy(rho, at), parameters)
    assert all(slope.abs().max() > 0 for slope in slopes)
    draw = torch.Generator().manual_seed(3)
    for parameter, slope in zip(parameters, slopes, strict=True):
        along = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        ends = []
        for step in (1e-3, -1e-3, 2e-3, -2e-3):
            with torch.no_grad():
                parameter += step * along
                ends.append(xc.energy(rho, at).item())
                parameter -= step * along
        expected = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-3
        assert (slope * along).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_second_derivatives(cloud):
    rho, at = cloud
    xc, draw = small("pbe"), torch.Generator().manual_seed(4)
    along, probe = (0.1 * rho * torch.randn(rho.shape, generator=draw, dtype=torch.float64) for _ in range(2))

    def slope(step):
        leaf = (rho + step * along).requires_grad_()
        return leaf, torch.autograd.grad(xc.energy(leaf, at), leaf, create_graph=True)[0]

    leaf, first = slope(0.0)
    bent = (torch.autograd.grad((first * probe).sum(), leaf)[0] * along).sum().item()
    ends = [(slope(step)[1] * probe).sum().item() for step in (1e-2, -1e-2, 2e-2, -2e-2)]
    assert bent == pytest.approx((8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-2, rel=1e-6)


def test_rotations_translations_and_the_order_of_atoms_and_points(cloud):
    rho, at = cloud
    xc = small()
    expected = xc.energy(rho, at)
    turn = o3.matrix_x(torch.tensor(0.7, dtype=torch.float64)) @ o3.matrix_y(
        torch.tensor(-1.1, dtype=torch.float64)
    )
    turned = rho.clone()
    turned[:, 1:4] = torch.einsum("ij,sjg->sig", turn, rho[:, 1:4])
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    moved = changed(at, points=at.points @ turn.T + shift, positions=at.positions @ turn.T + shift)
    torch.testing.assert_close(xc.energy(turned, moved), expected, rtol=1e-12, atol=0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    mixed = Quadrature(
        at.points[order],
        at.weights[order],
        1 - at.atoms[order],
        at.positions.flip(0),
        at.numbers.flip(0),
        at.atomic_weights[order],
    )
    torch.testing.assert_close(xc.energy(rho[:, :, order], mixed), expected, rtol=1e-12, atol=0)


def test_fragments_beyond_the_cutoff_do_not_know_of_each_other(cloud):
    rho, at = cloud
    xc = small()
    away = torch.tensor([0.0, 0.0, 25.0], dtype=torch.float64)
    both = Quadrature(
        torch.cat([at.points, at.points + away]),
        at.weights.repeat(2),
        torch.cat([at.atoms, at.atoms + 2]),
        torch.cat([at.positions, at.positions + away]),
        at.numbers.repeat(2),
        at.atomic_weights.repeat(2),
    )
    twice = xc.energy(torch.cat([rho, rho.flip(0)], dim=2), both)
    torch.testing.assert_close(twice, 2 * xc.energy(rho, at), rtol=1e-12, atol=0)


def test_the_energy_of_a_point_depends_on_others_far_from_it(cloud):
    rho, at = cloud
    leaf = rho.clone().requires_grad_()
    slope = torch.autograd.grad(small().energy(leaf, at), leaf, create_graph=True)[0]
    cross = torch.autograd.grad(slope[0, 0, 0], leaf)[0][0, 0]
    far = (at.points - at.points[0]).norm(dim=1) > 1.0
    assert (cross[far].abs() > 1e-8).any()


def test_spin_scaling_of_exchange_and_symmetry(cloud):
    rho, at = cloud
    xc = small("pbe")
    torch.testing.assert_close(xc.energy(rho.flip(0), at), xc.energy(rho, at), rtol=1e-13, atol=0)
    closed = rho[:1].repeat(2, 1, 1)
    torch.testing.assert_close(xc.energy(closed, at), xc.energy(2 * rho[:1], at), rtol=1e-11, atol=0)
    xc.parent.correlation.energy_density = lambda rho: 0.0 * rho[:, 0].sum(0)  # exchange alone
    halves = sum(0.5 * xc.energy(2.0 * rho[s : s + 1], at) for s in (0, 1))
    torch.testing.assert_close(xc.energy(rho, at), halves, rtol=1e-12, atol=0)


def test_uniform_gas_and_one_electron(cloud):
    rho, at = cloud
    flat = torch.zeros_like(rho)
    flat[:, 0] = 0.05
    flat[:, 4] = 0.3 * (3 * math.pi**2) ** (2 / 3) * 0.1 ** (5 / 3) / 2
    expected = (Libxc("r2scan").energy_density(flat) * at.weights).sum()
    torch.testing.assert_close(small().energy(flat, at), expected, rtol=1e-11, atol=0)
    lonely = rho.clone()
    lonely[0, 4] = lonely[0, 1:4].square().sum(0) / (8 * lonely[0, 0])
    lonely[1] = 0.0
    xc = small()
    xc.parent.exchange.energy_density = lambda rho: 1e-300 * rho[:, 0].sum(0)  # correlation alone
    assert xc.energy(lonely, at).abs() < 1e-9


def test_bounds(cloud):
    """However large the weights are."""
    rho, at = cloud
    xc = small()
    with torch.no_grad():
        for parameter in xc.parameters():
            parameter *= 30.0
    gas = -0.75 * (3 / math.pi) ** (1 / 3) * ((2 * rho[:, 0]) ** (4 / 3) / 2).sum(0)
    limit = 1.804 * (gas * at.weights).sum() + 2.0 * (Libxc("mgga_c_r2scan")(rho) * at.weights).sum()
    assert limit <= xc.energy(rho, at) <= 0.0


def test_it_is_no_enhanced_functional_by_mistake(cloud):
    """Ensembles share what enhanced functionals prepare, which this one does not have."""
    assert not isinstance(small(), EnhancedXC)


@pytest.mark.parametrize(
    "options",
    [{"degree": 4}, {"channels": 0}, {"cutoff": 0.5}, {"bound": 1.0}, {"radial": 2.5}, {"exchange": 2.0}],
)
def test_what_is_no_functional(options):
    with pytest.raises(FunctionalError) as caught:
        NNNonlocal("pbe", **options)
    assert caught.value.field == next(iter(options)) and caught.value.remedy


def test_a_local_parent_and_too_many_weights_are_refused():
    with pytest.raises(FunctionalError, match="lda"):
        NNNonlocal("lda")
    with pytest.raises(FunctionalError, match="weights"):
        NNNonlocal("pbe", channels=64, radial=32)

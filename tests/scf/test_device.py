"""Everything follows the functional to its device, and a network may have its own precision.

Where there is no GPU, a stand-in does: tensors that claim another device, hold their numbers on the
CPU, and refuse, as CUDA would, to be mixed with others. Whole solves run on it and must give the
numbers of the CPU to the last bit.
"""

import copy
import warnings

import pytest
import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, SCFState
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.frozen.binned import BinnedDensities, bin_density
from deepchem_dft.scf.frozen.solution import FrozenSolution
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.layer import XCNNSCF
from deepchem_dft.xc import NNLDA, Dispersion, EnhancedXC, HybridXC, build_network, check, get_xc, libxc
from tests.xc.toy import GatherXC

from .stand_in import ELSEWHERE, stand_in, unwrapped


def _functional(parent, family, **options):
    network = build_network(family=family, hidden=(8,), zero_last=False, seed=0, **options)
    return HybridXC(parent, network, 0.3, family=family)


def _molecule():
    # a geometry of its own: the stand-in's orbitals must not stay with another test's molecule
    return Molecule("H 0 0 0; F 0 0 1.7345", "sto-3g", grid_level=0)


def _numbers(result, density=True):
    """Energy, its gradient, that of the density, orbital energies and forces."""
    axis = torch.tensor([0.3, 0.5, 1.0], dtype=torch.float64, device=result.energy.device)
    parameters = result._hamiltonian.parameters
    measures = [result.energy] + ([(result.dipole * axis).sum()] if density else [])
    slopes = [torch.autograd.grad(m, parameters, allow_unused=True) for m in measures]
    values = [result.energy.detach(), result.orbital_energies.detach(), result.forces()]
    return [unwrapped(v) for v in (*values, *sum(slopes, ())) if v is not None]


def _same(found, expected):
    for mine, its in zip(found, expected, strict=True):
        assert mine.dtype == its.dtype
        assert float((mine - its).abs().max()) < 1e-12


CASES = [
    ("native:lda", "lda", {}),
    ("native:pbe", "gga", {}),
    ("pbe0", "mgga", {}),
    ("r2scan", "mgga", {"dtype": "float32"}),
    (None, "gga", {"output": "lda_exchange"}),
]


@pytest.mark.parametrize(("parent", "family", "options"), CASES)
@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.filterwarnings("ignore:libxc runs on the CPU")
def test_whole_solves_on_the_stand_in(parent, family, options, restricted):
    molecule, functional = _molecule(), _functional(parent, family, **options)
    result = KohnSham(molecule, functional, restricted=restricted, tol=1e-7).run()
    expected = _numbers(result, density=restricted)
    with stand_in():
        there = copy.deepcopy(functional).to(ELSEWHERE)
        problem = KohnSham(molecule, there, restricted=restricted, tol=1e-7)
        moved = problem.run()
        for tensor in (
            moved.energy,
            moved.density_matrix,
            moved.dipole,
            moved.state.orbitals,
            moved.density([[0.0, 0.1, 0.2]]),
            moved.frozen.rho,
        ):
            assert tensor.device == ELSEWHERE
        assert moved.iterations == result.iterations
        _same(_numbers(moved, density=restricted), expected)
        again = problem.run(guess=result)  # orbitals of the CPU
        assert again.iterations < moved.iterations
        assert again.energy.item() == pytest.approx(result.energy.item(), abs=1e-10)


@pytest.mark.filterwarnings("ignore:libxc runs on the CPU")
def test_device_as_an_argument():
    """As deepchem's constructors have it: the same as moving what they made."""
    network = build_network(family="lda", hidden=(8,), zero_last=False, seed=0)
    with stand_in():

        def away() -> torch.nn.Module:
            return copy.deepcopy(network)

        alone = NNLDA(away(), device=ELSEWHERE)
        made = HybridXC("lda,pw", away(), 0.3, device=ELSEWHERE)
        held = XCNNSCF(HybridXC("lda,pw", away(), 0.3), device=ELSEWHERE, grid_level=0)
        for functional in (alone, made, held.xc):
            assert {p.device for p in functional.parameters()} == {ELSEWHERE}
    assert all(p.device.type == "cpu" for p in HybridXC("lda,pw", network, 0.3).parameters())


def _dispersed():
    xc = _functional("native:pbe", "gga")
    xc.dispersion = Dispersion("d4", s8=0.9, a1=0.4, a2=4.2, train=["s8", "s9", "a1", "a2"])
    return xc


def _ranged():
    ranges = {"omega": 0.3, "train": ["omega", "long_exchange"]}
    return EnhancedXC("pbe", hidden=[4], exchange=0.2, range_separation=ranges, zero_last=False, seed=1)


def _nonlocal(level=1):
    return HybridXC("native:pbe", GatherXC(level=level), aweight0=1.0)


@pytest.mark.parametrize("make", [_dispersed, _ranged, _nonlocal])
@pytest.mark.filterwarnings("ignore:libxc runs on the CPU")
def test_dispersion_and_ranges_on_the_stand_in(make):
    molecule, functional = _molecule(), make()
    there = copy.deepcopy(functional)
    expected = _numbers(KohnSham(molecule, functional, tol=1e-7).run(), density=False)
    assert len(expected) > 6
    with stand_in():
        moved = KohnSham(molecule, there.to(ELSEWHERE), tol=1e-7).run()
        assert moved.energy.device == ELSEWHERE
        _same(_numbers(moved, density=False), expected)
        frozen = moved.frozen.energy(there)
        (slope,) = torch.autograd.grad(frozen, [moved._hamiltonian.parameters[-1]])
        assert frozen.item() == pytest.approx(moved.energy.item(), abs=1e-11)
        assert bool((unwrapped(slope) != 0.0).any())


def test_the_stand_in_refuses_what_cuda_would():
    functional = _functional("native:pbe", "gga")
    with stand_in():
        there = torch.ones(3, device=ELSEWHERE)
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            functional(torch.ones(1, 4, 5, dtype=torch.float64, device=ELSEWHERE))
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


@pytest.mark.parametrize("make", [lambda: _functional("native:pbe", "gga"), _nonlocal])
def test_two_grids_batches_and_held_densities_on_the_stand_in(make):
    molecule, functional = _molecule(), make()

    def run(xc):
        first = KohnSham(molecule, xc, tol=1e-8).run()
        with torch.no_grad():
            xc.aweight += 0.01
        second = KohnSham(molecule, xc, tol=1e-8, two_grid=True).run(guess=first)
        held = FrozenSolution.of(second, xc)
        with torch.no_grad():
            xc.bweight += 0.01
        if isinstance(xc.nnxc, GatherXC):
            binned = BinnedDensities([bin_density(second.frozen, xc)])
            assert binned.energies(xc)[0].item() == pytest.approx(held.energy(xc).item(), abs=1e-10)
        hamiltonians = [KSHamiltonian(molecule, xc, restricted=False)] * 2
        batch = solve_batch(hamiltonians, [first.state, None])
        assert batch[0].state.orbitals.device == xc.aweight.device
        return [
            second.energy.item(),
            held.energy(xc).item(),
            held.drift(xc),
            *(s.evaluation.energy for s in batch),
        ]

    there = copy.deepcopy(functional)
    expected = run(functional)
    with stand_in():
        assert run(there.to(ELSEWHERE)) == pytest.approx(expected, abs=1e-11)


def test_libxc_says_once_that_it_stays_on_the_cpu(monkeypatch):
    monkeypatch.setattr(libxc, "_warned_device", False)
    functional, rho = get_xc("b3lyp"), torch.rand(2, 4, 7, dtype=torch.float64) + 0.1

    def derivatives(rho):
        rho = rho.requires_grad_()
        energy = functional(rho)
        (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), rho)
        return [energy.detach(), first.detach(), second]

    expected = derivatives(rho.clone())
    with warnings.catch_warnings(record=True) as caught, stand_in():
        warnings.simplefilter("always")
        for _ in range(2):
            found = derivatives(rho.to(ELSEWHERE))
    assert all(v.device == ELSEWHERE for v in found)
    _same(unwrapped(found), expected)
    messages = [str(w.message) for w in caught if "libxc" in str(w.message)]
    assert len(messages) == 1 and "'native:pbe' stay on the device" in messages[0]


def _dataset():
    import deepchem as dc

    from deepchem_dft.data import DFTEntry

    hf = {"moldesc": "H 0 0 0; F 0 0 1.7345", "basis": "sto-3g"}
    atoms = [{"moldesc": f"{a} 0 0 0", "basis": "sto-3g", "spin": 1} for a in "HF"]
    entries = [DFTEntry.create("energy", "-98.6 Ha", [hf]), DFTEntry.create("ae", "0.2 Ha", [hf, *atoms])]
    return dc.data.NumpyDataset(entries, [[e.label] for e in entries])


def _model(device, folder, **options):
    from deepchem_dft.models import XCModel

    network = {"hidden": [8], "zero_last": False, "seed": 1}
    return XCModel(
        "native:pbe",
        network,
        aweight0=0.1,
        grid_level=0,
        learning_rate=0.01,
        seed=0,
        tol=1e-8,
        device=device,
        model_dir=str(folder),
        **options,
    )


@pytest.mark.parametrize("scf_every", [1, 3])
def test_training_on_the_stand_in(scf_every, tmp_path):
    dataset = _dataset()
    here = _model("cpu", tmp_path / "here", scf_every=scf_every)
    loss, predicted = here.fit(dataset, nb_epoch=2), here.predict(dataset)
    assert here.history[0].loss > loss
    with stand_in():
        there = _model(ELSEWHERE, tmp_path / "there", scf_every=scf_every)
        assert there.fit(dataset, nb_epoch=2) == pytest.approx(loss, rel=1e-12)
        parameters = list(there.model.parameters())
        assert all(p.device == ELSEWHERE for p in parameters)
    _same([unwrapped(p.detach()) for p in parameters], [p.detach() for p in here.model.parameters()])
    # from the device to a CPU by way of a file, and on
    restored = _model("cpu", tmp_path / "there", scf_every=scf_every)
    restored.restore()
    assert abs(restored.predict(dataset) - predicted).max() < 1e-12
    losses = [m.fit(dataset, nb_epoch=1) for m in (restored, here)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


# -- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parent", "family"),
    [("H2O", "lda,pw", "lda"), ("H2O", "pbe", "gga"), ("NO", "pbe", "gga"), ("NO", "r2scan", "mgga")],
)
def test_single_precision_networks_converge_as_double_ones_do(make, name, parent, family):
    """NO turns its pi* electron at no cost: there rounding is all that the energy shows."""
    low = _functional(parent, family, dtype="float32")
    high = copy.deepcopy(low)
    high.nnxc.nnmodel.double()
    molecule = make(name, "6-31g")
    exact = KohnSham(molecule, high, tol=1e-8).run()
    for guess in (None, exact):
        result = KohnSham(molecule, low, tol=1e-8, max_iter=100).run(guess=guess)
    slopes = [
        torch.autograd.grad(r.energy, list(xc.parameters())) for r, xc in ((result, low), (exact, high))
    ]
    assert abs(result.energy.item() - exact.energy.item()) < 3e-9
    for mine, its in zip(*slopes, strict=True):
        assert float((mine.double() - its).abs().max()) < 2e-5 * float(its.abs().max())


# -- on a GPU -------------------------------------------------------------------------------------

GPU = [
    ("native:lda", "lda", {}),
    ("native:pbe", "gga", {}),
    ("pbe", "gga", {}),
    ("pbe0", "mgga", {}),
    ("r2scan", "mgga", {"dtype": "float32"}),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("parent", "family", "options"), GPU)
@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.filterwarnings("ignore:libxc runs on the CPU")
def test_whole_solves_on_a_gpu(parent, family, options, restricted):
    molecule, functional = _molecule(), _functional(parent, family, **options)
    there = copy.deepcopy(functional).cuda()
    result, moved = (
        KohnSham(molecule, xc, restricted=restricted, tol=1e-8).run() for xc in (functional, there)
    )
    assert moved.energy.is_cuda and moved.state.orbitals.is_cuda
    single = options.get("dtype") == "float32"
    assert moved.energy.item() == pytest.approx(result.energy.item(), abs=3e-9 if single else 1e-9)
    slopes = [
        [g.cpu().double() for g in torch.autograd.grad(r.energy, list(xc.parameters()))]
        for r, xc in ((moved, there), (result, functional))
    ]
    for mine, its in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4 if single else 1e-7, atol=1e-5 if single else 1e-8)
    dipoles = [(r.dipole.detach().cpu(), r.forces()) for r in (moved, result)]
    for mine, its in zip(*dipoles, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-6)


@pytest.mark.gpu
def test_nonlocal_parts_on_a_gpu():
    molecule, functional = _molecule(), _nonlocal()
    there = copy.deepcopy(functional).cuda()
    result, moved = (KohnSham(molecule, xc, tol=1e-8).run() for xc in (functional, there))
    assert moved.energy.item() == pytest.approx(result.energy.item(), abs=1e-9)
    torch.testing.assert_close(moved.forces(), result.forces(), rtol=0, atol=1e-7)
    assert check(there, only=["geometry", "parameters", "rotation"]).passed


@pytest.mark.gpu
def test_warm_starts_and_batches_on_a_gpu():
    functional = _functional("native:pbe", "gga").cuda()
    molecules = [Molecule(f"N 0 0 0; N 0 0 {r}", "6-31g", grid_level=1) for r in (2.0, 2.1, 2.3)]
    problems = [KohnSham(m, functional, tol=1e-8) for m in molecules]
    results = [p.run() for p in problems]
    stored = SCFState.from_dict(
        {k: v.cpu() if isinstance(v, Tensor) else v for k, v in results[0].state.to_dict().items()}
    )
    for guess in (stored, results[0]):
        again = problems[0].run(guess=guess)
        assert again.iterations < results[0].iterations and again.energy.is_cuda
        assert again.energy.item() == pytest.approx(results[0].energy.item(), abs=1e-9)
    hamiltonians = [KSHamiltonian(m, functional) for m in molecules]
    for found, expected in zip(solve_batch(hamiltonians, tol=1e-8), results, strict=True):
        assert found.state.orbitals.is_cuda
        assert found.evaluation.energy == pytest.approx(expected.energy.item(), abs=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("scf_every", [1, 3])
def test_training_and_checkpoints_on_a_gpu(scf_every, tmp_path):
    dataset = _dataset()
    here = _model("cpu", tmp_path / "here", scf_every=scf_every)
    there = _model("cuda", tmp_path / "there", scf_every=scf_every)
    losses = [m.fit(dataset, nb_epoch=3) for m in (here, there)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    predicted = here.predict(dataset)
    assert abs(there.predict(dataset) - predicted).max() < 1e-7
    following = here.fit(dataset, nb_epoch=1, checkpoint_interval=0)
    for device, folder in (("cpu", "there"), ("cuda", "here")):
        moved = _model(device, tmp_path / folder, scf_every=scf_every)
        moved.restore()
        assert all(p.device.type == device for p in moved.model.parameters())
        assert abs(moved.predict(dataset) - predicted).max() < 1e-7
        loss = moved.fit(dataset, nb_epoch=1, checkpoint_interval=0)
        assert loss == pytest.approx(following, rel=1e-6)

"""What is read off a result or asked of a problem, against PySCF and by cases."""

import pytest
import torch
from pyscf import dft, gto
from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.search import orientation
from deepchem_dft.scf.search.signs import Findings
from deepchem_dft.xc import get_xc
from deepchem_dft.xc.base import XCFunctional


@pytest.mark.parametrize(
    ("geometry", "spin"),
    [
        ("O 0 0 0; H 0 0 1.9", 1),
        ("N 0 0 0; H 0 0 2.0", 2),
        ("Li 0 0 0", 1),
        ("H 0 0 0; H 0 0 1.4", 0),
        ("N 0 0 0; O 0 0 3.5", 3),
    ],
)
def test_spin_square_is_pyscfs(geometry, spin):
    """Of the same orbitals, in an unrestricted field."""
    molecule = Molecule(geometry, "6-31g", spin=spin, grid_level=0)
    result = KohnSham(molecule, "lda,pw", restricted=False).run()
    field = dft.UKS(gto.M(atom=geometry, unit="bohr", basis="6-31g", spin=spin, verbose=0))
    field.mo_coeff = result.state.orbitals.numpy()
    expected, _ = field.spin_square(
        [c[:, f > 0] for c, f in zip(field.mo_coeff, result.state.occupations.numpy())]
    )
    assert result.spin_square == pytest.approx(expected, abs=1e-8)


def test_closed_shells_have_no_soft_modes(neural):
    result = KohnSham(Molecule("He 0 0 0", "6-31g", grid_level=0), neural("lda,pw", "lda")).run()
    assert result.soft_modes.shape == (0,)


@pytest.mark.parametrize(
    ("occupations", "restricted"),
    [
        (([1, 0], [1, 0]), True),
        (([0, 1], [0, 1]), True),
        (([1, 0], [0, 1]), False),
        (([0, 1], [1, 0]), False),
        (([0.5, 0.5], [1, 0]), False),
    ],
)
def test_as_many_of_both_spins_in_other_orbitals_are_no_closed_shell(occupations, restricted):
    molecule = Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0, occupations=occupations)
    assert KSHamiltonian(molecule, get_xc("lda,pw")).restricted is restricted
    if not restricted:
        with pytest.raises(InputError, match="restricted"):
            KSHamiltonian(molecule, get_xc("lda,pw"), restricted=True)


class Ignorant(XCFunctional):
    """Zero, whatever the density; with parameters that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.ParameterList([nn.Parameter(torch.ones(2)) for _ in range(2)])

    def energy_density(self, rho):
        return torch.zeros_like(rho[0, 0])


def test_a_functional_that_ignores_the_density():
    """The energy is Hartree's, and every slope is zero."""
    hamiltonian = KSHamiltonian(Molecule("He 0 0 0", "6-31g", grid_level=0), Ignorant())
    rho = torch.rand(1, 1, hamiltonian.grid.size, dtype=torch.float64)
    energy, potential, slopes = hamiltonian.xc_potential(rho, slopes=True)
    assert energy == 0.0 and not potential.any()
    assert [s.tolist() for s in slopes] == [[0.0, 0.0]] * 2
    assert hamiltonian.xc_potential(rho)[2] is None


@pytest.mark.parametrize(
    ("geometry", "spin", "xc"),
    [
        ("O 0 0 0.22; H 0 1.43 -0.89; H 0 -1.43 -0.89", 0, "pbe"),
        ("F 0 0 0", 1, "lda,pw"),
        ("O 0 0 0", 2, "pbe"),
        ("H 0 0 0; H 0 0 9", 0, "pbe"),
    ],
)
def test_every_fock_build_is_counted(geometry, spin, xc, monkeypatch):
    built, original = [], KSHamiltonian.mean_field
    monkeypatch.setattr(
        KSHamiltonian, "mean_field", lambda *args, **named: built.append(1) or original(*args, **named)
    )
    # Energies of rigid turns are no Fock builds, and counted as the shares of one that they take.
    monkeypatch.setattr(orientation, "_ENERGY", 0.0)
    monkeypatch.setattr(orientation, "_GRADIENT", 0.0)
    molecule = Molecule(geometry, "sto-3g", spin=spin, grid_level=0)
    assert KohnSham(molecule, xc).run().iterations == len(built)


def test_a_guess_of_another_basis_is_told():
    small, large = (Molecule("He 0 0 0", basis, grid_level=0) for basis in ("6-31g", "6-31g**"))
    guess = KohnSham(small, "lda,pw").run()
    with pytest.warns(UserWarning, match="has 2 orbitals of 2 functions, this basis 5 of 5"):
        found = KohnSham(large, "lda,pw").run(guess=guess)
    assert found.energy.item() == pytest.approx(KohnSham(large, "lda,pw").run().energy.item(), abs=1e-9)


def test_starts_are_counted_by_kind():
    findings = Findings()
    for kind, builds, lower in (("turned", 5, False), ("mixed", 7, True), ("turned", 3, True)):
        findings.note(kind, builds, lower)
    assert findings.tried == {"turned": (2, 8, 1), "mixed": (1, 7, 1)} and findings.builds == 15

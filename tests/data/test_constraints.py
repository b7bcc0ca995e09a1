"""Fractional charge and spin: right combinations, physics that is known, bad input."""

import numpy as np
import pytest

from deepchem_dft import DFTEntry, KohnSham
from deepchem_dft.data import read_yaml
from deepchem_dft.errors import InputError


def atom(element: str, alpha: float, beta: float, **more) -> dict:
    return {"moldesc": f"{element} 0 0 0", "basis": "6-31g", "n_alpha": alpha, "n_beta": beta, **more}


HE = [atom("He", 1, 0.5), atom("He", 1, 0), atom("He", 1, 1)]
H = [atom("H", 0.5, 0), atom("H", 1, 0)]
SPIN = [atom("H", 0.5, 0.5), atom("H", 1, 0)]


def value(entry: DFTEntry, xc: str) -> float:
    runs = [KohnSham(s.to_molecule(1), xc, tol=1e-7).run() for s in entry.get_systems()]
    return float(entry.combine([run.energy.item() for run in runs]))


def test_coefficients_in_any_order():
    assert DFTEntry.create("fractional_charge", None, HE).coefficients == [1.0, -0.5, -0.5]
    turned = DFTEntry.create("fractional_charge", 0.0, [HE[2], atom("He", 1, 0.2), HE[1]])
    assert turned.coefficients == pytest.approx([-0.2, 1.0, -0.8])
    assert DFTEntry.create("fractional_charge", None, H).coefficients == [1.0, -0.5]
    assert DFTEntry.create("fractional_spin", None, SPIN[::-1]).coefficients == [-1.0, 1.0]
    entry = DFTEntry.create("fractional_spin", None, SPIN)
    assert entry.is_energy and entry.label == 0.0 and entry.name == "fractional_spin-H"


def test_hartree_fock_is_exact_for_one_electron_and_its_fractions():
    """Without self-interaction the energy of N < 1 electrons in one orbital is N times its own."""
    assert value(DFTEntry.create("fractional_charge", None, H), "hf") == pytest.approx(0, abs=1e-7)


def test_signs_of_the_known_errors():
    """Semilocal functionals bend down, Hartree-Fock up; both pay for fractional spins."""
    charge = DFTEntry.create("fractional_charge", None, HE)
    assert value(charge, "pbe") < -0.02 and value(charge, "hf") > 0.005
    assert value(DFTEntry.create("fractional_charge", None, H), "pbe") < -0.01
    spin = DFTEntry.create("fractional_spin", None, SPIN)
    assert value(spin, "hf") > value(spin, "pbe") > 0.03


def test_fractional_hydrogen_in_pyscf():
    from pyscf import dft, gto

    mol = gto.M(atom="H 0 0 0", basis="6-31g", spin=1, verbose=0)
    energies = []
    for electrons in (0.5, 1.0):
        mf = dft.UKS(mol, xc="pbe")
        mf.grids.level, mf.conv_tol = 1, 1e-12

        def occupied(energy, *_, filled=electrons):
            occupations = np.zeros_like(energy)
            occupations[0, 0] = filled
            return occupations

        mf.get_occ = occupied
        energies.append(mf.kernel())
    found = value(DFTEntry.create("fractional_charge", None, H), "pbe")
    assert found == pytest.approx(energies[0] - 0.5 * energies[1], abs=1e-6)


def test_training_lowers_the_deviation():
    """Exact exchange is what cures it; a share that may be trained grows."""
    import deepchem as dc

    from deepchem_dft import XCModel

    entry = DFTEntry.create("fractional_charge", None, [{**system, "basis": "sto-3g"} for system in H])
    model = XCModel(
        "lda,",
        {"hidden": [2], "family": "lda"},
        exchange=0.0,
        train_exchange=True,
        train_b=False,
        grid_level=0,
        learning_rate=0.05,
        seed=0,
    )
    dataset = dc.data.NumpyDataset(np.array([entry], dtype=object), [[entry.label]])
    before = abs(model.predict(dataset).item())
    model.fit(dataset, nb_epoch=4, variables=[model.functional.exchange])
    assert abs(model.predict(dataset).item()) < 0.8 * before
    assert model.functional.exchange.item() > 0.05


N3 = atom("N", 5, 2)


@pytest.mark.parametrize(
    ("e_type", "systems", "message"),
    [
        ("fractional_charge", HE[1:], "0 systems have a fractional charge"),
        ("fractional_charge", [HE[0], HE[0], HE[2]], "2 systems have a fractional charge"),
        ("fractional_charge", HE[:2], "make no line.*neighbours of 1.5: 1 and 2"),
        ("fractional_charge", [HE[0], HE[1], HE[1], HE[2]], "make no line"),
        ("fractional_charge", [atom("H", 0.5, 0)], "make no line.*neighbours of 0.5: 1"),
        ("fractional_charge", [HE[0], HE[1], atom("He", 2, 1)], "make no line"),
        ("fractional_charge", [H[0], HE[1]], "differ in more than their electrons"),
        ("fractional_charge", [H[0], {**H[1], "basis": "sto-3g"}], "differ in more than"),
        ("fractional_charge", [H[0], {**H[1], "number": 2}], "cannot count a system 2 times"),
        ("fractional_spin", SPIN[:1], "needs two systems"),
        ("fractional_spin", [SPIN[0], atom("H", 1, 1)], "needs two systems of equal charge"),
        ("fractional_spin", [SPIN[1], SPIN[1]], "neither system is a state"),
        ("fractional_spin", [SPIN[0], atom("H", 0.75, 0.25)], "neither system is a state"),
        ("fractional_spin", [atom("N", 3.5, 3.5), N3], "write occupations"),
    ],
)
def test_bad_entries(e_type, systems, message):
    with pytest.raises(InputError, match=message):
        DFTEntry.create(e_type, None, systems)


def test_shells_filled_evenly_are_taken():
    even = [1, 1, 0.5, 0.5, 0.5]
    flat = {"moldesc": "N 0 0 0", "basis": "6-31g", "occupations": {"alpha": even, "beta": even}}
    assert DFTEntry.create("fractional_spin", None, [flat, N3]).coefficients == [1.0, -1.0]


def test_in_a_file(tmp_path):
    path = tmp_path / "conditions.yaml"
    path.write_text("""
format: deepchem_dft/1
defaults: {basis: 6-31g}
entries:
- {type: fractional_spin, systems: [{geometry: H 0 0 0, n_alpha: 0.5, n_beta: 0.5}, H]}
- type: fractional_charge
  value: 1 kcal/mol
  systems: [{geometry: H 0 0 0, n_alpha: 0.5, n_beta: 0}, H]
""")
    spin, charge = read_yaml(str(path))
    assert spin == DFTEntry.create("fractional_spin", None, SPIN, name=spin.name)
    assert charge.label == pytest.approx(1 / 627.5095, rel=1e-5)
    path.write_text(path.read_text().replace("fractional_spin, systems", "fractional_spin, atoms"))
    with pytest.raises(InputError, match="no place in an entry of type fractional_spin"):
        read_yaml(str(path))

"""Dispersion against the reference libraries as PySCF calls them, differences, and its own formula."""

import sys

import numpy as np
import pytest
import torch
from pyscf import gto
from pyscf.dispersion.dftd3 import DFTD3Dispersion
from pyscf.dispersion.dftd4 import DFTD4Dispersion

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.xc import EnsembleXC, HybridXC, Libxc, build_network, get_xc
from deepchem_dft.xc.dispersion import Dispersion, Nuclei, attached, parse, split
from deepchem_dft.xc.dispersion.library import PARAMETERS, Reference

WATER_METHANE = """O 0 0 0; H 0 1.43 1.1; H 0 -1.43 1.1; C 0.4 0 -6.2; H 0.4 0 -4.1; H 2.3 0 -6.9;
    H -0.6 1.7 -6.9; H -0.6 -1.7 -6.9"""
SALT = "Na 0 0 0; Cl 4.5 0 0; O 1 5 1; H 1 6 2.5; H 1 6.2 -0.4"
MOLECULES = {
    "neutral": (WATER_METHANE, 0),
    "heavy": ("I 0 0 0; Ag 0 5.1 0.3; Xe 5 2 1", 0),
    "cation": (SALT + "; H 1 4.4 2", 1),
    "atom": ("Kr 0 0 0", 0),
}
OWN = {"s6": 0.9, "s8": 1.3, "s9": 0.7, "a1": 0.31, "a2": 3.9}


def mole_of(name: str) -> gto.Mole:
    atoms, charge = MOLECULES[name]
    mol = gto.Mole(atom=atoms, unit="bohr", verbose=0, basis="sto-3g", charge=charge)
    mol.spin = None
    return mol.build()


def nuclei_of(name: str) -> Nuclei:
    mol = mole_of(name)
    numbers = [gto.charge(mol.atom_symbol(i)) for i in range(mol.natm)]
    return Nuclei.of(numbers, mol.atom_coords(), mol.charge)


def pyscf_of(name: str, term: str, method: str):
    if term == "d4":
        return DFTD4Dispersion(mole_of(name), method)
    return DFTD3Dispersion(mole_of(name), method, "d3bj", atm=term == "d3bjatm")


@pytest.mark.parametrize("name", MOLECULES)
@pytest.mark.parametrize(
    ("term", "method"), [("d3bj", "pbe"), ("d3bjatm", "b3lyp"), ("d4", "r2scan"), ("d4", "b3lyp")]
)
def test_energies_and_forces_are_those_of_pyscf(name, term, method):
    expected = pyscf_of(name, term, method).get_dispersion(grad=True)
    ours, nuclei = parse(term, method), nuclei_of(name)
    assert ours.energy(nuclei).item() == pytest.approx(float(expected["energy"]), abs=1e-14)
    np.testing.assert_allclose(ours.gradient(nuclei), expected["gradient"], atol=1e-14)


def test_parameters_of_ones_own_are_those_of_the_library():
    library = DFTD4Dispersion(mole_of("cation"), "pbe")
    library.set_param(**OWN)
    expected = library.get_dispersion(grad=True)
    ours = Dispersion("d4", **OWN)
    assert ours.energy(nuclei_of("cation")).item() == pytest.approx(float(expected["energy"]), abs=1e-14)
    np.testing.assert_allclose(ours.gradient(nuclei_of("cation")), expected["gradient"], atol=1e-14)


@pytest.mark.parametrize("model", ["d3bj", "d4"])
def test_slopes_by_parameters_are_those_of_the_librarys_energy(model):
    term, nuclei = Dispersion(model, **OWN, train=PARAMETERS), nuclei_of("neutral")
    library = Reference(model, nuclei)
    assert term.energy(nuclei).item() == pytest.approx(library.energy(OWN), abs=1e-14)
    slopes = torch.autograd.grad(term.energy(nuclei), [getattr(term, name) for name in PARAMETERS])
    for name, slope in zip(PARAMETERS, slopes, strict=True):

        def difference(d, name=name):
            ahead, behind = (library.energy({**OWN, name: OWN[name] + by}) for by in (d, -d))
            return (ahead - behind) / (2 * d)

        expected = (4 * difference(1e-3) - difference(2e-3)) / 3
        assert slope.item() == pytest.approx(expected, abs=1e-11)
        assert abs(slope.item()) > 1e-7


@pytest.mark.parametrize("model", ["d3bj", "d4"])
def test_derivatives_by_positions(model):
    term, nuclei = Dispersion(model, **OWN), nuclei_of("neutral")
    rest, step = np.array(nuclei.positions), 1e-3

    def energy(moves):
        moved = rest.copy()
        for place, by in moves:
            moved[place] += by
        return term.energy(nuclei.moved(moved)).item()

    gradient, hessian = term.gradient(nuclei), term.hessian(nuclei)
    for place in ((0, 2), (4, 0)):
        slope = (energy([(place, step)]) - energy([(place, -step)])) / (2 * step)
        assert gradient[place].item() == pytest.approx(slope, abs=1e-9)
    a, b = (0, 2), (4, 1)
    mixed = sum(s * t * energy([(a, s * 0.01), (b, t * 0.01)]) for s in (1, -1) for t in (1, -1))
    assert hessian[a[0], b[0], a[1], b[1]].item() == pytest.approx(mixed / 4e-4, abs=1e-8)
    assert hessian.sum(1).abs().max() < 1e-11  # nothing changes if the whole is moved


def test_second_derivatives_are_the_analytic_ones_of_d3():
    term, nuclei = parse("d3bj", "pbe"), nuclei_of("neutral")
    atoms = len(nuclei.numbers)
    analytic = pyscf_of("neutral", "d3bj", "pbe").get_hessian()["hessian"].reshape(atoms, 3, atoms, 3)
    np.testing.assert_allclose(term.hessian(nuclei), analytic.transpose(0, 2, 1, 3), atol=1e-10)


@pytest.mark.parametrize("model", ["d3bj", "d4"])
def test_many_systems_at_once(model):
    term, systems = Dispersion(model, **OWN), [nuclei_of(name) for name in MOLECULES]
    together = term.at(systems)
    one_by_one = torch.stack([term.energy(nuclei) for nuclei in systems])
    assert torch.allclose(together(), one_by_one, rtol=1e-14, atol=0)
    with torch.no_grad():  # what is kept does not depend on the parameters
        term.a2 += 0.5
    one_by_one = torch.stack([term.energy(nuclei) for nuclei in systems])
    assert torch.allclose(together(), one_by_one, rtol=1e-14, atol=0)


def test_the_charge_matters_to_d4_alone():
    neutral, cation = nuclei_of("cation")._replace(charge=0.0), nuclei_of("cation")
    assert parse("d3bj", "pbe").energy(neutral) == parse("d3bj", "pbe").energy(cation)
    assert (parse("d4", "pbe").energy(neutral) - parse("d4", "pbe").energy(cation)).abs() > 1e-6


# -- names and options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "base", "term"),
    [
        ("pbe+d3bj", "pbe", "d3bj"),
        ("PBE + D3(BJ)", "PBE", "D3(BJ)"),
        ("gga_x_pbe+gga_c_pbe+d4(pbe)", "gga_x_pbe+gga_c_pbe", "d4(pbe)"),
        ("zoo:mine+d3bj(s8=1,a1=.4,a2=4)", "zoo:mine", "d3bj(s8=1,a1=.4,a2=4)"),
        ("0.2*hf+0.8*pbe,pbe", "0.2*hf+0.8*pbe,pbe", None),
        ("b3lyp-d3bj", "b3lyp-d3bj", None),
    ],
)
def test_split(name, base, term):
    assert split(name) == (base, term)


@pytest.mark.parametrize(
    ("term", "functional", "expected"),
    [
        # Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32, 1456 (2011)
        ("d3bj", "b3lyp", (1.0, 1.9889, 0.0, 0.3981, 4.4211)),
        ("D3(BJ)", "native:pbe", (1.0, 0.7875, 0.0, 0.4289, 4.4407)),
        ("d3bjatm(pbe0)", "anything", (1.0, 1.2177, 1.0, 0.4145, 4.8593)),
        # Ehlert et al., J. Chem. Phys. 154, 061101 (2021)
        ("d4", "r2SCAN", (1.0, 0.6018749, 1.0, 0.51559235, 5.77342911)),
        ("d4", "cam-b3lyp", (1.0, 1.66041301, 1.0, 0.40267156, 5.17432195)),
        ("d4", "wb97x", (1.0, -0.07519516, 1.0, 0.45094893, 6.78425255)),  # the one of 2008
        ("d3bj(s8=0.5, a1=0.4, a2=4)", None, (1.0, 0.5, 0.0, 0.4, 4.0)),
        ("d3bj(pbe, s8=0.5, s9=1)", None, (1.0, 0.5, 1.0, 0.4289, 4.4407)),
    ],
)
def test_published_parameters(term, functional, expected):
    assert tuple(parse(term, functional).values.values()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("term", "functional", "problem"),
    [
        ("d5", "pbe", "no dispersion"),
        ("d3bj", "m06-2x", "no d3bj parameters for 'm06-2x'"),
        ("d3bj(nothing)", "pbe", "no d3bj parameters for 'nothing'"),
        ("d3bj(s8=1)", None, "a1 is missing"),
        ("d4(s8=one,a1=0,a2=1)", None, "s8 is 'one'"),
        ("d4(s8=inf,a1=0,a2=1)", None, "finite"),
        ("d4(pbe,b3lyp)", None, "'b3lyp' means nothing"),
        ("d4(alp=14)", "pbe", "'alp=14' means nothing"),
        ("d3bj", "wb97x", "not of libxc's"),
        ({"model": "d4", "method": "pbe", "train": ["s7"]}, None, "unknown parameter of a dispersion 's7'"),
        ({"model": "d4", "steep": 1}, "pbe", "no 'steep'"),
        ({"model": "mbd"}, "pbe", "unknown dispersion model 'mbd'"),
    ],
)
def test_what_cannot_be_is_refused(term, functional, problem):
    with pytest.raises(InputError, match=problem) as caught:
        parse(term, functional)
    assert caught.value.remedy


@pytest.mark.parametrize("model", ["d3bj", "d4"])
@pytest.mark.parametrize("number", [0, 104, 118])
def test_elements_without_data(model, number):
    with pytest.raises(InputError, match=f"atomic number {number}"):
        Dispersion(model, **OWN).energy(Nuclei.of([1, number], [[0, 0, 0], [0, 0, 4]]))


def test_a_missing_library_says_how_to_get_it(monkeypatch):
    term = Dispersion("d4", **OWN)  # which needs none
    monkeypatch.setitem(sys.modules, "dftd4.interface", None)
    with pytest.raises(InputError, match="needs the package dftd4") as caught:
        term.energy(Nuclei.of([1, 1], [[0, 0, 0], [0, 0, 1.234]]))
    assert "deepchem_dft[dispersion]" in caught.value.remedy


# -- functionals --------------------------------------------------------------------------------


def test_a_name_with_a_dispersion():
    functional = get_xc("r2scan+d4")
    assert isinstance(functional, Libxc) and functional.name == "r2scan"
    expected = pyscf_of("neutral", "d4", "r2scan").get_dispersion()["energy"]
    energies = functional.dispersion_at([nuclei_of("neutral")])()
    assert energies.tolist() == pytest.approx([float(expected)], abs=1e-14)


def test_where_a_plain_functional_is_wanted():
    with pytest.raises(FunctionalError, match="not added here") as caught:
        Libxc("pbe+d3bj")
    assert "leave it out" in caught.value.remedy


def test_one_dispersion_is_enough():
    with pytest.raises(FunctionalError, match="already"):
        attached(get_xc("pbe+d4"), parse("d4", "pbe"))


def test_sums_hand_on_the_dispersion_of_their_parts():
    nuclei, d3 = nuclei_of("neutral"), parse("d3bj", "pbe")
    energy, gradient = d3.energy(nuclei), d3.gradient(nuclei)
    hybrid = HybridXC("pbe+d3bj", build_network(family="gga", seed=0), aweight0=1.0, bweight0=0.6)
    assert torch.allclose(hybrid.dispersion_at([nuclei])()[0], 0.6 * energy, rtol=1e-14)
    assert torch.allclose(hybrid.dispersion_gradient(nuclei), 0.6 * gradient, rtol=1e-13)
    assert hybrid.dispersion_terms[0][0].requires_grad
    mean = EnsembleXC([hybrid, "blyp"])
    assert torch.allclose(mean.dispersion_at([nuclei])()[0], 0.3 * energy, rtol=1e-14)
    hybrid.dispersion = parse("d4", "pbe")  # its own, in place of its parts'
    own = hybrid.dispersion.energy(nuclei)
    assert torch.allclose(hybrid.dispersion_at([nuclei])()[0], own, rtol=1e-14)
    assert torch.allclose(hybrid.dispersion_hessian(nuclei), hybrid.dispersion.hessian(nuclei))

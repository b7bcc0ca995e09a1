"""Parents in parts: together they are the functional, and F depends on s and alpha alone."""

import math

import pytest
import torch
from pyscf.dft import libxc

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import Libxc
from deepchem_dft.xc.features import LDA_X, spin_features
from deepchem_dft.xc.parents import PARTS, Parent, hybrid_name

#: The whole as PySCF spells it ("lda" alone would be exchange alone).
WHOLE = {
    "lda": "lda,pw_mod",
    "pbe": "pbe",
    "revpbe": "revpbe",
    "blyp": "blyp",
    "tpss": "tpss",
    "r2scan": "r2scan",
}


def test_all_parents_are_tested():
    assert set(WHOLE) == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("spins", [1, 2])
def test_parts_add_up(name, spins, density):
    rho, parent = density(30)[:spins], Parent.named(f" {name.upper()} ")
    assert parent.name == name and parent.family == Libxc(WHOLE[name]).family
    torch.testing.assert_close(parent.exchange(rho) + parent.correlation(rho), Libxc(WHOLE[name])(rho))


@pytest.mark.parametrize("name", PARTS)
def test_exchange_enhancement_depends_on_nothing_but_s_and_alpha(name, density):
    rho, parent = density(50)[:1], Parent.named(name)
    features = spin_features(rho)
    found = parent.enhancement(features.s**2, features.alpha)
    expected = parent.exchange(rho) / (LDA_X * rho[0, 0] ** (4 / 3))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_enhancement_of_pbe_is_the_published_one():
    """Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), eq. 14."""
    s2 = torch.linspace(0.0, 9.0, 20, dtype=torch.float64) ** 2
    kappa, mu = 0.804, 0.066725 * math.pi**2 / 3
    expected = 1 + kappa - kappa / (1 + mu * s2 / kappa)
    found = Parent.named("pbe").enhancement(s2, torch.ones_like(s2))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_enhancement_in_known_limits():
    """The uniform gas has one; one orbital of small gradient has 1.174 in r2SCAN."""
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for name in PARTS:
        assert Parent.named(name).enhancement(zero, one).item() == pytest.approx(1.0, abs=1e-8)
    single = Parent.named("r2scan").enhancement(1e-8 * one, zero).item()
    assert single == pytest.approx(1.174, abs=1e-3)


@pytest.mark.parametrize(
    "name, share, same_as",
    [
        ("pbe", 0.25, "pbe0"),
        ("pbe", 0.0, "pbe"),
        ("r2scan", 0.25, "0.25*hf+0.75*r2scan,r2scan"),
        ("lda", 0.1, "0.1*hf+0.9*lda,pw_mod"),
    ],
)
def test_spelling_of_hybrids(name, share, same_as, density):
    code, rho = hybrid_name(name, share), density(10)
    assert libxc.hybrid_coeff(code) == pytest.approx(share)
    torch.testing.assert_close(Libxc(code)(rho), Libxc(same_as)(rho))
    assert [c for c, _ in Libxc(code).exchange_terms] == ([share] if share else [])


@pytest.mark.parametrize("name", ["b3lyp", "pbe0", "", "none", "lda,pw", None])
def test_other_names_are_refused_with_those_that_work(name):
    for use in (Parent.named, lambda n: hybrid_name(n, 0.2)):
        with pytest.raises(FunctionalError, match="r2scan") as caught:
            use(name)
        assert caught.value.field == "parent"

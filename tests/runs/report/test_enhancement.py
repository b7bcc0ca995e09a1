"""Enhancement factors that a report draws are those of published formulae."""

import pytest

from deepchem_dft.errors import FunctionalError
from deepchem_dft.runs.report.enhancement import factors
from deepchem_dft.xc.enhancement import EnhancedXC
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.names import get_xc
from tests.xc.toy import GatherXC


def test_enhancement_of_pbe_is_its_formula():
    """F_x = 1 + kappa - kappa / (1 + mu s^2 / kappa), PRL 77, 3865 (1996), eq. 14."""
    found = factors(get_xc("pbe"))
    for s, value in zip(found.x[1::20], found.curves[1e-4, 0.0][0][1::20]):
        exact = 1.804 - 0.804 / (1.0 + 0.2195149727645171 * s * s / 0.804)
        assert value == pytest.approx(exact, rel=2e-3)
    assert found.family == "gga" and found.parent == "" and found.exchange == 0.0


def test_enhancement_of_scan_at_one_orbital_without_gradient():
    """The exact constraint h0x = 1.174 of SCAN, PRL 115, 036402 (2015)."""
    found = factors(get_xc("r2scan"), "pbe")
    assert found.curves[1e-4, 0.0][0][0] == pytest.approx(1.174, rel=1e-3)
    assert found.curves[1e-4, 1.0][0][0] == pytest.approx(1.0, rel=1e-3)
    assert found.parent == "pbe" and found.curves[0.5, 0.0][1] == found.curves[0.5, 10.0][1]


def test_enhancement_of_the_uniform_gas():
    """Correlation at r_s = 2 is -0.0448 Ha, exchange -0.4582 / 2 (Perdew and Wang 1992)."""
    found = factors(get_xc("lda,pw"))
    values = dict(zip(found.x, found.curves[0.0, 0.0][0]))
    nearest = min(values, key=lambda r: abs(r - 2.0))
    assert values[nearest] == pytest.approx(1.0 + 0.0448 / (0.45817 / 2.0), abs=0.01)


def test_exchange_that_is_replaced_is_shown_whole():
    """An untrained enhanced hybrid has the enhancement factors of its parent."""
    hybrid = EnhancedXC("pbe", hidden=[4], exchange=0.25, seed=0)
    found = factors(hybrid, "pbe")
    assert found.exchange == 0.25 and found.whole
    for own, before in found.curves.values():
        assert own == pytest.approx(before, rel=1e-9)
    assert hybrid.share.item() == 0.25


def test_share_of_exact_exchange_is_told():
    assert factors(get_xc("pbe0")).exchange == 0.25


def test_no_enhancement_of_what_sees_more_than_points():
    with pytest.raises(FunctionalError, match="GatherXC"):
        factors(HybridXC("pbe", GatherXC(), aweight0=1.0))
    assert factors(get_xc("wb97m-v")).family == "mgga"  # the local part, of which nothing is learned

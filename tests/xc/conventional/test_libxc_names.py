"""Functionals that cannot be run whole, or do not exist, are refused with a remedy."""

import pyscf
import pytest

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import Libxc, get_xc

WITHOUT_PARAMETERS = ["rvv10", "pbe+vv10", "pbe,pbe+vv10", "vv10+pbe", "0.5*vv10"]
NONLOCAL = [
    ("wB97M-V", "vv10", 6.0, 0.01),
    ("wb97x_v", "vv10", 6.0, 0.01),
    ("b97m-v", "vv10", 6.0, 0.01),
    ("lc-vv10", "vv10", 6.3, 0.0089),
    ("vv10", "vv10", 5.9, 0.0093),
    ("scan_vv10", "vv10", 14.0, 0.0093),
    ("scan-rvv10", "rvv10", 15.7, 0.0093),
    ("SCAN+rVV10", "rvv10", 15.7, 0.0093),
    ("r2scan-rvv10", "rvv10", 11.95, 0.0093),
    ("r2SCAN + rVV10", "rvv10", 11.95, 0.0093),
    ("pbe,pbe + vv10(6.2, 0.0093)", "vv10", 6.2, 0.0093),
    ("pbe+rVV10(1e1,1E-2)", "rvv10", 10.0, 0.01),
]
PERTURBATIVE = [
    "b2plyp",
    "B2-PLYP",
    "xyg3",
    "XYGJ-OS",
    "dsd-pbep86",
    "dsd-pbep86-d3bj",
    "pwpb95",
    "b2gpplyp",
    "wb97m(2)",
    "pbe0-2",
    "pbe0-dh",
    "wb97x-2",
    "revdsd-pbep86",
    "0.5*b2plyp",
    "hf,mp2",
    "pbe-qidh",
]
DISPERSION = [
    "b3lyp-d3",
    "b3lyp-d3bj",
    "B3LYP-D4",
    "b3lyp-d",
    "pbe-d3(bj)",
    "wb97x-d",
    "wb97x_d3",
    "wb97x-d3bj",
    "b97-d",
    "otpss-d",
    "b97-3c",
    "r2scan-3c",
    "beefvdw",
    "cf22d",
    "pbe-mbd",
    "pbe-d3,pbe",
]
OTHER = [
    ("scanl", "Laplacian"),
    ("mgga_x_br89", "Laplacian"),
    ("gga_k_tfvw", "kinetic"),
    ("tf,", "kinetic"),
    ("gga_x_lb", "no energy"),
    ("lda_x_2d", "three dimensions"),
    ("camyb3lyp", "Yukawa"),
    ("tauhcth,", "ambiguous"),
    (",", "empty"),
    ("0*hf", "empty"),
    ("pbe-2", "subtract"),
    ("sr_hf", "exact exchange"),
    ("rsh(-0.3,0.5,0.1)", "exact exchange"),
]


@pytest.mark.parametrize("name, form, b, c", NONLOCAL)
def test_nonlocal_correlation(name, form, b, c):
    (term,) = Libxc(name).nonlocal_terms
    assert (term.form, term.coefficient) == (form, 1.0)
    assert (term.log_b.exp().item(), term.log_c.exp().item()) == (pytest.approx(b), pytest.approx(c))


def test_factors_and_options_of_nonlocal_correlation():
    xc = Libxc("0.25*wb97x_v", vv10_level=None, train_vv10=True)
    (term,) = xc.nonlocal_terms
    assert (term.coefficient, term.grid_level) == (0.25, None)
    assert not xc.constant and len([p for p in xc.parameters() if p.requires_grad]) == 2
    assert Libxc("wb97x-v").constant and Libxc("pbe").constant
    assert Libxc("pbe").nonlocal_terms == [] and Libxc("r2scan-rvv10").code == "R2SCAN"


@pytest.mark.parametrize("name", WITHOUT_PARAMETERS)
def test_nonlocal_correlation_without_its_parameters(name):
    with pytest.raises(FunctionalError, match="VV10"):
        Libxc(name)


@pytest.mark.parametrize("name", ["pbe+vv10(0,1)", "pbe+vv10(6,x)", "pbe+rvv10(nan,0.01)"])
def test_nonlocal_correlation_with_impossible_parameters(name):
    with pytest.raises(FunctionalError, match="positive numbers"):
        Libxc(name)


@pytest.mark.parametrize("name", PERTURBATIVE)
def test_double_hybrids(name):
    with pytest.raises(FunctionalError, match="double-hybrid"):
        Libxc(name)


@pytest.mark.parametrize("name", DISPERSION)
def test_dispersion(name):
    if name == "cf22d" and pyscf.__version__.startswith("2.10."):
        pytest.skip("unknown to PySCF 2.10")
    with pytest.raises(FunctionalError, match="dispersion"):
        Libxc(name)


@pytest.mark.parametrize("name, reason", OTHER)
def test_other_reasons(name, reason):
    with pytest.raises(FunctionalError, match=reason) as caught:
        Libxc(name)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("r2scam", "r2scan"),
        ("b3lpy", "b3lyp"),
        ("vwn", "lda_c_vwn"),
        ("m11", "m11,m11"),
        ("pbe+lda_x_foo", "lda_x"),
        ("hse", "hse06"),
    ],
)
def test_misspelt_names_get_a_suggestion(name, nearest):
    with pytest.raises(FunctionalError, match="unknown functional") as caught:
        Libxc(name)
    assert nearest in caught.value.remedy


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        None,
        101,
        "foo",
        "pbe,pbe,pbe",
        "2*3*pbe",
        "3*",
        "b3lyp*",
        "nan*pbe",
        "ωb97x",
        "pbe;drop",
        "(",
        "rsh(",
        "99999",
    ],
)
def test_nonsense_is_an_input_error(name):
    with pytest.raises(FunctionalError) as caught:
        Libxc(name)
    assert caught.value.field == "xc" and caught.value.remedy


@pytest.mark.parametrize("xc", ["native:r2scan", 3, object()])
def test_get_xc_refuses_other_things(xc):
    with pytest.raises(FunctionalError):
        get_xc(xc)


@pytest.mark.parametrize(
    "name",
    [
        "cam-b3lyp",
        "lc-wpbe",
        "lc-blyp",
        "m06-2x",
        "b97-1",
        "hcth-407",
        "hse-06",
        "pbe-lda_c_vwn",
        "0.5*b88-0.2*slater,lyp",
        "101,130",
    ],
)
def test_dashes_that_are_fine(name):
    assert Libxc(name).family in ("gga", "mgga")

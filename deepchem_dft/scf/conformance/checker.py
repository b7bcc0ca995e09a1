"""All checks of a functional, one after the other."""

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from deepchem_dft.checks import choice
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.conformance import derivatives, invariances, limits
from deepchem_dft.scf.conformance.report import Check, Report
from deepchem_dft.scf.conformance.samples import Sample, energy_of, water
from deepchem_dft.scf.kohn_sham import KohnSham
from deepchem_dft.scf.quadrature import device_of
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.nonlocality.terms import has_nonlocal_part

# Energies that ought to be the same, Ha; relative errors of derivatives; what is left of a jump, Ha.
_SAME, _DERIVATIVE, _JUMP = 1e-9, 1e-5, 1e-7
#: How much more is allowed where a network computes in single precision.
_SINGLE = 1e4
_SCF_TOL = 1e-6


@dataclass(frozen=True)
class _Question:
    name: str
    ask: "Callable[[_Subject], float | None]"
    tolerance: float
    unit: str
    remark: str


class _Subject:
    """A functional and the densities it is asked about."""

    def __init__(self, xc: XCFunctional) -> None:
        self.xc, self.device = xc, device_of(xc)
        self.nonlocal_ = has_nonlocal_part(xc)
        self.single = any(p.dtype == torch.float32 for p in xc.parameters())

    @property
    def closed(self) -> Sample:
        return water(0).to(self.device)

    @property
    def opened(self) -> Sample:
        return water(1).to(self.device)


def _form(subject: _Subject) -> float:
    """Number of things about the energies returned that are not as they should be."""
    wrong = 0
    for sample in (subject.closed, subject.opened):
        energy = energy_of(subject.xc, sample)
        wrong += energy.shape != () or energy.dtype != torch.float64 or not bool(torch.isfinite(energy))
        if not subject.xc.needs_quadrature:
            density = subject.xc.energy_density(sample.rho)
            wrong += density.shape != sample.rho.shape[2:]
    return float(wrong)


def _spin_symmetry(subject: _Subject) -> float | None:
    if not subject.xc.spin_symmetric:
        return None
    return invariances.spin_symmetry(subject.xc, subject.closed, subject.opened)


def _gas(subject: _Subject) -> float | None:
    return limits.uniform_gas(subject.xc, subject.device) if subject.xc.uniform_gas else None


def _geometry(subject: _Subject) -> float | None:
    return derivatives.geometry(subject.xc, subject.opened) if subject.nonlocal_ else None


def _parameters(subject: _Subject) -> float | None:
    if not any(p.requires_grad for p in subject.xc.parameters()):
        strangers = derivatives.parameters(subject.xc, subject.opened)
        return strangers or None
    return derivatives.parameters(subject.xc, subject.opened)


def _scf(subject: _Subject) -> float:
    """What is left of the residual (Ha) for water and its cation."""
    worst = 0.0
    for charge in (0, 1):
        molecule = Molecule("O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5", "sto-3g", charge, charge, grid_level=0)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            result = KohnSham(molecule, subject.xc, tol=_SCF_TOL).run(on_unconverged="continue")
        worst = max(worst, result.commutator)
    return worst


_QUESTIONS = [
    _Question("form", _form, 0.0, "faults", "a finite float64 energy; one value a point if local"),
    _Question("repetition", lambda s: invariances.repetition(s.xc, s.opened), _SAME, "Ha", "asked twice"),
    _Question("spin symmetry", _spin_symmetry, _SAME, "Ha", "spins exchanged; a closed shell by spins"),
    _Question("rotation", lambda s: invariances.rotation(s.xc, s.opened), _SAME, "Ha", "molecule with grid"),
    _Question(
        "translation", lambda s: invariances.translation(s.xc, s.opened), _SAME, "Ha", "molecule with grid"
    ),
    _Question(
        "order of points", lambda s: invariances.order_of_points(s.xc, s.opened), _SAME, "Ha", "shuffled"
    ),
    _Question(
        "order of atoms", lambda s: invariances.order_of_atoms(s.xc, s.opened), _SAME, "Ha", "renumbered"
    ),
    _Question(
        "size consistency",
        lambda s: invariances.size_consistency(s.xc, s.opened),
        _SAME,
        "Ha",
        "two molecules far apart",
    ),
    _Question(
        "groups of points",
        lambda s: invariances.pieces(s.xc, s.opened),
        _SAME,
        "Ha",
        "the sum over the functional's pieces",
    ),
    _Question(
        "vanishing density",
        lambda s: limits.vanishing_density(s.xc, s.opened),
        1e-7,
        "Ha",
        "none, and 1e-10 of one; the potential is finite",
    ),
    _Question("uniform gas", _gas, 1e-5, "relative", "Slater exchange and PW92 correlation"),
    _Question(
        "first derivative",
        lambda s: max(derivatives.first(s.xc, s.closed), derivatives.first(s.xc, s.opened)),
        _DERIVATIVE,
        "relative",
        "potential against differences of energies",
    ),
    _Question(
        "second derivative",
        lambda s: max(derivatives.second(s.xc, s.closed), derivatives.second(s.xc, s.opened)),
        10 * _DERIVATIVE,
        "relative",
        "kernel against differences of potentials",
    ),
    _Question(
        "parameters", _parameters, _DERIVATIVE, "relative", "each by itself; infinite: one is not registered"
    ),
    _Question(
        "geometry", _geometry, _DERIVATIVE, "relative", "derivatives by points, weights, nuclei: forces"
    ),
    _Question(
        "smoothness", lambda s: limits.smoothness(s.xc, s.device), _JUMP, "Ha", "jumps: LiH apart, scaled"
    ),
    _Question("self-consistency", _scf, _SCF_TOL, "Ha", "residual of water and its cation"),
]
#: Names of all checks.
NAMES = [question.name for question in _QUESTIONS]


@unaffected
def check_functional(
    functional: str | XCFunctional, *, only: Collection[str] | None = None, raise_on_failure: bool = False
) -> Report:
    """Ask a functional whether it keeps the contract of functionals.

    Parameters
    ----------
    functional : str or XCFunctional
        A name or any functional; its exact exchange and dispersion are not looked at, except in
        self-consistency.
    only : collection of str, optional
        Names of some checks; all by default.
    raise_on_failure : bool
        Raise instead of returning a report of failures.

    Returns
    -------
    Report
        Of named checks, each with its value and tolerance.

    Raises
    ------
    FunctionalError
        If asked to, for a functional that fails.
    InputError
        For an unknown name of a check.

    Notes
    -----
    Densities are those of water and its cation (STO-3G, level 0, without any symmetry) and of LiH as
    it is drawn apart. A functional whose code raises an error fails the check, with the message as
    its remark. Networks in single precision are allowed 10,000 times the deviation.

    Examples
    --------
    >>> report = check_functional("native:lda", only=["translation", "uniform gas", "first derivative"])
    >>> report.passed, [check.name for check in report]
    (True, ['translation', 'uniform gas', 'first derivative'])
    """
    for name in only or ():
        choice(name, NAMES, "only", "check")
    subject = _Subject(get_xc(functional))
    modes = [(module, module.training) for module in subject.xc.modules()]
    subject.xc.eval()
    try:
        checks = [_answer(q, subject) for q in _QUESTIONS if only is None or q.name in only]
    finally:
        for module, training in modes:
            module.training = training
    name = functional if isinstance(functional, str) else type(functional).__name__
    report = Report(name, checks)
    if raise_on_failure:
        report.raise_for_failures()
    return report


def _answer(question: _Question, subject: _Subject) -> Check:
    loose = _SINGLE if subject.single and question.name != "self-consistency" else 1.0
    tolerance, remark = min(question.tolerance * loose, 0.1), question.remark
    try:
        value = question.ask(subject)
    except Exception as error:  # a stranger's code: whatever it raises is the answer
        value, remark = float("nan"), f"{type(error).__name__}: {error}"
    if value is None:
        remark = "not promised, or of no account for this functional"
    return Check(question.name, value, tolerance, question.unit, remark)

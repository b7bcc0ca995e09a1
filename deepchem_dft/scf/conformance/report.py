"""What the checker of functionals has found."""

from collections.abc import Iterator
from dataclasses import dataclass

from deepchem_dft.errors import FunctionalError


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes
    ----------
    name : str
    value : float or None
        The largest deviation found; None if the question does not apply.
    tolerance : float
        Largest value that passes.
    unit : str
        Of both; ``"relative"`` for ratios.
    remark : str
        What was compared, why it does not apply, or what went wrong.
    """

    name: str
    value: float | None
    tolerance: float
    unit: str
    remark: str = ""

    @property
    def passed(self) -> bool:
        """True if the deviation is small enough (NaN is not), or the question does not apply."""
        return self.value is None or self.value <= self.tolerance

    def __str__(self) -> str:
        verdict = "not asked" if self.value is None else "passed" if self.passed else "FAILED"
        value = "" if self.value is None else f"{self.value:.1e} (at most {self.tolerance:.0e}) {self.unit}"
        return f"{self.name:24} {verdict:10} {value:40} {self.remark}".rstrip()


@dataclass(frozen=True)
class Report:
    """All answers for one functional; prints as a table.

    Attributes
    ----------
    functional : str
        What was checked.
    checks : list of Check

    Examples
    --------
    >>> report = Report("mine", [Check("translation", 1e-3, 1e-9, "Ha"), Check("rotation", 0.0, 1e-9, "Ha")])
    >>> report.passed, [check.name for check in report.failed], report["rotation"].passed
    (False, ['translation'], True)
    """

    functional: str
    checks: list[Check]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        return "\n".join([f"{self.functional}:", *(f"  {check}" for check in self.checks)])

    @property
    def passed(self) -> bool:
        """True if no check has failed."""
        return not self.failed

    @property
    def failed(self) -> list[Check]:
        """Those that did not pass."""
        return [check for check in self.checks if not check.passed]

    def raise_for_failures(self) -> None:
        """Raise if a check has failed.

        Raises
        ------
        FunctionalError
            With the names and values of those that did.
        """
        if self.failed:
            what = "; ".join(" ".join(str(check).split()) for check in self.failed)
            raise FunctionalError(
                f"{self.functional} does not keep the contract of functionals: {what}",
                field="functional",
                remedy="mend it, or print(check(functional)) to see all values",
            )

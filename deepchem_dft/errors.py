"""Every error this package raises on purpose; all derive from ``DeepChemDFTError``."""

from typing import Any


class DeepChemDFTError(Exception):
    """Base class of all errors raised on purpose by ``deepchem_dft``."""


class InputError(DeepChemDFTError, ValueError):
    """Input that cannot be used, described so that it can be mended.

    Parameters
    ----------
    problem : str
        What is wrong, in one sentence.
    file, entry, field : str, optional
        Where: the file, the entry (its name or number) and the field.
    remedy : str, optional
        What would be right.

    Examples
    --------
    >>> print(InputError("'two' is not a number", file="a.yaml", entry="3 (H2O)",
    ...                  field="true_val", remedy="write an energy such as '0.37 Ha'"))
    a.yaml, entry 3 (H2O), field 'true_val': 'two' is not a number.
    Remedy: write an energy such as '0.37 Ha'.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        entry: str | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.entry = problem, file, entry
        self.field, self.remedy = field, remedy
        super().__init__(problem)

    def __str__(self) -> str:
        where = []
        if self.file:
            where.append(str(self.file))
        if self.entry:
            where.append(f"entry {_short(self.entry)}")
        if self.field:
            where.append(f"field '{_short(self.field)}'")
        text = f"{', '.join(where)}: " if where else ""
        text += _short(self.problem.rstrip(".")) + "."
        if self.remedy:
            text += f" Remedy: {_short(self.remedy.rstrip('.'))}."
        return text

    def located(self, **where: Any) -> "InputError":
        """Return the same error with missing ``file``, ``entry`` or ``field`` filled in."""
        merged = {k: getattr(self, k) or where.get(k) for k in ("file", "entry", "field")}
        return InputError(self.problem, remedy=self.remedy, **merged)

    def __reduce__(self):  # keyword-only arguments need this to survive pickling
        return (
            _rebuild_input_error,
            (type(self), self.problem, self.file, self.entry, self.field, self.remedy),
        )


def _short(value: object, most: int = 700) -> str:
    """Cut what quotes a value of thousands of characters."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _rebuild_input_error(cls, problem, file, entry, field, remedy):
    return cls(problem, file=file, entry=entry, field=field, remedy=remedy)


class StorageError(DeepChemDFTError, OSError):
    """A file or folder that the system does not let us write: a full disk, no permission...

    Parameters
    ----------
    problem : str
        What the system said.
    file : str, optional
        Which file.
    remedy : str, optional
    number : int, optional
        The system's number of the error, as ``errno`` has it.

    Attributes
    ----------
    errno, strerror, filename
        As in any ``OSError``.

    Examples
    --------
    >>> print(StorageError("cannot be written (disk full)", file="a.csv", remedy="make room"))
    a.csv: cannot be written (disk full). Remedy: make room.
    """

    def __init__(
        self, problem: str, *, file: str | None = None, remedy: str | None = None, number: int | None = None
    ) -> None:
        super().__init__(number, problem, file)
        self.problem, self.file, self.remedy, self.number = problem, file, remedy, number

    def __str__(self) -> str:
        text = f"{self.file}: " if self.file else "a file "
        text += self.problem.rstrip(".") + "."
        return text + (f" Remedy: {self.remedy.rstrip('.')}." if self.remedy else "")

    def __reduce__(self):  # keyword-only arguments need this to survive pickling
        return _rebuild_storage_error, (self.problem, self.file, self.remedy, self.number)


def _rebuild_storage_error(problem, file, remedy, number):
    return StorageError(problem, file=file, remedy=remedy, number=number)


class SCFNotConverged(DeepChemDFTError, RuntimeError):
    """The self-consistent field did not converge.

    Attributes
    ----------
    result : KSResult or None
        The last iterate, for inspection. Its energy is not a prediction.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self):  # to another process without the result, which may be gigabytes
        return type(self), (str(self),)


class ResponseNotConverged(DeepChemDFTError, RuntimeError):
    """The coupled-perturbed equations did not converge, so a gradient would be wrong."""


class GradientNotConverged(DeepChemDFTError, RuntimeError):
    """The adjoint of a fixed point has no solution in reach, so a gradient would be wrong.

    Attributes
    ----------
    samples : Tensor of int or None
        The samples it concerns, counted from 0.
    """

    def __init__(self, message: str, samples: Any = None) -> None:
        super().__init__(message)
        self.samples = samples


class ExactNotConverged(DeepChemDFTError, RuntimeError):
    """Exact reference data on a grid could not be made to the accuracy that was asked for."""


class FunctionalError(InputError):
    """A functional that does not exist, cannot be run, or returns values that are not numbers."""


class CheckpointError(DeepChemDFTError, RuntimeError):
    """A checkpoint that is missing, damaged, or belongs to a different model."""


class ProcessLost(DeepChemDFTError, RuntimeError):
    """Another process of a run of several processes died, or does not answer."""

"""The common ground of all sections of a run configuration."""

import difflib
import os
import unicodedata
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, LiteralString, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from deepchem_dft.files import SAFE_NAME

#: What no run needs, so that a slip of the key is an error and not a week of computing.
MOST_EPOCHS, MOST_SAMPLES, MOST_ITERATIONS, MOST_PROCESSES = 10**7, 10**8, 10**5, 4096
#: Of a network: a hundred times those of the largest functional published.
MOST_WEIGHTS = 10_000_000
#: Of NumPy's generators.
LARGEST_SEED = 2**32 - 1
#: Of a term of a loss.
Weight = Annotated[float, Field(ge=0, le=1e9)]
#: Which solver finds the fixed points of a network, whose gradients are taken how, how exactly.
SolverName = Annotated[Literal["anderson", "broyden", "damped"], Field(description="of fixed points")]
AdjointName = Annotated[
    Literal["implicit", "truncated", "unrolled"], Field(description="gradients of fixed points")
]
Tolerance = Annotated[float | None, Field(ge=1e-15, le=1)]
Evaluations = Annotated[int, Field(ge=1, le=100_000)]
#: Parts of the data, chosen for an evaluation.
Roles = list[Literal["train", "valid", "test"]]
#: Of a run: it becomes the name of a folder.
RunName = Annotated[str, Field(pattern=SAFE_NAME)]
#: Characters of a text; names, files and sentences are far below.
_LONGEST_TEXT = 10_000
#: Keys of a configuration that name files and folders.
_PLACES = ("file", "input", "dir", "prepared")


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors that suggest the known one."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _reject_what_cannot_be(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = list(cls.model_fields)
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                remedy = f"use '{close[0]}' instead" if close else f"use one of {', '.join(known)}"
                raise PydanticCustomError(
                    "unknown_key", "unknown key", {"key": str(key)[:60], "remedy": remedy}
                )
            annotation = cls.model_fields[key].annotation
            for part in _parts(values[key]):
                if problem := _problem(part, annotation):
                    raise PydanticCustomError("unusable", problem, {"key": key})
        return values


def _takes_bool(annotation: Any) -> bool:
    section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return section or annotation in (bool, False, True) or any(map(_takes_bool, get_args(annotation)))


def _parts(value: Any) -> list[Any]:
    """Return a value, or those of a list or of a mapping with its keys."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else [value]


def _problem(text: Any, annotation: Any) -> LiteralString | None:
    """Say what is wrong with text that nothing takes, or with true in place of 1."""
    if isinstance(text, bool) and not _takes_bool(annotation):
        return "true and false are not possible here"
    if not isinstance(text, str):
        return None
    if len(text) > _LONGEST_TEXT:
        return "the text is too long"
    if not text.isprintable() and any(
        unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text
    ):
        return "the text holds control characters"
    return None


class OutputSection(Section):
    """Where the run directory is and what is drawn."""

    dir: str | None = Field(None, description="run directory (default: runs/<name>)")
    plots: bool = Field(True, description="draw figures")


class CardConfig(Section):
    """Text for the card that ``deepchem-dft export`` writes; numbers come from the run's tables.

    It is no part of what is computed: change it when the results are known, and let
    ``train --resume`` store it in the run directory.
    """

    name: str | None = Field(
        None,
        pattern=SAFE_NAME,
        description="in the zoo, where the export goes to a folder (default: the run's)",
    )
    summary: str = Field("", description="one sentence (default: the description)")
    worse_than_parent: list[str] = Field(
        [], description="where it is worse than what it starts from, beside what the tables show"
    )
    known_failures: list[str] = Field([], description="what it is known to get wrong")
    out_of_scope: list[str] = Field([], description="what it should not be used for")


class BaseRunConfig(Section):
    """What the configurations of all kinds of runs say."""

    if TYPE_CHECKING:  # each kind has sections of its own
        training: Any
        output: Any

    name: RunName = Field("run", description="names the folder")
    description: str = Field("", description="free text")
    card: CardConfig = Field(CardConfig(), description="text for the card of its model")

    def locate(self, base: Path) -> None:
        """Make the paths of data absolute, which are relative to the configuration's folder."""

    def hashed(self) -> dict[str, Any]:
        """Return everything that can change a number of the run, as plain data.

        Its name, folder and card cannot, and neither can the choice of baselines and sets that are
        evaluated: a finished run may be resumed to evaluate more.
        """
        return self.model_dump(mode="json", exclude={"name", "description", "output", "baselines", "card"})


def located(file: str, base: Path) -> str:
    """Return the absolute path of a file beside the configuration, or in the working folder."""
    local = base / file
    return str(local if os.path.exists(local) else Path(file).resolve())


def without_places(value: Any) -> Any:
    """Keep names of files, not where they lie on somebody's disk.

    Examples
    --------
    >>> without_places({"data": [{"file": "/home/me/water.h5", "limit": 4}]})
    {'data': [{'file': 'water.h5', 'limit': 4}]}
    """
    if isinstance(value, dict):
        return {
            k: PurePath(v).name if k in _PLACES and isinstance(v, str) else without_places(v)
            for k, v in value.items()
        }
    return [without_places(v) for v in value] if isinstance(value, list) else value

"""What a run configuration may say for the card of its model."""

from __future__ import annotations

from pydantic import Field

from ..files import SAFE_NAME
from .section import Section


class CardConfig(Section):
    """Text for the card that ``deepchem-dft export`` writes; numbers come from the run's tables.

    It is no part of what is computed: change it when the results are known, and let
    ``train --resume`` store it in the run directory.
    """

    name: str | None = Field(
        None, pattern=SAFE_NAME,
        description="in the zoo, where the export goes to a folder (default: the run's)",
    )
    summary: str = Field("", description="one sentence (default: the description)")
    worse_than_parent: list[str] = Field(
        [], description="where it is worse than what it starts from, beside what the tables show"
    )
    known_failures: list[str] = Field([], description="what it is known to get wrong")
    out_of_scope: list[str] = Field([], description="what it should not be used for")

"""The common ground of all sections of a run configuration."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors that suggest the known one."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = list(cls.model_fields)
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                remedy = f"use '{close[0]}' instead" if close else f"use one of {', '.join(known)}"
                raise PydanticCustomError(
                    "unknown_key", "unknown key", {"key": str(key), "remedy": remedy}
                )
        return values

"""Where an entry comes from, and the optional fields that all schemas share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepchem_dft.data.fields import SPLITS, Fields, inside, show
from deepchem_dft.errors import InputError

#: Optional fields of an entry in any schema; see `Context.options`.
COMMON_KEYS = ("name", "weight", "source", "split", "tags", "ao_order", "grid", "grid_level", "tolerance")


@dataclass(frozen=True)
class Context:
    """The file an entry stands in.

    Attributes
    ----------
    file : str or None
        As the user named it, for messages.
    header : Any
        What a schema shares between the entries of a file.
    """

    file: str | None = None
    header: Any = None

    @property
    def folder(self) -> Path | None:
        """Where relative paths start."""
        return Path(self.file).parent if self.file else None

    def options(self, fields: Fields) -> dict[str, Any]:
        """Read the optional fields of an entry into arguments of ``DFTEntry.create``."""
        out: dict[str, Any] = {
            "folder": self.folder,
            "name": fields.text("name") or None,
            "source": fields.text("source"),
            "tags": read_tags(fields.get("tags")),
            "ao_order": fields.choice("ao_order", ("pyscf", "dqc"), "pyscf"),
            "grid": fields.choice("grid", ("dqc",), "dqc") if "grid" in fields else None,
            "tolerance": fields.number("tolerance", 0) if "tolerance" in fields else None,
        }
        if "split" in fields:
            out["split"] = fields.choice("split", SPLITS, "")
        level = fields.number("grid_level", 3)
        if level not in range(10):
            raise InputError(
                f"grid level {level:g} does not exist",
                field="grid_level",
                remedy="choose 0 (coarse) to 9 (fine); 3 is the usual choice",
            )
        out["grid_level"] = int(level)
        return out


def read_tags(value: Any) -> dict[str, Any]:
    """Check the free part of an entry: names with plain values or lists of them."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(
            f"tags must be a mapping, not {show(value)}", field="tags", remedy="write 'tags: {name: value}'"
        )
    plain = (str, int, float, bool, type(None))
    for key, item in value.items():
        fine = isinstance(item, plain) or (isinstance(item, list) and all(isinstance(x, plain) for x in item))
        if not isinstance(key, str) or not fine:
            raise inside(
                InputError(
                    f"{show(item)} is not a plain value or a list of them",
                    remedy="use text, numbers, true or false",
                ),
                f"tags.{show(key)}",
            )
    return dict(value)

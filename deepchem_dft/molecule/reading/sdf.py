"""SDF files record by record: the molecule as written, and its tags."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deepchem_dft.errors import InputError

_TAG = re.compile(r">.*<([^>]+)>")


@dataclass(frozen=True)
class SDFRecord:
    """One record of an SDF file.

    Attributes
    ----------
    number : int
        Place in the file, from 1.
    title : str
        First line, which may be empty.
    block : str
        The MOL block, up to ``M  END``.
    tags : dict of str to str
    file : str
    """

    number: int
    title: str
    block: str
    tags: dict[str, str] = field(default_factory=dict)
    file: str = ""

    @property
    def label(self) -> str:
        """Number and title, for messages."""
        return f"{self.number} ({self.title})" if self.title else str(self.number)

    def tag(self, name: str) -> str:
        """Return a tag that must be there.

        Raises
        ------
        InputError
            With file, record and tag.
        """
        try:
            return self.tags[name]
        except KeyError:
            raise InputError(
                "the tag is missing",
                file=self.file,
                entry=self.label,
                field=name,
                remedy="give the file as it was released",
            ) from None

    def molecule(self) -> Any:
        """Return the RDKit molecule with the coordinates and hydrogens of the record.

        Raises
        ------
        InputError
            If the MOL block cannot be read, for instance because of an unknown element.
        """
        from rdkit import Chem, rdBase

        with rdBase.BlockLogs():
            raw = Chem.MolFromMolBlock(self.block, sanitize=False, removeHs=False)
            if raw is None or any(atom.GetAtomicNum() == 0 for atom in raw.GetAtoms()):
                raise InputError(
                    self._why_unreadable(),
                    file=self.file,
                    entry=self.label,
                    field="atoms",
                    remedy="check the number of atoms and the elements",
                )
            try:
                Chem.SanitizeMol(raw)
            except (Chem.MolSanitizeException, ValueError) as error:
                raise InputError(
                    f"no valid molecule ({error})", file=self.file, entry=self.label, field="bonds"
                ) from None
        return raw

    def _why_unreadable(self) -> str:
        from rdkit import Chem

        table = Chem.GetPeriodicTable()
        for number, line in enumerate(self.block.splitlines()[4:], start=1):
            symbol = line[31:34].strip()
            if len(line) < 39 or not symbol:
                break
            try:
                known = table.GetAtomicNumber(symbol) > 0
            except RuntimeError:
                known = False
            if not known:
                return f"{symbol!r} (atom {number}) is no element"
        return "the MOL block cannot be read"


def sdf_records(lines: Iterable[str], file: str) -> Iterator[SDFRecord]:
    """Yield the records of an SDF file.

    Parameters
    ----------
    lines : iterable of str
        An open file, or its lines.
    file : str
        Its name, for messages.

    Raises
    ------
    InputError
        For a file that ends within a record.

    Examples
    --------
    >>> text = '''ion
    ...
    ...
    ...   1  0  0  0  0  0            999 V2000
    ...     0.0000    0.0000    0.0000 Na  0  3
    ... M  END
    ... >  <CHARGE>
    ... 1
    ...
    ... $$$$
    ... '''
    >>> [(r.title, r.tags) for r in sdf_records(text.splitlines(), "ion.sdf")]
    [('ion', {'CHARGE': '1'})]
    """
    number = 1
    collected: list[str] = []
    for line in lines:
        line = line.rstrip("\r\n")
        if line.startswith("$$$$"):
            yield _record(number, collected, file)
            number, collected = number + 1, []
        else:
            collected.append(line)
    if any(line.strip() for line in collected):
        # A MOL file has no end mark; a record with tags that lacks it may lack half a tag, too.
        last = _record(number, collected, file)
        if last.tags:
            raise _cut_off(number, last.title, file, "$$$$")
        yield last


def _record(number: int, lines: list[str], file: str) -> SDFRecord:
    title = lines[0].strip() if lines else ""
    ends = [i for i, line in enumerate(lines) if line.startswith("M  END")]
    if not ends:
        raise _cut_off(number, title, file, "M  END")
    tags: dict[str, str] = {}
    name = ""
    value: list[str] = []
    for line in [*lines[ends[0] + 1 :], ""]:
        found = _TAG.match(line)
        if found and not name:
            name, value = found[1], []
        elif name and line.strip():
            value.append(line.strip())
        elif name:
            tags[name], name = "\n".join(value), ""
    return SDFRecord(number, title, "\n".join(lines[: ends[0] + 1]) + "\n", tags, file)


def _cut_off(number: int, title: str, file: str, mark: str) -> InputError:
    return InputError(
        "the record is cut off",
        file=file,
        field=mark,
        entry=f"{number} ({title})" if title else str(number),
        remedy="download or write the file again",
    )

"""Files that a calculation leaves for other programs: which are asked for, and writing them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepchem_dft.cli.common import check_geometry_name, check_out, console
from deepchem_dft.errors import InputError


@dataclass
class Outputs:
    """What is to be written.

    Attributes
    ----------
    molden, xyz, orbitals : Path or None
    cubes : list of (str, Path)
        What, and where.
    """

    molden: Path | None = None
    xyz: Path | None = None
    orbitals: Path | None = None
    cubes: list[tuple[str, Path]] = field(default_factory=list)

    @classmethod
    def asked(
        cls, molden: Path | None, cube: list[str] | None, xyz: Path | None, orbitals: Path | None
    ) -> "Outputs":
        """Check what is asked for before anything is computed.

        Raises
        ------
        InputError
            For names that say nothing, and places that cannot be written to.
        """
        cubes = []
        if cube:
            from deepchem_dft.interop.formats import check_cube
        for text in cube or []:
            what, _, name = text.partition("=")
            if not name or not what:
                raise InputError(
                    f"{text[:60]!r} names no file",
                    field="cube",
                    remedy="write what and where: density=water.cube, homo=homo.cube",
                )
            check_cube(what)
            cubes.append((what, Path(name)))
        for path in (molden, xyz, orbitals, *(path for _, path in cubes)):
            check_out(path)
        if orbitals is not None and orbitals.suffix.lower() != ".npz":
            raise InputError(
                "orbitals are kept in .npz files",
                file=str(orbitals),
                field="write",
                remedy="end the name with .npz; for other programs there is --molden",
            )
        check_geometry_name(xyz, "xyz", (".xyz", ".extxyz"))
        return cls(molden, xyz, orbitals, cubes)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.molden or self.xyz or self.orbitals or self.cubes)

    def write(self, result: Any, say: bool = True) -> None:
        """Write everything of a converged result."""
        from deepchem_dft.files import write
        from deepchem_dft.interop.formats import extended_xyz, write_cube, write_molden
        from deepchem_dft.scf.state import write_orbitals

        if self.molden is not None:
            write_molden(self.molden, result)
        for what, path in self.cubes:
            write_cube(path, result, what)
        if self.xyz is not None:
            energy = float(result.energy.detach())
            write(self.xyz, extended_xyz(result.molecule, energy, result.forces().detach().cpu()))
        if self.orbitals is not None:
            write_orbitals(self.orbitals, result.molecule, result.state)
        for written in (self.molden, self.xyz, self.orbitals, *(path for _, path in self.cubes)):
            if written is not None and say:
                console().print(f"written: {written}", markup=False)

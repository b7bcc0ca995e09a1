"""Boards of thousands of reactions: the Gold-Standard Chemical Database 138."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepchem_dft.checks import choice
from deepchem_dft.data import DFTEntry
from deepchem_dft.data.boards import Board
from deepchem_dft.data.boards.totals import diet as diet_rows
from deepchem_dft.molnet.loader import DFTLoader, Loaded, passed_on
from deepchem_dft.molnet.location import BOARDS, datasets_dir


@lru_cache(maxsize=4)
def _opened(folder: Path) -> Board:
    return Board(folder)


def board(name: str = "gscdb138", data_dir: str | Path | None = None) -> Board:
    """Return a board by name: its rows, the published values of functionals, entries on demand.

    Parameters
    ----------
    name : {"gscdb138"}
    data_dir : path, optional
        Folder with another version of the board's folder.

    Raises
    ------
    InputError
        For an unknown name, or files that are missing or damaged.

    Examples
    --------
    >>> len(board().rows), board().functionals[5]
    (5478, 'wB97M-V')
    """
    folder = datasets_dir() if data_dir is None else Path(data_dir)
    return _opened(folder / choice(name.lower(), BOARDS, "dataset", "board"))


class _BoardLoader(DFTLoader):
    """MoleculeNet's loader for rows of a board."""

    def __init__(self, chosen: Board, rows: list[int], basis: Any, **arguments: Any) -> None:
        super().__init__(chosen.name, [f"{chosen.name}/reactions.csv"], list, **arguments)
        self.board, self.rows, self.basis = chosen, rows, basis

    def _entries(self) -> list[DFTEntry]:
        if not self.rows:
            raise self.nothing_left()
        return self.board.entries(self.rows, self.basis)


def load_gscdb138(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    sets: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    elements: Sequence[str] | None = None,
    min_heavy: int | None = None,
    max_heavy: int | None = None,
    diet: int | None = None,
    multireference: bool = True,
    basis: Any = None,
) -> Loaded:
    """Load reactions of the Gold-Standard Chemical Database 138 (5,478 rows, H to Kr).

    The published split keeps molecules apart, not rows: see ``datasets/gscdb138/README.md``. Rows that
    would tie two of its sides together are left out by it; ``splitter=None`` gives all of them.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir
        As in `load_w411`.
    sets : sequence of str, optional
        Keep these sets, such as ``["BH46", "S66"]``.
    types : sequence of str, optional
        Keep these types (TC, BH, I, NC, F, TM, SC) or kinds (AE, TAE, BDE, HAT, IP, EA, PA, SIE, RE).
    elements : sequence of str, optional
        Keep rows made of these elements only.
    min_heavy, max_heavy : int, optional
        Bounds on the most heavy atoms in any one system of a row.
    diet : {30, 100, 150}, optional
        Keep the rows that are in Gould's choice of so many reactions of GMTKN55.
    multireference : bool
        Whether to keep the sets that the authors mark as multireference.
    basis : str or mapping, optional
        Replaces the basis of all systems (mostly def2-QZVPPD in the file).

    Returns
    -------
    tasks, datasets, transformers
        As in `load_w411`.

    Raises
    ------
    InputError
        For unknown sets, types, choices, splitters, bases; if no row is left.

    References
    ----------
    J. Liang, M. Head-Gordon, J. Chem. Theory Comput. 21, 12601 (2025), doi 10.1021/acs.jctc.5c01380.

    Examples
    --------
    >>> tasks, (train, valid, test), _ = load_gscdb138(sets=["PA26"], basis="def2-svpd")
    >>> len(train), len(valid), len(test)
    (16, 2, 5)
    """
    arguments, chosen = locals(), board(data_dir=data_dir)
    names = None if diet is None else list(diet_rows(chosen, diet))
    rows = chosen.select(
        sets=sets,
        types=types,
        names=names,
        elements=elements,
        min_heavy=min_heavy,
        max_heavy=max_heavy,
        without=() if multireference else ("multireference",),
    )
    if isinstance(splitter, str) and splitter.lower() == "published":
        rows = [i for i in rows if chosen.rows[i].split is not None]
    return _BoardLoader(chosen, rows, basis, **passed_on(arguments)).load_dataset(reload=reload)

"""Random small molecules, ions, radicals and fragments, and functionals from LDA to hybrid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyscf.data.radii import COVALENT
from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.xc import NNPBE, HybridXC, build_network

ELEMENTS = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl")
WEIGHTS = np.array([12, 2, 5, 3, 4, 5, 5, 5, 4, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5], dtype=float)
MOLECULES = (  # Angstrom
    "O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692",
    "N 0 0 0.11; H 0 0.94 -0.27; H 0.81 -0.47 -0.27; H -0.81 -0.47 -0.27",
    "C 0 0 0; H 0 1.08 0; H 0.93 -0.54 0; H -0.93 -0.54 0",
    "C 0 0 0; O 0 0 1.21; H 0 0.94 -0.59; H 0 -0.94 -0.59",
    "C 0 0 0; H 0 0.86 -0.6; H 0 -0.86 -0.6",
    "H 0 0 0; C 0 0 1.07; N 0 0 2.22",
    "O 0 0 0; O 0 0 1.33; H 0 0.92 -0.27",
    "O 0 0 0; O 1.08 0.67 0; O -1.08 0.67 0",
    "N 0 0 0; H 0 0.8 -0.63; H 0 -0.8 -0.63",
    "O 0 0 0; H 0 0 0.97",
    "N 0 0 0; O 0 0 1.15",
    "C 0 0 0; O 0 0 1.13",
    "N 0 0 0; N 0 0 1.1",
    "O 0 0 0; O 0 0 1.21",
    "F 0 0 0; F 0 0 1.41",
    "Li 0 0 0; H 0 0 1.6",
    "Li 0 0 0; F 0 0 1.56",
    "B 0 0 0; H 0 0 1.23",
    "C 0 0 0; C 0 0 1.25",
)
#: Small enough for a second of one core each.
MOST_ELECTRONS = {"sto-3g": 15, "6-31g": 11, "def2-svp": 8}
NAMES = ("lda,pw", "pbe", "blyp", "tpss", "r2scan", "pbe0", "b3lyp")
ZOO = ("xcnn-lda", "xcnn-gga", "nn-mgga", "nn-hybrid")


@dataclass
class Case:
    """One calculation, reproducible from its numbers."""

    index: int
    kind: str
    geometry: str  # Bohr
    charge: int
    spin: int
    basis: str
    grid_level: int
    restricted: bool
    functional: str
    seed: int

    def molecule(self) -> Molecule:
        return Molecule(self.geometry, self.basis, self.charge, self.spin, grid_level=self.grid_level)


def make(index: int, seed: int) -> Case:
    """Draw a case; impossible ones are drawn again."""
    rng = np.random.default_rng([seed, index])
    while True:
        kind = str(
            rng.choice(
                ["atom", "pair", "stretched", "three", "molecule", "fragments"],
                p=[0.08, 0.27, 0.37, 0.18, 0.04, 0.06],
            )
        )
        geometry = GEOMETRIES[kind](rng)
        charge = int(rng.choice([0, 1, -1, 2], p=[0.66, 0.2, 0.09, 0.05]))
        electrons = sum(NUCLEAR_CHARGE[row.split()[0]] for row in geometry.split(";")) - charge
        spin = electrons % 2 + 2 * int(rng.random() < 0.2)
        restricted = spin == 0 and rng.random() < 0.5
        basis = str(rng.choice(["sto-3g", "6-31g", "def2-svp"], p=[0.85, 0.12, 0.03]))
        case = Case(
            index,
            kind,
            geometry,
            charge,
            spin,
            basis,
            int(rng.random() < 0.06),
            bool(restricted),
            random_functional(rng),
            int(rng.integers(2**31)),
        )
        if 0 < electrons <= MOST_ELECTRONS[basis]:
            try:
                case.molecule()
            except InputError:
                continue
            return case


def element(rng: np.random.Generator) -> str:
    return str(rng.choice(ELEMENTS, p=WEIGHTS / WEIGHTS.sum()))


def bond(rng: np.random.Generator, one: str, other: str) -> float:
    """Return a length (Bohr) from short to half broken."""
    return float((COVALENT[NUCLEAR_CHARGE[one]] + COVALENT[NUCLEAR_CHARGE[other]]) * rng.uniform(0.9, 1.5))


def atoms(symbols: list[str], positions: np.ndarray) -> str:
    return "; ".join(
        f"{s} " + " ".join(f"{x:.6f}" for x in row) for s, row in zip(symbols, positions, strict=True)
    )


def far(rng: np.random.Generator, least: float = 4.0) -> float:
    return float(np.exp(rng.uniform(math.log(least), math.log(60.0))))


def atom(rng: np.random.Generator) -> str:
    return f"{element(rng)} 0 0 0"


def pair(rng: np.random.Generator, stretched: bool = False) -> str:
    one = element(rng)
    other = one if rng.random() < 0.3 else element(rng)
    distance = far(rng) if stretched else bond(rng, one, other)
    return f"{one} 0 0 0; {other} 0 0 {distance:.6f}"


def three(rng: np.random.Generator) -> str:
    symbols = [element(rng) for _ in range(3)]
    lengths = [bond(rng, symbols[1], s) for s in (symbols[0], symbols[2])]
    if rng.random() < 0.4:
        lengths[rng.integers(2)] = far(rng)
    angle = math.pi if rng.random() < 0.3 else rng.uniform(1.2, math.pi)
    ends = [[lengths[0], 0, 0], [lengths[1] * math.cos(angle), lengths[1] * math.sin(angle), 0]]
    return atoms(symbols, np.array([ends[0], [0, 0, 0], ends[1]]))


def molecule(rng: np.random.Generator, wobble: float = 0.1) -> str:
    rows = [row.split() for row in str(rng.choice(MOLECULES)).split(";")]
    positions = np.array([row[1:] for row in rows], dtype=float) / 0.529177210903
    return atoms([r[0] for r in rows], positions + wobble * rng.standard_normal(positions.shape))


def fragments(rng: np.random.Generator) -> str:
    """Two small molecules, or one and an atom, apart."""
    parts = [molecule(rng), molecule(rng) if rng.random() < 0.3 else atom(rng)]
    rows = [[r.split() for r in part.split(";")] for part in parts]
    shift = np.array([0.0, 0.0, far(rng, 6.0) + 3.0])
    positions = [np.array([r[1:] for r in part], dtype=float) for part in rows]
    return atoms([r[0] for part in rows for r in part], np.concatenate([positions[0], positions[1] + shift]))


GEOMETRIES = {
    "atom": atom,
    "pair": pair,
    "stretched": lambda rng: pair(rng, True),
    "three": three,
    "molecule": molecule,
    "fragments": fragments,
}


def random_functional(rng: np.random.Generator) -> str:
    """Draw a kind: a name, ``zoo:NAME``, or ``network PARENT SIZE FORM``."""
    draw = rng.random()
    if draw < 0.2:
        return str(rng.choice(NAMES))
    if draw < 0.4:
        return f"zoo:{rng.choice(ZOO, p=[0.4, 0.35, 0.15, 0.1])}"
    parent = str(rng.choice(["lda_x", "lda,pw", "pbe", "nothing", "r2scan", "pbe0", "b3lyp"]))
    size = str(rng.choice(["4", "8x8", "16x16x16"]))
    # Raw meta-GGAs have no ground state to speak of: alpha reaches 1e6 where the density fades.
    forms = ["bounded"] if parent == "r2scan" else ["raw", "bounded"]
    return f"network {parent} {size} {rng.choice(forms)}"


def functional(case: Case) -> Any:
    """Return the functional of a case, its random weights those of the case's seed."""
    if not case.functional.startswith("network"):
        return case.functional
    _, parent, size, form = case.functional.split()
    hidden = [int(n) for n in size.split("x")]
    family = {"lda_x": "lda", "lda,pw": "lda", "r2scan": "mgga"}.get(parent, "gga")
    if form == "bounded":
        network = build_network(
            family=family,
            hidden=hidden,
            output="lda_exchange",
            max_output=0.2,
            zero_last=False,
            seed=case.seed % 1000,
        )
    else:  # DeepChem's kind, on raw inputs with PyTorch's own initialisation
        torch.manual_seed(case.seed)
        layers: list[nn.Module] = []
        inputs = {"lda": 2, "gga": 3, "mgga": 4}[family]
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.Softplus()]
            inputs = width
        network = nn.Sequential(*layers, nn.Linear(inputs, 1, bias=False)).double()
    if parent == "nothing":
        return NNPBE(network)
    return HybridXC(parent, network, aweight0=1.0 if form == "raw" else 0.5)

"""Make this folder's tables of three plain tables of the Gold-Standard Chemical Database 138.

    python datasets/gscdb138/make.py TABLES

TABLES is a folder with three files, all of it as the database publishes it: ``systems.jsonl.gz`` (name,
charge, spin = 2S, symbols, positions in Angstrom, basis), ``reactions.csv`` (name, set, type,
reference_hartree, coefficients as JSON by system) and ``functionals.csv.gz`` (name, and a column of reaction
energies in kcal/mol for each functional). What is written, and how the split is chosen, is described in
``README.md`` beside this file.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
KCAL = 627.5094740631
#: Places behind the point that positions (Angstrom) and published values (kcal/mol) are kept with.
POSITION, ERROR = 1e8, 1e5
KINDS = {
    "AE": ("AE11", "AE18"),
    "TAE": ("TAE_W4-17nonMR", "TAE_W4-17MR", "AlkAtom19", "PlatonicTAE6", "MX34"),
    "BDE": ("BDE99nonMR", "BDE99MR", "ALKBDE10", "YBDE18", "HNBrBDE18"),
    "HAT": ("HAT707nonMR", "HAT707MR"),
    "IP": ("G21IP", "IP23", "IP30", "DIPCS9", "3d4dIPSS"),
    "EA": ("G21EA", "EA50"),
    "PA": ("PA26",),
    "SIE": ("SIE4x4",),
}
#: The ionisation energy of hydrogen is 313.8 kcal/mol, not 314.9.
SUSPECT = ("G21IP_1",)
KIND_OF_SET = {name: kind for kind, sets in KINDS.items() for name in sets}
#: Rows of these kinds are whole on one side of the split, or on none.
BONDS = ("TAE", "BDE", "HAT", "BH")
SHARES = {"train": 0.70, "valid": 0.10, "test": 0.20}
#: Every second hydrogen transfer joins four molecules: of these, fewer can be whole on the smaller sides.
OWN_SHARES = {"HAT": {"valid": 0.04, "test": 0.10}}
HEAD = """\
# Gold-Standard Chemical Database 138: reference energies of {rows:,} reactions of {systems:,} systems.
# J. Liang, M. Head-Gordon, J. Chem. Theory Comput. 21, 12601 (2025), doi 10.1021/acs.jctc.5c01380; CC BY 4.0.
# reference  Hartree, = sum of coefficient x total energy over the members
# members    number:coefficient, numbers of systems in gscdb138.npz; e- and H+ have energy 0
# split      train, valid, test, or empty for rows that would tie two of them together
# flags      multireference; suspect; w4-11-test: bond energies and barriers with a molecule (by sum formula)
#            of the test set of w4-11.yaml
# Everything else is in README.md.
"""


def formula(symbols: list[str]) -> str:
    """Return the sum formula, elements in alphabetical order."""
    return "".join(f"{s}{n}" for s, n in sorted(Counter(symbols).items()))


def heavy(symbols: list[str]) -> int:
    """Return the number of atoms other than hydrogen."""
    return sum(s != "H" for s in symbols)


def kind_of(row: dict, systems: dict) -> str:
    """Return what a reaction is: finer than its type, as results are told by it."""
    if row["set"] == "P34":  # dimers of p elements, their ions, and their atoms
        charges = [systems[n]["charge"] for n in row["members"]]
        return "IP" if max(charges) > 0 else "EA" if min(charges) < 0 else "TAE"
    return KIND_OF_SET.get(row["set"]) or {"TC": "RE", "?": "SC"}.get(row["type"], row["type"])


def released(row: dict, systems: dict) -> dict[str, int]:
    """Return the electrons and protons that balance a reaction."""
    atoms: Counter[str] = Counter()
    charge = 0.0
    for name, c in row["members"].items():
        charge += c * systems[name]["charge"]
        for symbol in systems[name]["symbols"]:
            atoms[symbol] += c
    surplus = {s: n for s, n in atoms.items() if n}
    if row["kind"] == "AE":
        return {}
    if set(surplus) - {"H"}:
        raise SystemExit(f"{row['name']} is not balanced: {surplus}")
    protons = -surplus.get("H", 0)
    bare = {"H+": round(protons), "e-": round(charge + protons)}
    return {name: n for name, n in bare.items() if n}


def tested_elsewhere() -> set[str]:
    """Return the sum formulas of the molecules that ``w4-11.yaml`` tests on."""
    with open(HERE.parent / "w4-11.yaml", encoding="utf-8") as file:
        content = yaml.safe_load(file)
    chosen = [e["molecule"] for e in content["entries"] if e["split"] == "test"]
    texts = [content["systems"][name] for name in chosen]
    geometries = [text["geometry"] if isinstance(text, dict) else text for text in texts]
    return {formula([line.split()[0] for line in g.replace(";", "\n").splitlines()]) for g in geometries}


def flags(row: dict, systems: dict, tested: set[str]) -> str:
    """Return what there is to say of a row."""
    found = ["multireference"] if row["set"].endswith("MR") and not row["set"].endswith("nonMR") else []
    if row["name"] in SUSPECT:
        found.append("suspect")
    known = {formula(systems[n]["symbols"]) for n in row["members"]}
    if row["kind"] in BONDS and known & tested:
        found.append("w4-11-test")
    return " ".join(found)


class Splitter:
    """Sum formulas to train, valid and test, so that few rows are torn and every kind has its share."""

    def __init__(self, rows: list[dict], systems: dict) -> None:
        self.rows = rows
        for row in rows:
            sizes = {n: systems[n]["symbols"] for n in row["members"]}
            largest = formula(max(sizes.values(), key=lambda s: (heavy(s), len(s), formula(s))))
            several = sorted({formula(s) for s in sizes.values() if heavy(s) > 1})
            whole = row["kind"] in (*BONDS, "RE") and bool(several)
            row["formulas"] = several if whole else [largest]
        self.formulas = sorted({f for row in rows for f in row["formulas"]})
        self.holders: dict[str, list[int]] = {f: [] for f in self.formulas}
        for i, row in enumerate(rows):
            for f in row["formulas"]:
                self.holders[f].append(i)
        self.side: dict[str, str] = {}
        self.size = Counter(row["kind"] for row in rows)

    def of(self, row: dict) -> str:
        """Return the side of a row, or an empty text."""
        sides = {self.side[f] for f in row["formulas"]}
        if row["kind"] == "SC":
            return ""
        if row["kind"] == "RE":  # one molecule that is new is enough; none is in train
            return "test" if "test" in sides else "valid" if "valid" in sides else "train"
        return sides.pop() if len(sides) == 1 else ""

    def cost(self, counts: Counter) -> float:
        """Return the number of torn rows and of those that a kind has too many or too few on a side."""
        total = 0.0
        for kind, n in self.size.items():
            wanted = OWN_SHARES.get(kind, SHARES)
            missing = abs(counts[kind, "valid"] - wanted["valid"] * n)
            missing += 2 * abs(counts[kind, "test"] - wanted["test"] * n)
            total += (0.3 if kind == "HAT" else 1.0) * counts[kind, ""] + 2.0 * missing
        return total

    def choose(self, rounds: int = 120_000, seed: int = 138) -> None:
        """Anneal; the same seed gives the same split."""
        dice = random.Random(seed)
        self.side = {f: dice.choices(list(SHARES), list(SHARES.values()))[0] for f in self.formulas}
        sides = [self.of(row) for row in self.rows]
        counts: Counter = Counter((row["kind"], side) for row, side in zip(self.rows, sides))
        cost = self.cost(counts)
        for step in range(rounds):
            heat = 3.0 * (1 - step / rounds) ** 2 + 1e-9
            f = dice.choice(self.formulas)
            before, old = self.side[f], {i: sides[i] for i in self.holders[f]}
            self.side[f] = dice.choice([s for s in SHARES if s != before])
            for i in old:
                counts[self.rows[i]["kind"], sides[i]] -= 1
                sides[i] = self.of(self.rows[i])
                counts[self.rows[i]["kind"], sides[i]] += 1
            new = self.cost(counts)
            if new <= cost or dice.random() < np.exp((cost - new) / heat):
                cost = new
                continue
            self.side[f] = before
            for i, side in old.items():
                counts[self.rows[i]["kind"], sides[i]] -= 1
                sides[i] = side
                counts[self.rows[i]["kind"], side] += 1


def read(tables: Path) -> tuple[list[dict], dict[str, dict], dict[str, dict]]:
    """Return reactions, systems by name, and published values by reaction."""
    with gzip.open(tables / "systems.jsonl.gz", "rt", encoding="utf-8") as file:
        systems = {one["name"]: one for one in map(json.loads, file)}
    with open(tables / "reactions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with gzip.open(tables / "functionals.csv.gz", "rt", encoding="utf-8", newline="") as file:
        values = {row.pop("name"): row for row in csv.DictReader(file)}
    for row in rows:
        row["members"] = {n: int(c) for n, c in json.loads(row["coefficients"]).items()}
        row["kind"] = kind_of(row, systems)
        row["type"] = row["type"].replace("?", "SC")
        row["bare"] = released(row, systems)
    return rows, systems, values


#: Names of functionals as they are written elsewhere.
NAMES = {
    "M062X": "M06-2X",
    "SOGGA11X": "SOGGA11-X",
    "MGGA_MS2h": "MS2h",
    "CAMB3LYP": "CAM-B3LYP",
    "M052X": "M05-2X",
    "M08HX": "M08-HX",
}


def basis_of(system: dict) -> str:
    """Return a basis that libraries know: a name, or JSON of a name per element."""
    name = system["basis"].lower().replace("gen", "def2-qzvppd")  # the authors' own basis of Ca and Kr
    if name == "aug-cc-pcv5z" and set(system["symbols"]) <= {"H", "He"}:
        return "aug-cc-pv5z"  # without a core there is nothing to add for it
    if name == "d-aug-cc-pv5z" and {"Ar", "Kr"} & set(system["symbols"]):
        return json.dumps({"Ar": "aug-cc-pv5z", "Kr": "aug-cc-pv5z", "default": name})
    return name


def main(tables: Path) -> None:
    """Read the tables and write this folder's."""
    rows, systems, values = read(tables)
    splitter = Splitter(rows, systems)
    splitter.choose()
    order = {name: i for i, name in enumerate(systems)}
    tested = tested_elsewhere()
    lines = ["name,set,type,kind,reference,split,flags,members"]
    for row in rows:
        members = [f"{order[n]}:{c}" for n, c in row["members"].items()]
        members += [f"{n}:{c}" for n, c in row["bare"].items()]
        reference = repr(round(float(row["reference_hartree"]), 12))
        cells = (row["name"], row["set"], row["type"], row["kind"], reference, splitter.of(row))
        cells = (*cells, flags(row, systems, tested))
        lines.append(",".join([*cells, " ".join(members)]))
    text = HEAD.format(rows=len(rows), systems=len(systems)) + "\n".join(lines) + "\n"
    (HERE / "reactions.csv").write_text(text, encoding="utf-8")
    functionals = list(next(iter(values.values())))
    references = np.array([float(row["reference_hartree"]) * KCAL for row in rows])
    published = np.array([[float(values[row["name"]][f]) for f in functionals] for row in rows])
    symbols = [s for one in systems.values() for s in one["symbols"]]
    elements = sorted(set(symbols))
    basis = [basis_of(one) for one in systems.values()]
    bases = sorted(set(basis))
    np.savez_compressed(
        HERE / "gscdb138.npz",
        names=np.array(list(systems)),
        charges=np.array([one["charge"] for one in systems.values()], dtype=np.int8),
        spins=np.array([one["spin"] for one in systems.values()], dtype=np.int8),
        bases=np.array(bases),
        basis=np.array([bases.index(name) for name in basis], dtype=np.uint8),
        elements=np.array(elements),
        atoms=np.array([elements.index(s) for s in symbols], dtype=np.uint8),
        ends=np.cumsum([len(one["symbols"]) for one in systems.values()]).astype(np.int32),
        positions=np.rint(
            np.concatenate([np.array(one["positions"]).reshape(-1, 3) for one in systems.values()]) * POSITION
        ).astype(np.int64),
        functionals=np.array([NAMES.get(f, f) for f in functionals]),
        errors=np.rint((published - references[:, None]) * ERROR).astype(np.int32),
    )
    for kind, n in splitter.size.items():
        sides = Counter(splitter.of(row) for row in rows if row["kind"] == kind)
        print(
            f"{kind:4} {n:5}", *(f"{side or 'none'} {sides[side]}" for side in ("train", "valid", "test", ""))
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

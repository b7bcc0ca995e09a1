"""Every kind of bad input gives one error naming file, entry, field and remedy."""

import re

import pytest

from deepchem_dft.data import DFTYamlLoader, check, read_yaml
from deepchem_dft.errors import InputError

# -- DeepChem's schema: one good entry, and what may be wrong with it ---------------------------

H = "{moldesc: H 0 0 0, basis: sto-3g, spin: 1}"
H2 = "{moldesc: H 0 0 0; H 0 0 1.4, basis: sto-3g}"
TWO_H = "{moldesc: H 0 0 0, basis: sto-3g, spin: 1, number: 2}"
GOOD = f"- {{e_type: ae, true_val: 0.17, systems: [{H2}, {TWO_H}]}}\n"


def ie(system: str, value: str = "0.5", extra: str = "") -> str:
    return f"- {{e_type: ie, true_val: {value}, systems: [{system}]{extra}}}\n"


def one(e_type: str, value: str, *systems: str) -> str:
    return f"- {{e_type: {e_type}, true_val: {value}, systems: [{', '.join(systems)}]}}"


def h(old: str, new: str) -> str:
    """An ionisation energy of a hydrogen atom that is described wrongly."""
    return ie(H.replace(old, new))


DEEPCHEM_CASES = {
    # what is wrong: (text, field (of the first system: .spin), part of the problem, part of the remedy)
    "unknown type": (GOOD.replace("ae", "ea_"), "e_type", "'ea_'", "ae"),
    "misspelt type": (GOOD.replace("e_type: ae", "e_type: den"), "e_type", "'den'", "did you mean 'dens'"),
    "type of ours": (GOOD.replace("ae", "reaction"), "e_type", "'reaction'", "deepchem_dft/1"),
    "no type": (GOOD.replace("e_type: ae, ", ""), "e_type", "missing", "ae"),
    "type is a list": (GOOD.replace("ae", "[ae]"), "e_type", "['ae']", "ae"),
    "no value": (GOOD.replace("true_val: 0.17, ", ""), "true_val", "missing", "Hartree"),
    "null value": (ie(H, "null"), "true_val", "missing", "Hartree"),
    "text for value": (ie(H, "two"), "true_val", "'two'", "Hartree"),
    "true for value": (ie(H, "true"), "true_val", "True", "Hartree"),
    "list for value": (ie(H, "[0.5]"), "true_val", "[0.5]", "Hartree"),
    "nan": (ie(H, ".nan"), "true_val", "nan", "Hartree"),
    "quoted nan": (ie(H, "'nan'"), "true_val", "nan", "Hartree"),
    "inf": (ie(H, "-.inf"), "true_val", "inf", "Hartree"),
    "overflow": (ie(H, "1e999"), "true_val", "inf", "Hartree"),
    "unknown unit": (ie(H, "13.6 volt"), "true_val", "volt", "kcal/mol"),
    "misspelt key": (ie(H, extra=", wieght: 2"), "wieght", "wieght", "did you mean 'weight'"),
    "misspelt system key": (h("basis", "bassis"), ".bassis", "bassis", "did you mean 'basis'"),
    "number as key": (ie(H, extra=", 3: 2"), "3", "3", "known keys"),
    "text for weight": (ie(H, extra=", weight: heavy"), "weight", "'heavy'", "number"),
    "negative weight": (ie(H, extra=", weight: -1"), "weight", "-1", "at least 0"),
    "no systems": ("- {e_type: ie, true_val: 0.5}", "systems", "missing", "list"),
    "empty systems": (ie(""), "systems", "empty", "at least one"),
    "systems is a mapping": (f"- {{e_type: ie, true_val: 0.5, systems: {H}}}", "systems", "list", "list"),
    "system is a number": (ie("7"), "systems[0]", "7", "key: value"),
    "no basis": (ie("{moldesc: H 0 0 0, spin: 1}"), ".basis", "missing", "def2-tzvp"),
    "no moldesc": (ie("{basis: sto-3g, spin: 1}"), ".moldesc", "missing", "atoms"),
    "basis is a number": (h("sto-3g", "631"), ".basis", "631", "name"),
    "unknown basis": (h("sto-3g", "def2-tzvpx"), ".basis", "'def2-tzvpx'", "did you mean def2-tzvp"),
    "element not in basis": (
        ie("{moldesc: He 0 0 0, basis: '6-311++G(3df,3pd)'}"),
        ".basis",
        "He",
        "choose another",
    ),
    "unknown element": (h("H 0", "Hh 0"), ".moldesc", "'Hh'", "did you mean"),
    "ghost atom": (h("H 0 0 0", "H 0 0 0; ghost-H 0 0 2"), ".moldesc", "ghost", "remove"),
    "too few coordinates": (h("0 0 0", "0 0"), ".moldesc", "3 items", "O 0.0 0.0"),
    "coordinate is text": (h("0 0 0", "0 0 x"), ".moldesc", "'x'", "O 0.0 0.0"),
    "coordinate is nan": (h("0 0 0", "0 0 nan"), ".moldesc", "'nan'", "O 0.0 0.0"),
    "coordinate is huge": (h("0 0 0", "0 0 1e300"), ".moldesc", "finite", "O 0.0 0.0"),
    "empty geometry": (h("H 0 0 0", "''"), ".moldesc", "empty", "O 0.0 0.0"),
    "coincident atoms": (
        ie(H.replace("0 0 0", "0 0 0; H 0 0 0.05").replace("spin: 1", "spin: 0")),
        ".moldesc",
        "coincide",
        "unit",
    ),
    "wrong parity": (
        ie(H.replace("spin: 1", "spin: 2").replace("H 0", "Li 0")),
        ".spin",
        "3 electrons",
        "odd here (1, 3",
    ),
    "spin left out": (h(", spin: 1", ""), ".spin", "cannot have spin 0", "odd"),
    "impossible spin": (h("spin: 1", "spin: 3"), ".spin", "more unpaired electrons", "2S"),
    "negative spin": (h("spin: 1", "spin: -1"), ".spin", "negative", "2S"),
    "spin is true": (h("spin: 1", "spin: true"), ".spin", "True", "number"),
    "charge too large": (h("spin: 1", "charge: 2"), ".charge", "larger than the nuclear charge", "below"),
    "no electrons": (h("spin: 1", "charge: 1"), ".charge", "no electrons", "zero"),
    "more electrons than orbitals": (
        h("spin: 1", "charge: -3, spin: 0"),
        ".basis",
        "do not fit",
        "larger basis",
    ),
    "number is zero": (h("spin: 1", "spin: 1, number: 0"), ".number", "0", "1, 2"),
    "unbalanced": (one("ae", "0.17", H2, H), "systems", "1 H missing", "number"),
    "ae without atoms": (one("ae", "0.17", H2), "systems", "not balanced", "add the missing"),
    "two systems in dm": (one("dm", "ccsd", H2, H2), "systems", "exactly one", "one entry per system"),
    "no such target": (one("dm", "gone.npy", H2), "true_val", "no file 'gone.npy'", "put it in"),
    "misspelt ccsd": (one("dm", "cscd", H2), "true_val", "no file", "did you mean 'ccsd'"),
    "number as target": (one("dens", "3", H2), "true_val", "int", ".npz"),
    "wrong grid": (ie(H, extra=", grid: pyscf"), "grid", "'pyscf'", "dqc"),
    "wrong order": (ie(H, extra=", ao_order: psi4"), "ao_order", "'psi4'", "pyscf"),
    "entry is text": ("- hello\n- world\n", None, "'hello'", "key: value"),
    "entry is null": ("- null\n", None, "None", "key: value"),
}


def expect(path, field, problem, remedy, entry):
    """Check that Python and ``check`` give the same single, complete error."""
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    error = caught.value
    text = str(error)
    assert error.file == path and path in text
    assert entry is None or (error.entry is not None and entry in error.entry), error.entry
    if field is not None:
        assert error.field == field, (error.field, text)
    assert problem in error.problem, text
    assert error.remedy and remedy in error.remedy, text
    problems = check(path)
    assert [str(p) for p in problems][:1] == [text]
    with pytest.raises(InputError, match=re.escape(error.problem)):
        DFTYamlLoader().create_dataset(path)
    return problems


@pytest.mark.parametrize("case", DEEPCHEM_CASES)
def test_deepchem_schema(write, case):
    text, field, problem, remedy = DEEPCHEM_CASES[case]
    field = f"systems[0]{field}" if field and field.startswith(".") else field
    if not text.startswith("- hello") and not text.startswith("- null"):
        text = GOOD + text  # the error must name the second entry
        problems = expect(write(text), field, problem, remedy, "2")
        assert len(problems) == 1
    else:
        expect(write(text), field, problem, remedy, "1")


# -- xcnn ------------------------------------------------------------------------------------

XCNN = """
- name: water
  type: ae
  cmd: CMD
  true_val: 0.37
  systems:
  - {type: mol, kwargs: {moldesc: O 0 0 0; H 0 1.4 1.1; H 0 -1.4 1.1, basis: sto-3g}}
  - {type: mol, kwargs: {moldesc: O 0 0 0, basis: sto-3g, spin: 2}}
  - {type: mol, kwargs: {moldesc: H 0 0 0, basis: sto-3g, spin: 1}}
"""
CMD = "energy(systems[1]) + 2 * energy(systems[2]) - energy(systems[0])"
XCNN_CASES = {
    "code": ("__import__('os').system('true')", "no place"),
    "code in an index": ("energy(systems[__import__('os')])", "not the energy"),
    "attribute": ("systems.__class__", "no place"),
    "power": ("energy(systems[0]) ** 2", "no place"),
    "product of energies": ("energy(systems[0]) * energy(systems[1])", "no place"),
    "division by energy": ("1 / energy(systems[0])", "no place"),
    "division by zero": ("energy(systems[0]) / 0", "cannot read"),
    "syntax": ("energy(systems[1]) +", "cannot read"),
    "other function": ("dens(systems[0])", "no place"),
    "keyword": ("energy(systems=systems[0])", "no place"),
    "no such system": (CMD.replace("[2]", "[3]"), "no systems[3]"),
    "negative index": (CMD.replace("[2]", "[-1]"), "not the energy"),
    "unused": ("energy(systems[1]) - energy(systems[0])", "systems[2]"),
    "cancelled": (CMD + " - 2 * energy(systems[2])", "systems[2]"),
    "bare number": (CMD + " + 1", "bare number"),
    "unbalanced": (CMD.replace("2 *", "3 *"), "not balanced"),
    "huge": (CMD.replace("2 *", "1e400 *"), "not finite"),
    "long": ("+".join([CMD] * 200), "not a command"),
    "nested": ("(" * 400 + CMD + ")" * 400, "cannot read"),
    "a lambda": ("(lambda: energy(systems[0]))()", "no place"),
}


@pytest.mark.parametrize("case", XCNN_CASES)
def test_xcnn_commands_are_parsed_not_run(write, case):
    cmd, problem = XCNN_CASES[case]
    quoted = cmd.replace("'", "''")
    problems = expect(write(XCNN.replace("CMD", f"'{quoted}'")), "cmd", problem, "", "1 (water)")
    assert len(problems) == 1


def test_xcnn_commands_that_are_right(write):
    for cmd in (
        CMD,
        f"-(energy(systems[0]) - energy(systems[1])) + energy(systems[2])/{0.5}",
        "(2*energy(systems[1]) + 4*energy(systems[2]) - 2*energy(systems[0])) / 2",
    ):
        (entry,) = read_yaml(write(XCNN.replace("CMD", f"'{cmd}'")))
        assert entry.coefficients == [-1, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ("type: ae", "type: force", "type", "'force'"),
        ("cmd: CMD", "weight: 1", "cmd", "missing"),
        ("true_val: 0.37", "weight: 1", "true_val", "missing"),
        ("kwargs: {moldesc: H", "kwarg: {moldesc: H", "systems[2].kwarg", "kwarg"),
        ("{type: mol, kwargs: {moldesc: H", "{type: sol, kwargs: {moldesc: H", "systems[2].type", "'sol'"),
        ("spin: 1}", "spin: 0}", "systems[2].spin", "spin 0"),
        ("spin: 1}", "spin: 1, number: 2}", "systems[2].number", "not part"),
        ("name: water", "nmae: water", "nmae", "nmae"),
    ],
)
def test_xcnn_fields(write, old, new, field, problem):
    text = XCNN.replace(old, new).replace("CMD", CMD)
    expect(write(text), field, problem, "", "1")


# -- our own schema ---------------------------------------------------------------------------

HEAD = """
format: deepchem_dft/1
defaults: {basis: sto-3g}
systems:
  h2o: {geometry: O 0 0 0; H 0 1.4 1.1; H 0 -1.4 1.1}
  oh-: {geometry: O 0 0 0; H 0 0 1.8, charge: -1}
  oh: {geometry: O 0 0 0; H 0 0 1.8, spin: 1}
  o2: {geometry: O 0 0 0; O 0 0 2.28, spin: 2}
  Na+: {geometry: Na 0 0 0, charge: 1, spin: 0}
entries:
- {name: good, type: energy, value: -75, molecule: h2o}
"""
WATER, REACTION = "type: ae, value: 0.37", "type: reaction, value: 1, "
ENERGY = "type: energy, value: 1, molecule: h2o, "
NATIVE_CASES = {
    "no type": ("value: 1, molecule: h2o", "type", "missing", "ae"),
    "misspelt type": ("type: reactoin, value: 1", "type", "'reactoin'", "did you mean 'reaction'"),
    "no value": ("type: energy, molecule: h2o", "value", "missing", "232.6 kcal/mol"),
    "text for value": ("type: energy, value: x, molecule: h2o", "value", "'x'", "kcal/mol"),
    "DeepChem's key": (
        "type: energy, true_val: 1, molecule: h2o",
        "true_val",
        "true_val",
        "did you mean 'value'",
    ),
    "unknown system": (
        f"{WATER}, systems: [h20, O, {{system: H, number: 2}}]",
        "systems[0]",
        "'h20'",
        "did you mean 'h2o'",
    ),
    "heavy element": (f"{WATER}, systems: [h2o, Os]", "systems[1]", "'Os'", ""),
    "unbalanced": (f"{WATER}, systems: [h2o, O, H]", "systems", "1 H missing", "number"),
    "charge unbalanced": (
        "type: ae, value: 0.17, systems: [oh-, O, H]",
        "systems",
        "charges are not balanced",
        "ion",
    ),
    "no molecule": (f"{WATER}, systems: [O, H]", "systems", "0 molecules", "molecule"),
    "two molecules": (f"{WATER}, systems: [h2o, oh, H]", "systems", "2 molecules", "reaction"),
    "auto for ion": (f"{WATER}, molecule: oh-, atoms: auto", "atoms", "ion", "list"),
    "auto for atom": (f"{WATER}, molecule: O, atoms: auto", "molecule", "atom", "molecule"),
    "atoms misspelt": (f"{WATER}, molecule: h2o, atoms: atuo", "atoms", "'atuo'", "auto"),
    "no atoms": (f"{WATER}, molecule: h2o", "atoms", "missing", "auto"),
    "systems twice": (f"{WATER}, molecule: h2o, systems: [h2o]", "molecule", "given", "molecule"),
    "wrong role": (f"{WATER}, cation: h2o", "cation", "'cation'", "molecule"),
    "nothing": (WATER, "systems", "missing", "systems"),
    "two energies": ("type: energy, value: 1, systems: [O, O]", "systems", "exactly one", "reaction"),
    "cation is neutral": ("type: ie, value: 0.2, neutral: Na, cation: Na", "cation", "+0", "+1"),
    "cation first": ("type: ie, value: 0.2, neutral: Na+, cation: Na", "cation", "+1", "+2"),
    "anion for ie": ("type: ie, value: 0.1, systems: [oh, oh-]", "systems", "-1 and +0", "type: ea"),
    "cation for ea": ("type: ea, value: 0.1, systems: [Na, Na+]", "systems", "+0 and +1", "type: ie"),
    "different atoms": ("type: ie, value: 0.1, systems: [Na+, oh]", "systems", "not balanced", ""),
    "one system of many electrons": (
        "type: ie, value: 0.1, neutral: Na",
        "systems",
        "needs two systems",
        "cation",
    ),
    "no neutral": ("type: ie, value: 0.1, cation: Na+", "neutral", "missing", "neutral"),
    "reaction without coefficients": (REACTION + "systems: [h2o]", "coefficients", "missing", "product"),
    "reaction unbalanced": (
        REACTION + "coefficients: {h2o: 1, oh: -1}",
        "coefficients",
        "1 H too many",
        "missing one",
    ),
    "reaction charge": (REACTION + "coefficients: {oh: 1, oh-: -1}", "coefficients", "charges", "ion"),
    "zero coefficient": (REACTION + "coefficients: {h2o: 0}", "coefficients.h2o", "0", "leave"),
    "text coefficient": (REACTION + "coefficients: {h2o: x}", "coefficients.h2o", "'x'", "number"),
    "coefficients is a list": (REACTION + "coefficients: [1]", "coefficients", "[1]", "product"),
    "too few coefficients": (
        REACTION + "systems: [h2o, oh], coefficients: [1]",
        "coefficients",
        "1 coefficients for 2",
        "one per",
    ),
    "unknown split": (ENERGY + "split: trian", "split", "'trian'", "did you mean 'train'"),
    "tags is a list": (ENERGY + "tags: [a]", "tags", "['a']", "name: value"),
    "nested tags": (ENERGY + "tags: {a: {b: 1}}", "tags.'a'", "b", "numbers"),
    "name is a list": ("name: [a], type: energy, value: 1, molecule: h2o", "name", "['a']", "text"),
    "grid level": ("type: dens, value: ccsd, molecule: h2o, grid_level: 12", "grid_level", "12", "0"),
    "tolerance": ("type: dm, value: ccsd, molecule: h2o, tolerance: -1", "tolerance", "-1", ""),
    "inline system": (
        "type: energy, value: 1, systems: [{geometry: O 0 0 0, spin: 1}]",
        "systems[0].spin",
        "spin 1",
        "even",
    ),
    "number in reference": (
        f"{WATER}, systems: [h2o, O, {{system: H, number: -2}}]",
        "systems[2].number",
        "-2",
        "1, 2",
    ),
    "key in reference": (
        f"{WATER}, systems: [h2o, O, {{system: H, nubmer: 2}}]",
        "systems[2].nubmer",
        "nubmer",
        "did you mean 'number'",
    ),
    "system is null": (
        "type: energy, value: 1, molecule: {system: null}",
        "molecule.system",
        "None",
        "name a system",
    ),
    "atomic ion without spin": (
        "type: energy, value: 1, systems: [{geometry: N 0 0 0, charge: 1}]",
        "systems[0].spin",
        "missing",
        "2S",
    ),
}


@pytest.mark.parametrize("case", NATIVE_CASES)
def test_native_schema(write, case):
    body, field, problem, remedy = NATIVE_CASES[case]
    name = "" if body.startswith("name:") else "name: bad, "
    label = "2" if body.startswith("name:") else "2 (bad)"
    problems = expect(write(HEAD + f"- {{{name}{body}}}\n"), field, problem, remedy, label)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("old", "new", "field", "problem", "remedy"),
    [
        ("deepchem_dft/1", "deepchem_dft/7", "format", "unknown format", "deepchem_dft/1"),
        ("format: deepchem_dft/1", "name: x", "format", "missing", "deepchem_dft/1"),
        ("basis: sto-3g", "baisis: sto-3g", "defaults.baisis", "baisis", "did you mean 'basis'"),
        ("basis: sto-3g", "basis: sto-3g, unit: parsec", "defaults.unit", "'parsec'", "bohr"),
        ("basis: sto-3g", "basis: sto-3g, energy_unit: cal", "defaults.energy_unit", "'cal'", ""),
        ("basis: sto-3g", "weight: 1", "systems.h2o.basis", "missing", "def2-tzvp"),
        ("spin: 2", "spin: 3", "systems.o2.spin", "spin 3", "even"),
        ("{geometry: O 0 0 0; H 0 0 1.8, spin: 1}", "[1]", "systems.oh", "[1]", "key: value"),
        ("entries:", "entires:", "entires", "entires", "did you mean 'entries'"),
        ("- {name: good", "  {name: good", "entries", "must be a list", "list"),
    ],
)
def test_native_head(write, old, new, field, problem, remedy):
    assert old in HEAD
    path = write(HEAD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        problems = check(path)
        assert len(problems) == 1
        raise problems[0]
    error = caught.value
    assert (error.file, error.field) == (path, field)
    assert problem in error.problem and remedy in error.remedy


def test_duplicate_names(write):
    text = HEAD + "- {name: good, type: energy, value: -75, molecule: h2o}\n"
    (problem,) = expect(write(text), "name", "same name", "name of its own", "2 (good)")
    assert "entry 1" in problem.problem

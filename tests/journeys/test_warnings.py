"""Every warning is there for an input that deserves it, and for none of the data sets' systems."""

import warnings

import pytest

TINY = ("--basis", "sto-3g", "--grid-level", "0", "-q")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("N 0 0 0; N 0 0 2.1", "--spin", "6", "--xc", "pbe"), "an empty orbital lies"),
        (("H 0 0 0; H 0 0 0.6", "--xc", "pbe"), "0.51 of the sum of their covalent radii"),
        (("O 0 0 0; H 0 0 1.8", "--charge", "-1", "--xc", "pbe"), "an anion in sto-3g, which has no diffuse"),
        (("Na 0 0 0", "--spin", "1", "--xc", "zoo:xcnn-lda"), "zoo:xcnn-lda was not trained on Na"),
        (("He 0 0 0", "--xc", "zoo:nn-mgga"), "zoo:nn-mgga was trained in def2-qzvp, not in sto-3g"),
    ],
)
def test_a_warning_that_is_deserved(command, arguments, said):
    outcome = command("scf", *arguments, *TINY)
    assert outcome.status == 0 and said in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("atom", "spin", "charge", "warned"),
    [("Cl", 1, 0, False), ("C", 2, 0, False), ("Ar", 1, 1, False), ("C", 0, 0, True), ("S", 0, 0, True)],
)
def test_open_shells_of_atoms_deserve_none_in_their_ground_state(command, atom, spin, charge, warned):
    """LDA leaves an empty p orbital a little below those that are filled, whichever they are."""
    told = command(
        "scf", f"{atom} 0 0 0", "--xc", "lda,pw", "--spin", str(spin), "--charge", str(charge), *TINY
    )
    assert told.status == 0 and ("perhaps an excited state" in told.out + told.err) == warned


@pytest.mark.parametrize("cation", ["Cl 0 0 0; Cl 0 0 3.76", "S 0 0 0; S 0 0 3.57"])
def test_degenerate_shells_of_molecules_deserve_none(command, cation):
    """PBE leaves an empty pi orbital 0.1 eV below the filled one; all fillings were looked at."""
    told = command("scf", cation, "--xc", "pbe", "--spin", "1", "--charge", "1", *TINY)
    assert told.status == 0 and "perhaps an excited state" not in told.out + told.err


def test_reactions_warn_once_of_what_holds_for_all_and_name_the_others(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, atoms in (("li", "Li 0 0 0"), ("h", "H 0 0 0"), ("lih", "Li 0 0 0\nH 0 0 1.6")):
        (tmp_path / f"{name}.xyz").write_text(f"{len(atoms.splitlines())}\n\n{atoms}\n")
    monkeypatch.setattr(
        "deepchem_dft.runs.advice.training_of",
        lambda xc: {"elements": ["H"], "basis": "def2-svp"} if xc == "lda,pw" else {},
    )
    outcome = command(
        "reaction", "lih.xyz -> li.xyz + h.xyz", "--xc", "lda,pw", "--xc", "pbe", *TINY, "--jobs", "1"
    )
    assert outcome.status == 0, outcome.err
    assert outcome.err.splitlines() == [
        "warning: lih.xyz, li.xyz: lda,pw was not trained on Li",
        "warning: lda,pw was trained in def2-svp, not in sto-3g",
    ]


def test_no_warning_that_is_not(command):
    outcome = command("scf", "H 0 0 0; H 0 0 1.4", "--xc", "pbe", *TINY)
    assert outcome.status == 0 and outcome.err == "" and "NOTE" not in outcome.out


def test_systems_of_the_data_sets_deserve_none_but_what_is_known():
    """All of them: near atoms only where H2 is pressed together, no diffuse functions only where said.

    Of the cards' elements: those of xcnn's functionals know few, all others all of them.
    """
    from deepchem_dft import zoo
    from deepchem_dft.data import read_yaml
    from deepchem_dft.data.reading.reader import advice as advice_on_data
    from deepchem_dft.runs.advice import advice, training_of
    from deepchem_dft.runs.xc.selection import board_names, dataset_names, dataset_path

    cards = {name: training_of(f"zoo:{name}").get("elements") for name in zoo.names()}
    cards = {name: elements for name, elements in cards.items() if elements}
    foreign: dict[str, set] = {name: set() for name in cards}
    seen, close, poor = set(), set(), 0
    for name in set(dataset_names()) - set(board_names()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = read_yaml(str(dataset_path(name)))
        for entry in entries:
            for system in entry.get_systems():
                if system.key in seen:
                    continue
                seen.add(system.key)
                molecule = system.to_molecule(0)
                for card, elements in cards.items():
                    said = [
                        t for t in advice(molecule, card, {"elements": elements}) if "not trained on" in t
                    ]
                    unknown = [s for s in dict.fromkeys(molecule.symbols) if s not in elements]
                    assert len(said) == bool(unknown) and all(s in said[0] for s in unknown)
                    foreign[card] |= set(unknown)
                for text in advice(molecule):
                    close |= {(name, system.name)} if "apart" in text else set()
                    poor += "diffuse" in text
                    assert "apart" in text or "diffuse" in text, text
        expected = any("without diffuse" in text for text in advice_on_data(entries))
        assert (poor > 0) == expected, name
        poor = 0
    assert len(seen) == 507
    assert {card for card, symbols in foreign.items() if symbols} == {"xcnn-lda", "xcnn-gga"}
    assert foreign["xcnn-lda"] == {"He", "Be", "B", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"}
    # 0.7 Bohr is less than 0.6 times twice hydrogen's radius of 0.31 Angstrom
    assert close == {("h2-curve", f"H2-0.{digit}") for digit in (3, 4, 5, 6, 7)}


@pytest.mark.slow
def test_no_solved_system_of_the_data_sets_is_called_excited():
    """All of them with PBE in a minimal basis, some minutes; stretched H2 and C2 are better unrestricted."""
    from deepchem_dft import KohnSham, Molecule
    from deepchem_dft.data import read_yaml
    from deepchem_dft.runs.xc.selection import board_names, dataset_names, dataset_path

    systems = {}
    for name in set(dataset_names()) - set(board_names()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = read_yaml(str(dataset_path(name)))
        systems |= {s.key: s for entry in entries for s in entry.get_systems()}
    for system in systems.values():
        known = system.to_molecule(0)
        atoms = (list(known.symbols), known.positions)
        molecule = Molecule(atoms, "sto-3g", charge=known.charge, spin=known.spin, grid_level=0)
        notes = KohnSham(molecule, "pbe").run().notes
        assert not [n for n in notes if "an unrestricted" not in n], system.name
        assert not notes or set(known.symbols) == {"H"} or system.name.lower() == "c2"


def test_one_default_basis_which_greets_nobody():
    """The same for commands, molecules and ASE; cards of the zoo have no quarrel with it."""
    import inspect

    from deepchem_dft import Molecule, zoo
    from deepchem_dft.cli import options
    from deepchem_dft.interop.ase import KohnShamCalculator
    from deepchem_dft.runs.advice import advice, training_of

    basis = options.BASIS.default
    assert inspect.signature(Molecule).parameters["basis"].default == basis
    assert KohnShamCalculator.default_parameters["basis"] == basis
    helium = Molecule("He 0 0 0", basis)
    for name in zoo.names():
        said = advice(helium, name, training_of(f"zoo:{name}"))
        assert not [text for text in said if "was trained in" in text], name


@pytest.mark.parametrize(
    ("own", "card", "said"),
    [
        ("def2-tzvp", "def2-qzvp", False),
        ("aug-cc-pVTZ", "def2-qzvp", False),
        ("def2-tzvp", "6-311++G(3df,3pd)", False),
        ("DEF2-SVP", "def2-svp", False),
        ("def2-svp", "def2-qzvp", True),
        ("6-31g", "6-311g", True),
        ("cc-pvdz", "def2-svp", True),
        ("def2-qzvp", "def2-svp", True),
        ({"He": "def2-qzvp"}, "def2-qzvp", True),
    ],
)
def test_a_basis_is_another_where_it_matters(own, card, said):
    from deepchem_dft import Molecule
    from deepchem_dft.runs.advice import advice

    text = advice(Molecule("He 0 0 0", own), "mine", {"basis": card})
    assert bool(text) == said and all("mine was trained in" in one for one in text)

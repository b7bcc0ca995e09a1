"""``deepchem-dft frequencies``: vibrations and thermochemistry of a molecule."""

from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli import options


def frequencies(
    geometry: str = options.GEOMETRY,
    xc: str = options.FUNCTIONAL,
    run: Path | None = options.RUN,
    basis: str = options.BASIS,
    charge: int | None = options.CHARGE,
    spin: int | None = options.SPIN,
    multiplicity: int | None = options.MULTIPLICITY,
    unit: str | None = options.UNIT,
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    restricted: bool | None = options.RESTRICTED,
    stability: bool = options.STABILITY,
    broken_symmetry: bool = options.BROKEN_SYMMETRY,
    dispersion: str | None = options.DISPERSION,
    solvent: str | None = options.SOLVENT,
    solvent_model: str = options.SOLVENT_MODEL,
    point_charges: Path | None = options.POINT_CHARGES,
    optimize: bool = typer.Option(False, "--optimize", help="Relax the geometry first."),
    hessian: str = typer.Option(
        "auto",
        "--hessian",
        help="analytic (PySCF's), differences (of forces), or auto: analytic where that is as good.",
    ),
    temperature: float = typer.Option(298.15, "--temperature", help="Temperature, K."),
    pressure: float = typer.Option(101325.0, "--pressure", help="Pressure, Pa."),
    symmetry: int | None = typer.Option(
        None, "--symmetry-number", min=1, help="Rotational symmetry number. Default: that of the geometry."
    ),
    json: bool = options.JSON,
) -> None:
    """Compute harmonic wavenumbers, infrared intensities and thermochemistry.

    An ideal gas of rigid rotors and harmonic oscillators. Imaginary modes are named, and left out
    of the thermochemistry.

    Examples:

    - `deepchem-dft frequencies water.xyz --optimize --xc zoo:nn-mgga --basis def2-svp`

    - `deepchem-dft frequencies relaxed.xyz --xc b3lyp --temperature 500 --pressure 1e6`

    - `deepchem-dft frequencies "H 0 0 0; F 0 0 1.74" --xc pbe --hessian differences --json`
    """
    from deepchem_dft.cli.common import console, quiet_imports
    from deepchem_dft.errors import DeepChemDFTError

    with quiet_imports():
        from deepchem_dft.interop import relaxation, thermochemistry, vibrations
        from deepchem_dft.molecule import Molecule
        from deepchem_dft.runs.advice import warn
    thermochemistry.check_conditions(temperature, pressure)
    functional, label = options.functional_of(xc, run, dispersion)
    place = options.surroundings_of(solvent, solvent_model, point_charges, unit)
    molecule = Molecule(
        geometry,
        basis,
        charge,
        options.spin_of(spin, multiplicity),
        unit,
        grid_level,
        density_fit=density_fit,
        restricted=restricted,
        broken_symmetry=broken_symmetry,
        surroundings=place,
    )
    warn({molecule.name: molecule}, [xc if run is None else ""])
    screen, errors = console(), console(stderr=True)
    if optimize and len(molecule.symbols) > 1:
        # a force left over tilts the modes, so less of it than 'optimize' leaves
        relaxed = relaxation.relax(molecule, functional, fmax=1e-4, stability=stability)
        if not relaxed.converged:
            raise DeepChemDFTError(
                f"the geometry of {molecule.name} did not converge in {len(relaxed.steps) - 1} steps. "
                "Remedy: use 'deepchem-dft optimize' with more of them, then 'frequencies' on what it writes"
            )
        errors.print(f"relaxed in {len(relaxed.steps) - 1} steps")
        molecule = relaxed.molecule

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            errors.print(f"displaced geometries: {done}/{total}")

    found = vibrations.frequencies(molecule, functional, hessian, stability=stability, on_step=tell)
    gas = found.thermochemistry(temperature, pressure, symmetry)
    if json:
        options.print_json({"functional": label, **found.as_data(), "ideal_gas": gas.as_data()})
    else:
        _print(screen, found, gas, label, optimize)


def _print(screen: Any, found: Any, gas: Any, label: str, geometry: bool) -> None:
    from deepchem_dft.cli.common import state_text
    from deepchem_dft.cli.molecules.display import place_text, print_summary
    from deepchem_dft.units import BOHR_TO_ANGSTROM, HARTREE_TO_KCAL

    molecule = found.molecule
    lines = {
        "functional": label,
        "basis": f"{molecule.basis} ({molecule.nao} orbitals), grid level {molecule.grid_level}"
        f"{place_text(molecule)}",
        "state": state_text(found.result),
        "hessian": found.route,
        "force": f"{found.largest_force:.1e} Ha/Bohr (largest on an atom)",
    }
    print_summary(screen, molecule, lines, found.notes)
    if geometry:
        screen.print("geometry (Angstrom):")
        for symbol, row in zip(molecule.symbols, molecule.positions):
            screen.print(
                f"  {symbol:<3}" + "".join(f"{round(x * BOHR_TO_ANGSTROM, 8) + 0.0:>14.8f}" for x in row)
            )
    if len(found.wavenumbers):
        _print_modes(screen, found)
    screen.print(
        f"ideal gas at {gas.temperature:g} K and {gas.pressure:g} Pa, symmetry number {gas.symmetry_number}:"
    )
    total = gas.energy + gas.zero_point
    heat = gas.temperature * gas.entropy
    for name, value, part in (
        ("energy", gas.energy, ""),
        ("zero-point energy", gas.zero_point, f"{gas.zero_point * HARTREE_TO_KCAL:.3f} kcal/mol"),
        ("energy at 0 K", total, "with zero-point energy"),
        ("enthalpy", gas.enthalpy, f"{(gas.enthalpy - total) * HARTREE_TO_KCAL:.3f} kcal/mol above that"),
        ("entropy times T", heat, f"{heat * HARTREE_TO_KCAL:.3f} kcal/mol"),
        ("Gibbs energy", gas.gibbs, ""),
    ):
        screen.print(f"  {name:<18}{value:>18.8f} Ha{'  ' + part if part else ''}")


def _print_modes(screen: Any, found: Any) -> None:
    screen.print(
        "mode  wavenumber (cm-1)  intensity (km/mol)  reduced mass (u)  motion (share of the kinetic energy)"
    )
    for k, value in enumerate(found.wavenumbers):
        bright = "" if found.intensities is None else f"{found.intensities[k]:.2f}"
        shares = ", ".join(f"{found.molecule.symbols[a]}{a + 1} {s:.0%}" for a, s in found.movers(k))
        size = f"{abs(value):.1f}{'i' if value < 0 else ''}"
        screen.print(f"{k + 1:>4}  {size:>17}  {bright:>18}  {found.reduced_masses[k]:>16.3f}  {shares}")

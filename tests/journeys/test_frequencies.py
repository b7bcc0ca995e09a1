"""A Gibbs energy from an xyz file, read by another program."""

import json

import numpy as np
import pytest


def test_optimised_vibrating_and_read_back(command, files):
    done = command(
        "optimize", "h2.xyz", "--xc", "pbe", "--basis", "sto-3g", "--fmax", "1e-4", "--out", "best.xyz"
    )
    assert done.status == 0, done.err
    asked = ("--xc", "pbe", "--basis", "sto-3g", "--temperature", "350", "--json")
    outcome = command("frequencies", "best.xyz", *asked)
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    from pyscf import dft, gto
    from pyscf.hessian import thermo

    mol = gto.M(
        atom=list(zip(found["symbols"], found["positions_bohr"])), unit="bohr", basis="sto-3g", verbose=0
    )
    field = dft.RKS(mol, xc="pbe")
    field.conv_tol = 1e-11
    field.run()
    own = thermo.harmonic_analysis(mol, field.Hessian().kernel())
    gas = thermo.thermo(field, own["freq_au"], 350.0)
    np.testing.assert_allclose(found["wavenumbers_per_cm"], own["freq_wavenumber"], atol=5)
    for ours, theirs in (("gibbs_energy", "G_tot"), ("enthalpy", "H_tot"), ("zero_point_energy", "ZPE")):
        apart = found["ideal_gas"][f"{ours}_hartree"] - gas[theirs][0]
        assert apart * 627.5095 == pytest.approx(0.0, abs=0.1), ours
    assert found["notes"] == [] and found["ideal_gas"]["temperature_kelvin"] == 350.0

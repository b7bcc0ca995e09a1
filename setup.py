"""Packaging of deepchem_dft; versions known to work together are in constraints.txt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (ROOT / "deepchem_dft" / "__init__.py").read_text("utf-8"), re.M
).group(1)

# The metadata of DeepChem's releases asks for a Python below 3.12, and so does xitorch's; both run
# on newer ones. For 3.12 there are builds of DeepChem between releases, which use tqdm without
# asking for it. For 3.13 pip finds only DeepChem 2.5, of 2021: there DeepChem is installed with the
# command that the package names when it finds none (deepchem_dft/needs.py); `make` does so itself.
DEEPCHEM = [
    'deepchem>=2.8; python_version < "3.12"',
    'deepchem>=2.8.1.dev20260821122258; python_version == "3.12"',
    'tqdm; python_version == "3.12"',
    # What DeepChem itself needs, and cannot say where it is installed by hand.
    "joblib",
    "pandas",
    "rdkit",
    "scikit-learn",
    "scipy>=1.10.1",
    "sympy",
]
# Labels by GFN2-xTB, and graphs of crystals.
PROPERTY = ["tblite>=0.4"]
# Functionals of other people's, as functionals of this package.
SKALA = ["skala>=2026.9"]
# Networks for Hamiltonians, and their data. Always installed: models of the zoo and `optimize` use
# them; the extra stays for those who ask for it.
HAMILTONIAN = ["e3nn>=0.5.1", "h5py>=3.8", "ase>=3.22.1"]
# D3(BJ) and D4 as parts of functionals: the reference programs and what reads their tables.
DISPERSION = ["dftd3>=1.7", "dftd4>=4.3", "tomli"]
# Constraints, scans and transition states, and relaxation in internal coordinates.
GEOMETRY = ["geometric>=1.0"]
# What DQC imports. DQC itself is published as wheels for CPython 3.9 and older only:
# `deepchem-dft install-dqc` installs it, with these and on every Python supported.
DQC = ["h5py>=3.8", 'xitorch>=0.5.1; python_version < "3.12"']
# Notebooks of the tutorials: made from the pages, and run.
NOTEBOOKS = ["ipykernel>=6.25", "jupytext>=1.16", "nbclient>=0.8", "nbformat>=5.9"]
# Everything that `make test`, `make test-slow` and `make bench` use.
TEST = [
    *PROPERTY,
    *SKALA,
    *DQC,
    *DISPERSION,
    *GEOMETRY,
    *NOTEBOOKS,
    "pytest>=7.4",
    "pytest-xdist>=3.3",
    "hypothesis>=6.80",
    "tensorboard>=2.13",
    "pyscf-dispersion>=1.0",
]
LINT = ["ruff>=0.9", "mypy>=1.8", "types-PyYAML", "import-linter>=2.5"]
MUTATION = ["cosmic-ray>=8.4", "coverage>=7.4"]
DIST = ["build>=1.2"]
DOCS = [*NOTEBOOKS, "sphinx>=7.2", "myst-parser>=2.0", "furo>=2023.9.10"]


class BuildWithData(build_py):
    """Ship ``datasets/`` and the examples' configurations inside the package, for use once installed."""

    #: Folder of the checkout, its name in the package, and the files that go along.
    SHIPPED = (
        ("datasets", "_datasets", (".yaml", ".csv", ".npz", ".md", ".json")),
        ("examples", "_examples", (".yaml",)),
    )
    #: Examples that stay behind: they belong to measurements, or make data beside themselves.
    APART = {"benchmarks", "hamiltonian"}

    def _shipped(self) -> list[tuple[Path, Path]]:
        found = []
        for folder, name, suffixes in self.SHIPPED:
            source, target = ROOT / folder, Path(self.build_lib) / "deepchem_dft" / name
            for path in sorted(source.rglob("*")):
                place = path.relative_to(source)
                if path.suffix in suffixes and not (folder == "examples" and self.APART & set(place.parts)):
                    found.append((path, target / place))
        return found

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return  # an editable install reads them from the checkout
        for path, target in self._shipped():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return super().get_outputs(include_bytecode) + [str(t) for _, t in self._shipped()]


setup(
    name="deepchem_dft",
    version=VERSION,
    description="Train, test and use neural exchange-correlation functionals with DeepChem",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    author="deepchem_dft contributors",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["deepchem_dft", "deepchem_dft.*"]),
    package_data={
        "deepchem_dft": [
            "py.typed",
            "**/*.pyi",
            "**/*.yaml",
            "**/*.json",
            "**/*.csv",
            "**/*.safetensors",
            "**/*.css",
            "**/*.mplstyle",
            "**/*.js",
        ]
    },
    cmdclass={"build_py": BuildWithData},
    install_requires=[
        *DEEPCHEM,
        *HAMILTONIAN,
        "torch>=2.1",
        "pyscf>=2.10",
        "numpy>=1.23",
        "threadpoolctl>=3.0",
        "pyyaml>=6.0",
        "pydantic>=2.5",
        "typer>=0.12",
        "rich>=13.0",
        "matplotlib>=3.7",
        "basis-set-exchange>=0.9",
        "lazy-loader>=0.4",
        "safetensors>=0.4",
    ],
    extras_require={
        "test": TEST,
        "lint": LINT,
        "docs": DOCS,
        "dist": DIST,
        "mutation": MUTATION,
        "dqc": DQC,
        "property": PROPERTY,
        "skala": SKALA,
        "hamiltonian": HAMILTONIAN,
        "dispersion": DISPERSION,
        "geometry": GEOMETRY,
        "dev": sorted({*TEST, *LINT, *DOCS, *MUTATION}),
    },
    entry_points={
        "console_scripts": ["deepchem-dft = deepchem_dft.cli:main"],
        "ase.plugins": ["deepchem_dft = deepchem_dft.interop.ase_plugin"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Chemistry",
        "Topic :: Scientific/Engineering :: Physics",
        "Typing :: Typed",
    ],
)

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

# Labels by GFN2-xTB, and graphs of crystals.
PROPERTY = ["ase>=3.22.1", "tblite>=0.4"]
# Networks for Hamiltonians, and their data.
HAMILTONIAN = ["e3nn>=0.5.1", "h5py>=3.8", "ase>=3.22.1"]
TEST = [
    *PROPERTY,
    *HAMILTONIAN,
    "pytest>=7.4",
    "pytest-xdist>=3.3",
    "hypothesis>=6.80",
    "xitorch>=0.5.1",
    "tensorboard>=2.13",
]
LINT = ["ruff>=0.9", "mypy>=1.8", "types-PyYAML"]
MUTATION = ["cosmic-ray>=8.4", "coverage>=7.4"]
DOCS = ["sphinx>=7.2", "myst-parser>=2.0", "furo>=2023.9.10"]
# DQC is published as wheels for CPython 3.9 and older only, without a source package, and for newer
# Pythons the index holds an empty placeholder under the name of pylibxc2. The markers keep pip away
# from both. As this package itself needs 3.10 (python_requires), they never hold today: they name
# what DQC is made of, and on every Python supported `deepchem-dft install-dqc` does the job.
DQC = [
    "h5py>=3.8",
    "xitorch>=0.5.1",
    'dqc==0.1.0; python_version < "3.10"',
    'pylibxc2==6.0.0; python_version < "3.10"',
]


class BuildWithDatasets(build_py):
    """Ship ``datasets/`` inside the package, so that ``molnet`` works offline once installed."""

    SUFFIXES = (".yaml", ".csv", ".npz", ".md")

    def _shipped(self) -> list[tuple[Path, Path]]:
        source, target = ROOT / "datasets", Path(self.build_lib) / "deepchem_dft" / "_datasets"
        found = (p for p in sorted(source.rglob("*")) if p.suffix in self.SUFFIXES)
        return [(path, target / path.relative_to(source)) for path in found]

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return  # an editable install reads datasets/ from the checkout
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
    python_requires=">=3.10",
    packages=find_packages(include=["deepchem_dft", "deepchem_dft.*"]),
    package_data={"deepchem_dft": [
        "py.typed", "**/*.yaml", "**/*.json", "**/*.csv", "**/*.safetensors",
        "**/*.css", "**/*.js",
    ]},
    cmdclass={"build_py": BuildWithDatasets},
    install_requires=[
        "deepchem>=2.8",
        "torch>=2.1",
        "pyscf>=2.10",
        "numpy>=1.23",
        "scipy>=1.9",
        "threadpoolctl>=3.0",
        "pyyaml>=6.0",
        "pydantic>=2.5",
        "typer>=0.12",
        "rich>=13.0",
        "matplotlib>=3.7",
        "basis-set-exchange>=0.9",
        "safetensors>=0.4",
    ],
    extras_require={
        "test": TEST,
        "lint": LINT,
        "docs": DOCS,
        "mutation": MUTATION,
        "dqc": DQC,
        "property": PROPERTY,
        "hamiltonian": HAMILTONIAN,
        "dev": sorted({*TEST, *LINT, *DOCS, *DQC}),
    },
    entry_points={"console_scripts": ["deepchem-dft = deepchem_dft.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Chemistry",
        "Topic :: Scientific/Engineering :: Physics",
        "Typing :: Typed",
    ],
)

"""Sphinx configuration; build with ``make docs``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ.setdefault("DEEPCHEM_DFT_CACHE", "off")

logging.getLogger("deepchem").setLevel(logging.ERROR)  # one line per optional package it lacks

import deepchem_dft  # noqa: E402

project = "deepchem_dft"
author = "deepchem_dft contributors"
copyright = f"2026, {author}"
version = release = deepchem_dft.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "from_code",  # _ext/from_code.py: pages made from the command line and the schemas
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the numpy docstrings say it with shapes and units
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # methods that only fulfil torch's interface stay out
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
# As one list, because "a, b : type" names two attributes.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_preprocess_types = False
# A room re-exports names of its modules, so a short reference can have two equal targets.
suppress_warnings = ["ref.python", "myst.xref_ambiguous"]

html_theme = "furo"
html_title = f"deepchem_dft {release}"
html_static_path: list[str] = []
html_theme_options = {"source_directory": "docs/"}

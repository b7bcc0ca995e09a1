"""Skala's functionals as functionals of this package: run, compared, fine-tuned.

Needs the extra ``skala`` for networks of that package; the first published generation is written
here and needs its weights alone.
"""

from deepchem_dft.interop.skala.functional import SkalaXC

__all__ = ["SkalaXC"]

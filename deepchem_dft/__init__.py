"""Neural exchange-correlation functionals with DeepChem's datasets, models and metrics.

Names are imported on first use, so ``import deepchem_dft`` costs nothing.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

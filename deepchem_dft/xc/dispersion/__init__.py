"""Dispersion: energies of pairs and triples of atoms that a functional adds to its own."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

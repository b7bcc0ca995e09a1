"""Trained functionals and networks: a file of weights and a card each, read without running code.

``names`` lists them, ``card`` tells about one, ``load`` rebuilds it, ``save`` adds another.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

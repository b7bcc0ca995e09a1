"""Objects of PySCF whose classes are put together while a program runs, for another process."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from pyscf import lib

#: A class by where it is, or by what it is made of.
Recipe = tuple


def recipe_of(cls: type) -> Recipe:
    """Return how a class is found: its module and name, or name, module and recipes of its bases.

    Examples
    --------
    >>> recipe_of(dict)
    ('builtins', 'dict')
    """
    found: Any = import_module(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is cls:
        return cls.__module__, cls.__qualname__
    return cls.__name__, cls.__module__, tuple(recipe_of(base) for base in cls.__bases__)


def class_of(recipe: Recipe, mixed: Callable[[type, type], type], mixins: tuple[type, ...]) -> type:
    """Return the class of a recipe.

    Parameters
    ----------
    recipe : tuple
    mixed : callable
        Puts a class together that begins with one of ``mixins``; all others are PySCF's to make.
    mixins : tuple of type
    """
    if len(recipe) == 2:
        found: Any = import_module(recipe[0])
        for part in recipe[1].split("."):
            found = getattr(found, part)
        return found
    name, module, parts = recipe
    bases = tuple(class_of(part, mixed, mixins) for part in parts)
    if bases[0] in mixins:
        return mixed(*bases)
    made: type = lib.misc.make_class(bases, name)
    made.__module__ = module
    return made

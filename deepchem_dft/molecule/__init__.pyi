from .geometry import parse_geometry as parse_geometry
from .molecule import Molecule as Molecule

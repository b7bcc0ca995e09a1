from .naming import attached as attached
from .naming import parse as parse
from .naming import split as split
from .nuclei import Nuclei as Nuclei
from .term import Dispersion as Dispersion

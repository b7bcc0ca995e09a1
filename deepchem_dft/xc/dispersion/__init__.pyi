from .library import Nuclei as Nuclei
from .naming import attached as attached
from .naming import parse as parse
from .naming import split as split
from .term import Dispersion as Dispersion

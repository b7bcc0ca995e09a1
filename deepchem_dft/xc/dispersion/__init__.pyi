from .library import Nuclei as Nuclei
from .naming import attached as attached
from .naming import parse as parse
from .spelling import split as split
from .term import Dispersion as Dispersion

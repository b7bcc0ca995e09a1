from .base import XCFunctional as XCFunctional
from .enhancement import EnhancedXC as EnhancedXC
from .ensemble import EnsembleXC as EnsembleXC
from .hybrid import HybridXC as HybridXC
from .lda import SlaterPW92 as SlaterPW92
from .libxc import Libxc as Libxc
from .names import get_xc as get_xc
from .networks import (
    build_network as build_network,
)
from .networks import (
    deepchem_network as deepchem_network,
)
from .neural import (
    NNLDA as NNLDA,
)
from .neural import (
    NNMGGA as NNMGGA,
)
from .neural import (
    NNPBE as NNPBE,
)
from .pbe import PBE as PBE

from . import errors as errors
from . import molnet as molnet
from . import parallel as parallel
from . import zoo as zoo
from .data import DFTEntry as DFTEntry
from .data import DFTSystem as DFTSystem
from .data import DFTYamlLoader as DFTYamlLoader
from .equilibrium import DEQLayer as DEQLayer
from .equilibrium import fixed_point as fixed_point
from .models import DEQModel as DEQModel
from .models import HamiltonianModel as HamiltonianModel
from .models import KSRModel as KSRModel
from .models import XCModel as XCModel
from .molecule import Molecule as Molecule
from .scf import XCNNSCF as XCNNSCF
from .scf import KohnSham as KohnSham
from .scf import KSCalc as KSCalc
from .scf import KSResult as KSResult
from .scf import SCFLayer as SCFLayer
from .scf import SCFOptions as SCFOptions
from .xc import NNLDA as NNLDA
from .xc import NNMGGA as NNMGGA
from .xc import NNPBE as NNPBE
from .xc import HybridXC as HybridXC
from .xc import Libxc as Libxc

__version__: str

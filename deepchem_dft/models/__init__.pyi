from .deq.model import DEQModel as DEQModel
from .deq.training import DEQEpoch as DEQEpoch
from .hamiltonian.loss import HamiltonianLoss as HamiltonianLoss
from .hamiltonian.model import HamiltonianModel as HamiltonianModel
from .hamiltonian.prediction import (
    HamiltonianPrediction as HamiltonianPrediction,
)
from .hamiltonian.prediction import (
    HamiltonianScore as HamiltonianScore,
)
from .hamiltonian.progress import HamiltonianEpoch as HamiltonianEpoch
from .ksr.loss import (
    KSRLoss as KSRLoss,
)
from .ksr.loss import (
    KSRStage as KSRStage,
)
from .ksr.model import KSRModel as KSRModel
from .ksr.progress import KSREpoch as KSREpoch
from .xc.dftxc import DFTXC as DFTXC
from .xc.losses import EntryLoss as EntryLoss
from .xc.model import XCModel as XCModel
from .xc.progress import EpochReport as EpochReport

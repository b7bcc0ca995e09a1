from .loss import HamiltonianLoss as HamiltonianLoss
from .model import HamiltonianModel as HamiltonianModel
from .polynomial import HamiltonianPolynomial as HamiltonianPolynomial
from .prediction import HamiltonianPrediction as HamiltonianPrediction
from .prediction import HamiltonianScore as HamiltonianScore
from .training import HamiltonianEpoch as HamiltonianEpoch

"""Features brought to one scale; the scale is learned from data and kept with the model."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# A feature this many times its spread away from the mean says no more than one that is nearer.
_LIMIT = 8.0


class Standardize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each feature.

    Features that are only ever 0 or 1 are left as they are: scaled, rare bits of a fingerprint
    would drown everything else. Values that are missing (NaN, infinite) become the mean, and
    outliers are cut off at 8 standard deviations. Until :meth:`fit` is called features pass
    unchanged, apart from that.

    Parameters
    ----------
    n_features : int

    Examples
    --------
    >>> scale = Standardize(2)
    >>> scale.fit([torch.tensor([[1.0, 0.0], [3.0, 1.0]]), torch.tensor([[torch.nan, 1.0]])])
    >>> scale(torch.tensor([[3.0, 1.0], [torch.nan, 0.0]]))
    tensor([[1., 1.],
            [0., 0.]])
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        # Parameters that are not trained, so that DeepChem's transfer of parameters takes them.
        self.mean, self.spread, self.known = (
            nn.Parameter(start, requires_grad=False)
            for start in (torch.zeros(n_features), torch.ones(n_features), torch.zeros(()))
        )

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and spread from a data set, in batches of shape (N, n_features)."""
        size = self.mean.shape
        count, mean, square = (torch.zeros(size, dtype=torch.float64) for _ in range(3))
        binary = torch.ones(size, dtype=torch.bool)
        for batch in batches:
            values = batch.detach().cpu().double()
            present = torch.isfinite(values)
            binary &= ((values == 0) | (values == 1)).all(0)
            values = torch.where(present, values, 0.0)
            new = present.sum(0)
            own = values.sum(0) / new.clamp_min(1)
            change, total = own - mean, (count + new).clamp_min(1)
            # Chan, Golub, LeVeque: moments of two sets from those of each, without cancellation.
            square += torch.where(present, values - own, 0.0).square().sum(0)
            square += change.square() * count * new / total
            mean += change * new / total
            count += new
        spread = (square / count.clamp_min(1)).sqrt()
        constant = spread <= 1e-8 * mean.abs()
        self.mean.copy_(torch.where(binary, 0.0, mean))
        self.spread.copy_(torch.where(binary | constant, 1.0, spread))
        self.known.fill_(1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features, same shape."""
        scaled = (features - self.mean) / self.spread
        return torch.nan_to_num(scaled, 0.0, 0.0, 0.0).clamp(-_LIMIT, _LIMIT)

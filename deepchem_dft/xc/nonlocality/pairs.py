r"""The double sum of VV10 over all pairs of points, with two derivatives and without its matrix.

.. math::

    E = -\tfrac34 \sum_{ij} \frac{q_i q_j}{g_{ij}\, g_{ji}\, (g_{ij} + g_{ji})}, \qquad
    g_{ij} = \omega_i |r_i - r_j|^2 + \kappa_i

Points are put in tiles that are compact in space. A pair of tiles at a time is worked through, both
directions of every pair at once, so that arrays stay in the cache of a core.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError

_TILE = 256  # points
#: Distance between tiles (Bohr) beyond which their pairs are computed in single precision: errors of
#: rounding average out over millions of pairs.
FAR = 1.0


def pair_energy(charges: Tensor, omega: Tensor, kappa: Tensor, points: Tensor) -> Tensor:
    """Sum the interaction of all pairs of points, each with itself too.

    Parameters
    ----------
    charges, omega, kappa : Tensor, shape (G,), float64
        Electrons q at the points; omega and kappa positive. Twice differentiable.
    points : Tensor, shape (G, 3), float64
        Bohr. Differentiable once, and not together with another derivative.

    Returns
    -------
    Tensor, 0-dimensional

    Examples
    --------
    >>> one = torch.ones(2, dtype=torch.float64)
    >>> points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> pair_energy(one, one, one, points).item()              # -3/4 (2 * 1/2 + 2 * 1/16)
    -0.84375
    """
    if not len(charges):
        return charges.sum() + omega.sum() + kappa.sum() + points.sum()
    with torch.no_grad():  # the middle of what g takes: its sixth power has to fit into single precision
        extent = (points.amax(0) - points.amin(0)).square().sum()
        scale = ((omega * extent + kappa).max() * kappa.min()).rsqrt()
    return scale**3 * _Pairs.apply(charges, scale * omega, scale * kappa, points)


class _Pairs(torch.autograd.Function):
    """The energy; its derivatives are computed on the way, where they are wanted."""

    @staticmethod
    def forward(ctx, charges: Tensor, omega: Tensor, kappa: Tensor, points: Tensor) -> Tensor:
        moving = ctx.needs_input_grad[3]
        sums = _first(charges, omega, kappa, points, moving)
        slopes = -1.5 * sums.f, 1.5 * charges * sums.w, 1.5 * charges * sums.u
        ctx.moved = None if sums.motion is None else 3.0 * charges[:, None] * sums.motion
        ctx.save_for_backward(charges, omega, kappa, points, *slopes)
        return -0.75 * (charges * sums.f).sum()

    @staticmethod
    def backward(ctx, weight: Tensor):
        charges, omega, kappa, points, *slopes = ctx.saved_tensors
        moved = None
        if ctx.needs_input_grad[3]:
            moved = _Once.apply(weight, ctx.moved, charges, omega, kappa, points)
        return *_Slopes.apply(weight, charges, omega, kappa, points, *slopes), moved


class _Slopes(torch.autograd.Function):
    """``weight * dE/d(charges, omega, kappa)``."""

    @staticmethod
    def forward(ctx, weight, charges, omega, kappa, points, *slopes):
        ctx.save_for_backward(weight, charges, omega, kappa, points, *slopes)
        return tuple(weight * slope for slope in slopes)

    @staticmethod
    def backward(ctx, *directions: Tensor):
        weight, charges, omega, kappa, points, *slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # as for a further derivative, which would be wrong in silence
            raise _too_often()
        along = sum((d * s).sum() for d, s in zip(directions, slopes, strict=True))
        bent: tuple = (None, None, None)
        if any(ctx.needs_input_grad[1:4]):
            bent = tuple(weight * b for b in _second(charges, omega, kappa, points, *directions))
        return along, *bent, None, None, None, None


class _Once(torch.autograd.Function):
    """``weight * slope``, which depends on the others in a way that is not known here."""

    @staticmethod
    def forward(ctx, weight, slope, *others):
        return weight * slope

    @staticmethod
    def backward(ctx, direction):
        raise _too_often()


def _too_often() -> FunctionalError:
    return FunctionalError(
        "VV10 has two derivatives by the density and one by the points, and no others",
        field="xc",
        remedy="ask for no more, or use a functional without VV10",
    )


# -- tiles ---------------------------------------------------------------------------------------


def compact_order(points: Tensor, size: int) -> Tensor:
    """Return an order of points (G,) in which every ``size`` of them are close together.

    Examples
    --------
    >>> compact_order(torch.tensor([[0.0, 0, 0], [9.0, 0, 0], [1.0, 0, 0], [8.0, 0, 0]]), 2).tolist()
    [0, 2, 3, 1]
    """
    at = points.detach().cpu()
    found, waiting = [], [torch.arange(len(at))]
    while waiting:
        some = waiting.pop()
        if len(some) <= size:
            found.append(some)
            continue
        inside = at[some]
        axis = int((inside.amax(0) - inside.amin(0)).argmax())
        some = some[inside[:, axis].argsort(stable=True)]
        half = size * ((len(some) + size) // (2 * size))
        waiting += [some[half:], some[:half]]
    return torch.cat(found).to(points.device)


class _Tile(NamedTuple):
    """A tile and all that come after it, itself included; ``near`` says which of those touch it."""

    rows: slice
    columns: list[slice]
    near: list[bool]
    #: Relative to it the coordinates of far points keep their precision in single precision too.
    centre: Tensor


def _tiles(points: Tensor) -> Iterator[_Tile]:
    """Go through tiles of ``points`` in compact order, so that every pair of points comes once."""
    tiles = points.split(_TILE)
    low, high = (torch.stack(ends) for ends in zip(*((t.amin(0), t.amax(0)) for t in tiles)))
    spans = _row_blocks(len(points), _TILE)
    for number, tile in enumerate(tiles):
        gap = torch.maximum(low[number:] - high[number], low[number] - high[number:]).clamp(min=0.0)
        near = (gap.square().sum(1) <= FAR**2).tolist()
        yield _Tile(spans[number], spans[number:], near, tile.mean(0))


def _plain(points: Tensor) -> Tensor:
    """(5, G), whose products with :func:`_bent` are values of g."""
    x, y, z = points.unbind(1)
    return torch.stack([x, y, z, torch.ones_like(x), x * x + y * y + z * z])


def _bent(omega: Tensor, kappa: Tensor, points: Tensor) -> Tensor:
    x, y, z, _, square = _plain(points)
    return torch.stack([-2.0 * omega * x, -2.0 * omega * y, -2.0 * omega * z, omega * square + kappa, omega])


def _moved(centre: Tensor) -> Tensor:
    """Return the matrix (11, 11) that makes rows of ``plain``, ``bent`` and q relative to a centre."""
    matrix = torch.eye(11, dtype=centre.dtype, device=centre.device)
    matrix[:3, 3], matrix[4, :3], matrix[4, 3] = -centre, -2.0 * centre, centre @ centre
    matrix[5:8, 9], matrix[8, 5:8], matrix[8, 9] = 2.0 * centre, centre, centre @ centre
    return matrix


# -- sums ----------------------------------------------------------------------------------------


class _Sums(NamedTuple):
    """With T the interaction and X its derivative by -g_ij, over j: q T, q X, q X R^2."""

    f: Tensor
    u: Tensor
    w: Tensor
    motion: Tensor | None


class _Desk:
    """Room for two tiles of given sizes; what is computed of them, and results, have their places."""

    def __init__(self, size: int, count: int, dtype: torch.dtype, device: torch.device) -> None:
        self.here = torch.empty(11, size, dtype=dtype, device=device)
        self.there = torch.empty(11, count, dtype=dtype, device=device)
        self.sums_here = torch.empty(3, size, dtype=dtype, device=device)
        self.sums_there = torch.empty(3, count, dtype=dtype, device=device)
        self.tile = -1  # whose data are in ``here``
        self._arrays = [torch.empty(size, count, dtype=dtype, device=device) for _ in range(5)]
        self._back = [array.T for array in self._arrays]
        self._i = self.here[:5].T, self.here[5:10].T, self.here[10], *self.sums_here
        self._j = self.there[:5], self.there[5:10], self.there[10], *self.sums_there

    def work(self) -> tuple[Tensor, Tensor]:
        """Put sums over the other tile into their places: q T, q X, q T g / (g + h).

        Returns
        -------
        tuple of Tensor, shape (size, count)
            X, and X in the other direction.
        """
        # In place wherever possible: what matters is how much memory is touched.
        g, h, b, a, t = self._arrays
        plain_i, bent_i, q_i, f_i, u_i, v_i = self._i
        plain_j, bent_j, q_j, f_j, u_j, v_j = self._j
        torch.mm(bent_i, plain_j, out=g)
        torch.mm(plain_i, bent_j, out=h)
        torch.add(g, h, out=b).reciprocal_()
        torch.mul(g, h, out=a).reciprocal_()
        torch.mul(a, b, out=t)
        torch.mv(t, q_j, out=f_i)
        torch.mv(self._back[4], q_i, out=f_j)
        b.mul_(t)
        a.mul_(t)
        x = h.mul_(a).add_(b)
        torch.mv(x, q_j, out=u_i)
        y = a.mul_(g).add_(b)
        torch.mv(self._back[3], q_i, out=u_j)
        b.mul_(g)
        torch.mv(b, q_j, out=v_i)
        torch.mv(self._back[2], q_i, out=v_j)
        return x, y


def _first(q: Tensor, omega: Tensor, kappa: Tensor, points: Tensor, moving: bool) -> _Sums:
    order = compact_order(points, _TILE)
    q, omega, kappa, points = q[order], omega[order], kappa[order], points[order] - points.mean(0)
    packed = torch.cat([_plain(points), _bent(omega, kappa, points), q[None]])
    ahead, back = torch.zeros_like(packed[:3]), torch.zeros_like(packed[:3])
    motion = torch.zeros_like(points) if moving else None
    desks: dict[tuple[int, int, torch.dtype], _Desk] = {}
    for tile in _tiles(points):
        rows, size = tile.rows, tile.rows.stop - tile.rows.start
        local = _moved(tile.centre) @ packed[:, rows.start :]
        here, mine = local[:, :size], ahead[:, rows]
        for some, near in zip(tile.columns, tile.near, strict=True):
            count, own = some.stop - some.start, some == rows
            key = size, count, q.dtype if near else torch.float32
            if key not in desks:
                desks[key] = _Desk(*key, q.device)
            desk = desks[key]
            if own or desk.tile != rows.start:
                desk.here.copy_(here)
                desk.tile = rows.start
            desk.there.copy_(local[:, some.start - rows.start : some.stop - rows.start])
            x, y = desk.work()
            mine.add_(desk.sums_here)
            if not own:  # a tile with itself: both directions are in its rows
                back[:, some].add_(desk.sums_there)
            if motion is not None:
                r_i, r_j = points[rows] - tile.centre, points[some] - tile.centre
                motion[rows] += omega[rows, None] * _pull(x, r_i, r_j, q[some])
                motion[rows] += _pull(y, r_i, r_j, (q * omega)[some])
                if not own:
                    motion[some] += omega[some, None] * _pull(y.T, r_j, r_i, q[rows])
                    motion[some] += _pull(x.T, r_j, r_i, (q * omega)[rows])
    # q T h / (g + h) of the other direction is what q T g / (g + h) leaves of q T
    f, u, v = ahead[0] + back[0], ahead[1] + back[1], ahead[2] + back[0] - back[2]
    # q X g = q T (1 + g / (g + h)), and g is omega R^2 + kappa
    w = (f + v - kappa * u) / omega
    home = torch.empty_like(order)
    home[order] = torch.arange(len(order), device=order.device)
    return _Sums(f[home], u[home], w[home], motion[home] if motion is not None else None)


def _pull(x: Tensor, r_i: Tensor, r_j: Tensor, weights: Tensor) -> Tensor:
    """Sum X w (r_i - r_j) over j."""
    weights = weights.to(x.dtype)
    return (x @ weights)[:, None] * r_i - x @ (weights[:, None] * r_j.to(x.dtype))


def _second(
    q: Tensor, omega: Tensor, kappa: Tensor, points: Tensor, by_q: Tensor, by_omega: Tensor, by_kappa: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the second derivatives times a direction."""
    order = compact_order(points, _TILE)
    fields = [t[order] for t in (q, omega, kappa, by_q, by_omega, by_kappa)]
    q, omega, kappa, by_q, by_omega, by_kappa = fields
    points = points[order]
    # sums over j: the change of q T; q X, q X R^2 and their changes
    d_f, u, w, d_u, d_w = (torch.zeros_like(q) for _ in range(5))
    one, zero = torch.ones_like(q), torch.zeros_like(q)
    for tile in _tiles(points):
        rows, near = tile.rows, points[tile.rows] - tile.centre
        for columns, touching in zip(tile.columns, tile.near, strict=True):
            own, far = columns == rows, points[columns] - tile.centre
            dtype = q.dtype if touching else torch.float32
            plain_i, plain_j = _plain(near).T.to(dtype), _plain(far).to(dtype)

            def ahead(steep: Tensor, flat: Tensor) -> Tensor:
                return _bent(steep[rows], flat[rows], near).T.to(dtype) @ plain_j  # noqa: B023

            def behind(steep: Tensor, flat: Tensor) -> Tensor:
                return plain_i @ _bent(steep[columns], flat[columns], far).to(dtype)  # noqa: B023

            g, d_g, square = ahead(omega, kappa), ahead(by_omega, by_kappa), ahead(one, zero)
            h, d_h = behind(omega, kappa), behind(by_omega, by_kappa)
            total = (g + h).reciprocal_()
            g.reciprocal_()
            h.reciprocal_()
            t = g * h * total
            a, b = g + total, h + total
            total.square_()
            mixed = torch.addcmul(total, a, b)
            x, back = t * a, t * b
            d_t = (x * d_g).addcmul_(back, d_h).neg_()
            d_x = (g.square_().addcmul_(a, a).add_(total) * d_g).addcmul_(mixed, d_h).mul_(t).neg_()
            q_j, d_j = q[columns].to(dtype), by_q[columns].to(dtype)
            d_f[rows] += t @ d_j + d_t @ q_j
            u[rows] += x @ q_j
            d_u[rows] += x @ d_j + d_x @ q_j
            x.mul_(square)
            w[rows] += x @ q_j
            d_w[rows] += x @ d_j + d_x.mul_(square) @ q_j
            if own:
                continue
            d_x = (h.square_().addcmul_(b, b).add_(total) * d_h).addcmul_(mixed, d_g).mul_(t).neg_()
            q_i, d_i = q[rows].to(dtype), by_q[rows].to(dtype)
            d_f[columns] += d_i @ t + q_i @ d_t
            u[columns] += q_i @ back
            d_u[columns] += d_i @ back + q_i @ d_x
            back.mul_(square)
            w[columns] += q_i @ back
            d_w[columns] += d_i @ back + q_i @ d_x.mul_(square)
    bent = -1.5 * d_f, 1.5 * (by_q * w + q * d_w), 1.5 * (by_q * u + q * d_u)
    home = torch.empty_like(order)
    home[order] = torch.arange(len(order), device=order.device)
    return bent[0][home], bent[1][home], bent[2][home]


def _row_blocks(length: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, length)) for start in range(0, length, rows)]

"""The shipped models written again in numpy, from what their papers and cards say.

Nothing here imports the package: weights come from the files, parents from PySCF's libxc.
"""

from typing import Any

import numpy as np
from pyscf.dft.numint import NumInt
from scipy.sparse.csgraph import shortest_path
from scipy.special import erf

Weights = dict[str, np.ndarray]

PARTS = {"r2scan": ("mgga_x_r2scan", "mgga_c_r2scan"), "pbe": ("gga_x_pbe", "gga_c_pbe")}


def libxc(name: str, rho: np.ndarray) -> np.ndarray:
    """Return energies per volume (G,) of (5, G) closed-shell or (2, 5, G) polarised densities."""
    family = {"l": "LDA", "g": "GGA", "m": "MGGA"}[name[0]]
    rows = {"LDA": 1, "GGA": 4, "MGGA": 5}[family]
    polarised = rho.ndim == 3
    n = rho[:, 0].sum(0) if polarised else rho[0]
    rho = rho[..., :rows, :] if rows > 1 else rho[..., 0, :]
    return n * NumInt().eval_xc_eff(name, rho, deriv=0, xctype=family)[0]


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def below(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names begin with a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


def perceptron(weights: Weights, x: np.ndarray) -> np.ndarray:
    """Return the output (G,) of layers 0, 2, 4, ..., SiLU between them, of inputs (k, G)."""
    numbers = sorted({int(name.split(".")[0]) for name in weights})
    for number in numbers:
        x = weights[f"{number}.weight"] @ x
        if f"{number}.bias" in weights:
            x = x + weights[f"{number}.bias"][:, None]
        if number != numbers[-1]:
            x = silu(x)
    (value,) = x
    return value


# -- functionals of molecules ----------------------------------------------------------------------


def ingredients(rho: np.ndarray, semilocal: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return [u, beta] and [r, zeta^2] of spin densities (2, 5, G), the first ``semilocal`` ones.

    u = s^2/(1 + s^2); beta = (tau - tau_W)/(tau + tau_UEG), Furness and Sun, Phys. Rev. B 99,
    041119 (2019), with the uniform gas of the same polarisation; r = r_s/(1 + r_s).
    """
    up, down = rho[:, 0]
    n, (x, y, z), tau = up + down, rho[:, 1:4].sum(0), rho[:, 4].sum(0)
    sigma = x * x + y * y + z * z
    fermi = (3.0 * np.pi**2 * n) ** (1.0 / 3.0)
    s2 = sigma / (2.0 * fermi * n) ** 2
    # each spin channel: 3/10 (6 pi^2)^(2/3) n_s^(5/3)
    gas = 0.3 * (6.0 * np.pi**2) ** (2.0 / 3.0) * (up ** (5.0 / 3.0) + down ** (5.0 / 3.0))
    rs = (3.0 / (4.0 * np.pi * n)) ** (1.0 / 3.0)
    semi = [s2 / (1.0 + s2), (tau - sigma / (8.0 * n)) / (tau + gas)]
    return semi[:semilocal], [rs / (1.0 + rs), ((up - down) / n) ** 2]


def factor(weights: Weights, semi: list[np.ndarray], rest: list[np.ndarray]) -> np.ndarray:
    """Return a perceptron of coordinates in [-1, 1], minus its value in the uniform gas."""
    layers = below(weights, "layers.")
    gas = [np.full_like(x, value) for x, value in zip(semi, (0.0, 0.5))]
    here, there = (2.0 * np.stack([*part, *rest]) - 1.0 for part in (semi, gas))
    return perceptron(layers, here) - perceptron(layers, there)


def short_range(density: np.ndarray, omega: float) -> np.ndarray:
    """Return what erfc(omega r)/r leaves of the exchange of uniform gases of a closed-shell density.

    Gill, Adamson and Pople, Mol. Phys. 88, 1005 (1996); k_F^2 / (9 omega^2) where the density is thin.
    """
    x = (3.0 * np.pi**2 * density) ** (1.0 / 3.0) / omega
    y = np.maximum(x, 0.05)
    inside = np.sqrt(np.pi) * erf(y) + (1.0 / y - 0.5 / y**3) * np.exp(-y * y) - 1.5 / y + 0.5 / y**3
    return np.where(x < 0.05, x * x / 9.0, 1.0 - 4.0 / (3.0 * y) * inside)


def enhanced(form: dict[str, Any], weights: Weights, rho: np.ndarray) -> np.ndarray:
    """Return the energy per volume (G,) of an enhanced parent at spin densities (2, 5, G).

    F_x = b F e^g / (b + F (e^g - 1)) in place of the parent's F for either spin channel n, taken as
    half of the closed shell 2n; correlation times 1 + tanh h; (1 - a) of exchange, of two ranges
    1 - b + (b - a) times what is of short range.
    """
    semilocal = {"pbe": 1, "r2scan": 2}[form["parent"]]
    exchange, correlation = PARTS[form["parent"]]
    bound, total = form["bound"], np.zeros(rho.shape[-1])
    for spin in (0, 1):
        twice = 2.0 * rho[spin]
        parent = libxc(exchange, twice)
        limit = parent / (-0.75 * (3.0 / np.pi) ** (1.0 / 3.0) * twice[0] ** (4.0 / 3.0))
        semi, _ = ingredients(np.stack([rho[spin], rho[spin]]), semilocal)
        grown = np.exp(factor(below(weights, "x_factor."), semi, []))
        left = 1.0 - weights["share"]
        if "ranges.omega" in weights:
            far, near = weights["ranges.long_exchange"], short_range(twice[0], weights["ranges.omega"])
            left = 1.0 - far + (far - weights["share"]) * near
        total += left * 0.5 * parent * bound * grown / (bound + limit * (grown - 1.0))
    semi, rest = ingredients(rho, semilocal)
    learned = np.tanh(factor(below(weights, "c_factor."), semi, rest))
    return total + (1.0 + learned) * libxc(correlation, rho)


def neural_lda(weights: Weights, rho: np.ndarray) -> np.ndarray:
    """Return the energy per volume (G,) of a network times the exchange of the uniform gas."""
    n = rho[:, 0].sum(0)
    rs = (3.0 / (4.0 * np.pi * n)) ** (1.0 / 3.0)
    zeta = (rho[0, 0] - rho[1, 0]) / n
    value = perceptron(below(weights, "nnmodel.layers."), np.stack([1.0 / (1.0 + rs), zeta**2]))
    return value * n * -0.75 * (3.0 * n / np.pi) ** (1.0 / 3.0)


def functional(form: dict[str, Any], weights: Weights, rho: np.ndarray) -> np.ndarray:
    """Return the energy per volume (G,) of any shipped functional at spin densities (2, 5, G)."""
    if form["type"] == "ensemble":
        values = [
            functional(member, below(weights, f"members.{i}."), rho)
            for i, member in enumerate(form["members"])
        ]
        return sum(values) / len(values)
    learned, weights_of = form["learned"], below(weights, "nnxc.")
    value = (
        enhanced(learned, weights_of, rho) if learned["type"] == "enhanced" else neural_lda(weights_of, rho)
    )
    conventional = form["conventional"]
    if conventional is not None:
        assert conventional == {"type": "libxc", "name": "lda,pw"}
        # PySCF: the comma stands between exchange and correlation
        return weights["aweight"] * value + weights["bweight"] * libxc("lda,pw", rho)
    return weights["aweight"] * value


def parts_of(form: dict[str, Any], weights: Weights) -> list[tuple[float, dict[str, Any], Weights]]:
    """Return the functionals that a shipped one is the mean of, with their shares."""
    if form["type"] != "ensemble":
        return [(1.0, form, weights)]
    members = form["members"]
    return [(1.0 / len(members), m, below(weights, f"members.{i}.")) for i, m in enumerate(members)]


def exact_exchange(form: dict[str, Any], weights: Weights) -> dict[float, float]:
    """Return shares of exact exchange by omega (of erf(omega r)/r; 0 stands for 1/r)."""
    found: dict[float, float] = {}
    for part, _, own in parts_of(form, weights):
        full = float(own["aweight"] * own.get("nnxc.share", 0.0))
        found[0.0] = found.get(0.0, 0.0) + part * full
        if "nnxc.ranges.omega" in own:
            omega = float(own["nnxc.ranges.omega"])
            more = float(own["aweight"] * own["nnxc.ranges.long_exchange"]) - full
            found[omega] = found.get(omega, 0.0) + part * more
    return found


def dispersion(form: dict[str, Any], weights: Weights, numbers: np.ndarray, positions: np.ndarray) -> float:
    """Return the D4 energy (Ha) of the program of its authors, positions in Bohr; 0 without."""
    total = 0.0
    for part, member, own in parts_of(form, weights):
        if "dispersion" not in member:
            continue
        assert member["dispersion"]["model"] == "d4"
        from dftd4.interface import DampingParam, DispersionModel

        known = {k: float(own[f"dispersion.{k}"]) for k in ("s6", "s8", "s9", "a1", "a2")}
        found = DispersionModel(numbers, positions).get_dispersion(DampingParam(**known), grad=False)
        total += part * found["energy"]
    return total


# -- one dimension ---------------------------------------------------------------------------------


def ksr_energy(weights: Weights, density: np.ndarray, spacing: float) -> float:
    """Return exchange and correlation, Ha, of a density (n,) on a line; "global" functional.

    Li et al., Phys. Rev. Lett. 126, 036401 (2021), with matrices in place of Fourier transforms.
    """
    points = np.arange(len(density))
    distance = spacing * np.abs(np.subtract.outer(points, points))
    widths = 0.1 + (2.385345 - 0.1) * sigmoid(weights["functional.eta"])
    wide = [np.exp(-distance / w) / (2.0 * w) @ density * spacing for w in widths]
    x = np.stack([density, *wide])
    for number in range(3):
        kernel = weights[f"functional.layers.{number}"]
        half = kernel.shape[2] // 2
        padded = np.pad(x, ((0, 0), (half, half)))
        x = silu(sum(kernel[:, :, k] @ padded[:, k : k + len(density)] for k in range(kernel.shape[2])))
    epsilon = -x[0]
    hartree = 1.071295 * np.exp(-distance / 2.385345) @ density * spacing
    gate = np.exp(-(((density.sum() * spacing - 1.0) / weights["functional.gate_width"]) ** 2))
    return float((density * ((1.0 - gate) * epsilon - 0.5 * gate * hartree)).sum() * spacing)


# -- properties ------------------------------------------------------------------------------------


def deq(
    form: dict[str, Any], weights: Weights, nodes: np.ndarray, edges: np.ndarray, bonds: np.ndarray
) -> np.ndarray:
    """Return the outputs of an equilibrium network of one graph.

    z_i = tanh(W z_i + U sum_j g_ij z_j / sqrt(d_i d_j) + x_i), iterated until nothing changes;
    Gu et al., NeurIPS 2020.

    Parameters
    ----------
    nodes, bonds : (N, 30), (E, 11)
        Features.
    edges : (2, E)
        From, to.
    """
    weights = {k: v.astype(float) for k, v in below(weights, "network.").items()}
    cell = below(weights, "cell.")

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ cell[f"{name}.weight"].T + cell[f"{name}.bias"]

    source, target = edges
    count = len(nodes)
    z = np.maximum(linear("encode.0", nodes), 0.0)
    share = (
        1.0
        / np.sqrt(
            np.bincount(source, minlength=count)[source] * np.bincount(target, minlength=count)[target]
        )[:, None]
    )
    gates = np.tanh(linear("gates", np.hstack([z[source], z[target], bonds]))) * share
    into = np.zeros((count, len(source)))  # sums over the edges that end at a node
    into[target, np.arange(len(source))] = 1.0
    around = into @ (z[source] * linear("bonds", bonds) * share)
    x = linear("inject", np.hstack([z, around]))
    matrices = [cell["own.0"], cell["others.0"]]
    norm = sum(np.linalg.svd(m, compute_uv=False)[0] for m in matrices)
    own, others = (m * min(1.0, form["bound"] / norm) for m in matrices)
    z, before = np.zeros_like(x), np.ones_like(x)
    while np.abs(z - before).max() > 1e-13:
        before, z = z, np.tanh(z @ own.T + into @ (z[source] * gates) @ others.T + x)

    graph = np.zeros((count, count))
    graph[source, target] = 1.0
    far = np.minimum(shortest_path(graph, unweighted=True), 10).astype(int)
    charge = z @ cell["pool.pairs.charge.weight"].T
    charge -= charge.mean(0)
    moment = sum(
        charge[i] * charge[j] * cell["pool.pairs.kernel"][far[i, j]] for i in range(count) for j in range(i)
    )
    root = np.sign(moment) * (np.sqrt(np.abs(moment) + 1e-4) - 1e-2)
    pooled = [z.mean(0), z.sum(0) / 10.0, z.max(0), moment / count, root]
    hidden = np.maximum(weights["hidden.weight"] @ np.hstack(pooled) + weights["hidden.bias"], 0.0)
    return weights["out.weight"] @ hidden + weights["out.bias"]

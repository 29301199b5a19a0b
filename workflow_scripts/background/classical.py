"""Flat fields by classical means: blur of the tile, median of tiles, eigen flat fields of references.

All work on logarithms: log tile = log flat field − optical density + a constant. What they return is the log flat field
up to a constant of each tile.
"""

from dataclasses import dataclass

import numpy as np

_NOISE_SETS = 10  # random sets that a component is compared with
_PARALLEL_PX = 128  # most pixels a side in that comparison
_NEGLIGIBLE = 1e-10  # share of the variance below which a component is rounding
_REWEIGHTINGS = 60


def log_of_counts(counts: np.ndarray, dark: float | np.ndarray = 0.0) -> np.ndarray:
    """log((counts − dark) / level) of raw tiles (N, H, W), float32; the level is the median of the tile's logarithm.

    Pixels with no more counts than the dark frame are taken as a thousandth of the tile's median signal.

    Args:
        dark: counts, of all pixels or (H, W).

    Raises:
        ValueError: half of a tile is no brighter than the dark frame.
    """
    signal = np.asarray(counts, dtype=np.float64) - dark
    level = np.median(signal, axis=(-2, -1), keepdims=True)
    if not (level > 0).all():
        raise ValueError("half of a tile is no brighter than the dark frame")
    logs = np.log(np.maximum(signal, 1e-3 * level))
    return (logs - np.median(logs, axis=(-2, -1), keepdims=True)).astype(np.float32)


def gaussian_flats(log_tiles: np.ndarray, sigma_px: float, mask: np.ndarray | None = None) -> np.ndarray:
    """Pseudo-flats: every log tile (N, H, W) blurred by a Gaussian; what leaves the tile or the mask has no weight.

    Args:
        sigma_px: standard deviation of the Gaussian, pixels.
        mask: bool (N, H, W) or (H, W), True where a pixel counts.

    Raises:
        ValueError: a mask leaves nothing within reach of a pixel.
    """
    from scipy.ndimage import gaussian_filter  # here, since it takes long to import and most estimators need none

    tiles = np.asarray(log_tiles)
    weight = np.ones((1, *tiles.shape[1:])) if mask is None else np.asarray(mask, dtype=np.float64)
    weight = weight.reshape(-1, *tiles.shape[1:])  # one for all tiles, or one each
    sigma = (0, sigma_px, sigma_px)
    reach = gaussian_filter(weight, sigma, mode="constant")
    if not (reach > 1e-12).all():
        raise ValueError("the mask leaves pixels farther than the Gaussian reaches; use a larger sigma_px")
    # Masked pixels may be NaN: 0 × NaN would spread.
    seen = np.where(weight > 0, tiles, 0.0)
    return (gaussian_filter(seen, sigma, mode="constant") / reach).astype(np.float32)


def nearest_in_order(n_tiles: int, index: int, n: int) -> np.ndarray:
    """Numbers of the n tiles nearest to a tile in the order of recording, itself first; the earlier one of two wins.

    Raises:
        ValueError: there are fewer tiles.
    """
    if not 1 <= n <= n_tiles:
        raise ValueError(f"{n} tiles are asked for, but there are {n_tiles}")
    order = sorted(range(n_tiles), key=lambda other: (abs(other - index), other))
    return np.array(order[:n])


def median_flats(log_tiles: np.ndarray, n: int) -> np.ndarray:
    """Pixelwise median of the logs of each tile and its neighbours in order, n in all: (M, H, W) to the same.

    Raises:
        ValueError: there are fewer tiles than n.
    """
    tiles = np.asarray(log_tiles, dtype=np.float32)
    if n == len(tiles):
        return np.repeat(np.median(tiles, axis=0, keepdims=True), n, axis=0)
    return np.stack([np.median(tiles[nearest_in_order(len(tiles), i, n)], axis=0) for i in range(len(tiles))])


def maximum_flats(log_tiles: np.ndarray, n: int) -> np.ndarray:
    """Pixelwise maximum of the logs of each tile and its neighbours in order, n in all: (M, H, W) to the same.

    Specimens darken, so of few tiles the brightest is nearer to the flat field than their median; its noise adds up.

    Raises:
        ValueError: there are fewer tiles than n.
    """
    tiles = np.asarray(log_tiles, dtype=np.float32)
    return np.stack([tiles[nearest_in_order(len(tiles), i, n)].max(axis=0) for i in range(len(tiles))])


@dataclass(frozen=True)
class EigenFlats:
    """Flat fields of a session as a mean and components, after Van Nieuwenhove et al., doi:10.1364/OE.23.027975.

    Principal components of the references are kept while they stand out of noise (parallel analysis); a tile's weights
    are those with the smallest total variation of the corrected image. Here all that is done on logarithms, where the
    search for weights is convex, and each component is compared with noise of the variance that earlier ones leave,
    so that a strong component does not hide a weak one.

    Attributes:
        mean: mean of the log references, (H, W).
        components: (k, H, W), orthonormal, strongest first; k may be 0.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def of_references(cls, log_references: np.ndarray, generator: np.random.Generator) -> "EigenFlats":
        """From log references (R, H, W).

        Args:
            generator: of the random sets in the parallel analysis.

        Raises:
            ValueError: fewer than two references.
        """
        references = np.asarray(log_references, dtype=np.float64)
        if references.ndim != 3 or len(references) < 2:
            raise ValueError(f"references of the shape {references.shape}, expected (R, H, W) with R ≥ 2")
        # The constant of a reference is no shape.
        references = references - references.mean(axis=(1, 2), keepdims=True)
        mean = references.mean(axis=0)
        deviations = (references - mean).reshape(len(references), -1)
        step = max(1, -(-max(mean.shape) // _PARALLEL_PX))
        sample = (references - mean)[:, ::step, ::step].reshape(len(references), -1)
        count = significant_components(sample, generator)
        # Few images of many pixels: the small Gram matrix has the same eigenvalues.
        values, vectors = np.linalg.eigh(deviations @ deviations.T)
        order = np.argsort(values)[::-1][:count]
        components = (vectors[:, order].T @ deviations) / np.sqrt(values[order])[:, None]
        return cls(mean.astype(np.float32), components.reshape(count, *mean.shape).astype(np.float32))

    def weights(self, log_tile: np.ndarray, bin_px: int = 2) -> np.ndarray:
        """Weights (k,) of the components for one log tile (H, W), the same whatever constant is added to it.

        The isotropic total variation Σ|∇(y − mean − Σ w e)| of the image averaged over blocks is made smallest by
        reweighted least squares.

        Args:
            bin_px: side of the blocks, pixels; larger ones suppress more noise.
        """
        if not len(self.components):
            return np.zeros(0)
        target = _gradients(_binned(np.asarray(log_tile, dtype=np.float64) - self.mean, bin_px))
        design = np.stack([_gradients(_binned(component.astype(np.float64), bin_px)) for component in self.components])
        a, b = design.reshape(len(design), -1), target.ravel()  # (k, 2 P), (2 P)
        weights = np.linalg.lstsq(a.T, b, rcond=None)[0]
        for _ in range(_REWEIGHTINGS):
            left = target - np.tensordot(weights, design, axes=1)
            length = np.sqrt((left**2).sum(axis=0))
            # Relative to typical lengths, so that the answer does not depend on the contrast of the tile.
            floor = max(1e-5 * float(length.mean()), 1e-12)
            factor = np.tile(1 / np.maximum(length, floor), 2)
            found = np.linalg.lstsq((a * factor) @ a.T, (a * factor) @ b, rcond=None)[0]
            done = np.allclose(found, weights, rtol=1e-7, atol=1e-10)
            weights = found
            if done:
                break
        return weights

    def log_flats(self, log_tiles: np.ndarray, bin_px: int = 2) -> np.ndarray:
        """Log flat fields (N, H, W) of log tiles (N, H, W)."""
        found = [self.mean + np.tensordot(self.weights(tile, bin_px), self.components, axes=1) for tile in log_tiles]
        return np.stack(found).astype(np.float32)


def significant_components(deviations: np.ndarray, generator: np.random.Generator) -> int:
    """Number of principal components of (R, P) deviations from a mean that stand out of noise: parallel analysis.

    The largest eigenvalue of what earlier components leave must exceed, by two standard deviations, those of random
    sets with the same variance at every pixel (doi:10.1007/BF02289447).
    """
    left = np.asarray(deviations, dtype=np.float64)
    total = float((left**2).sum())
    rank = len(left) - 1
    for count in range(rank):
        remaining = rank - count
        power = float((left**2).sum())
        if power <= _NEGLIGIBLE * total:
            return count
        scale = np.sqrt((left**2).sum(axis=0) / remaining)
        random = []
        for _ in range(_NOISE_SETS):
            noise = generator.standard_normal((remaining, left.shape[1])) * scale
            random.append(np.linalg.eigvalsh(noise @ noise.T)[-1])
        values, vectors = np.linalg.eigh(left @ left.T)
        if values[-1] <= np.mean(random) + 2 * np.std(random):
            return count
        left = left - np.outer(vectors[:, -1], vectors[:, -1] @ left)
    return rank


def _binned(image: np.ndarray, side: int) -> np.ndarray:
    if side == 1:
        return image
    from scipy.ndimage import uniform_filter

    averaged = uniform_filter(image, side, mode="nearest")
    return averaged[side // 2 :: side, side // 2 :: side]


def _gradients(image: np.ndarray) -> np.ndarray:
    """Forward differences down and right, (2, (h − 1)(w − 1))."""
    corner = image[:-1, :-1]
    return np.stack([image[1:, :-1] - corner, image[:-1, 1:] - corner]).reshape(2, -1)

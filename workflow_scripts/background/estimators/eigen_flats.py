"""Eigen flat fields: principal components of images without a specimen, after Van Nieuwenhove et al.

doi:10.1364/OE.23.027975. Everything is computed on logarithms: log tile = log flat field − optical density + a
constant.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from workflow_scripts.background.simulation.sessions import Predictions, session_logs
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.conditions import condition
from workflow_scripts.workflow.command import Job

_NOISE_SETS = 10  # random sets with which a component is compared
_PARALLEL_PX = 128  # largest side of the images in that comparison
_NEGLIGIBLE = 1e-10  # fraction of the variance below which a component is rounding error
_REWEIGHTINGS = 60
_BIN_PX = 2  # side of the blocks over which the image is averaged: less noise in its total variation
_SEED = 0  # of the random sets


def predict(job: Job, tiles: RawTiles) -> Predictions:
    """Log flat fields from references of the same session, and from references of an earlier one."""
    return {
        ("fitted", condition(references=name)): {"log_flat": _log_flats(tiles, references)}
        for name, references in (("same", tiles.references), ("earlier", tiles.earlier_references))
    }


def _log_flats(tiles: RawTiles, references: np.ndarray) -> np.ndarray:
    """Log flat fields (K, M, H, W) of all tiles from references (K, R, H, W), counts."""
    sessions = []
    for counts, bare in zip(tiles.counts, references, strict=True):
        eigen = EigenFlats.of_references(session_logs(bare, tiles.dark)[0], np.random.default_rng(_SEED))
        sessions.append(eigen.log_flats(session_logs(counts, tiles.dark)[0]))
    return np.stack(sessions)


@dataclass(frozen=True)
class EigenFlats:
    """Flat fields of a session as a mean and principal components.

    Only components significantly above noise are used (parallel analysis). The weights of a tile minimise the total
    variation of the corrected image, which is a convex problem on logarithms. Each component is compared with noise
    that has the residual variance of the earlier ones, so that a strong component does not hide a weak one.

    Attributes:
        mean: mean of the log references, (H, W).
        components: (k, H, W), orthonormal, strongest first; k may be 0.
    """

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def of_references(cls, log_references: np.ndarray, generator: np.random.Generator) -> "EigenFlats":
        """From log references (R, H, W), at least two.

        Args:
            log_references: ln of the references.
            generator: for the random sets of the parallel analysis.
        """
        references = np.asarray(log_references, dtype=np.float64)
        # The constant of a reference is arbitrary.
        references = references - references.mean(axis=(1, 2), keepdims=True)
        mean = references.mean(axis=0)
        deviations = (references - mean).reshape(len(references), -1)
        step = max(1, -(-max(mean.shape) // _PARALLEL_PX))
        sample = (references - mean)[:, ::step, ::step].reshape(len(references), -1)
        count = significant_components(sample, generator)
        # Few images with many pixels: the small Gram matrix has the same nonzero eigenvalues.
        values, vectors = np.linalg.eigh(deviations @ deviations.T)
        order = np.argsort(values)[::-1][:count]
        components = (vectors[:, order].T @ deviations) / np.sqrt(values[order])[:, None]
        return cls(mean.astype(np.float32), components.reshape(count, *mean.shape).astype(np.float32))

    def weights(self, log_tile: np.ndarray) -> np.ndarray:
        """Weights (k,) of the components for one log tile (H, W), independent of the constant of the tile.

        Iteratively reweighted least squares minimises the isotropic total variation Σ|∇(y − mean − Σ w e)| of the image
        averaged over blocks.
        """
        if not len(self.components):
            return np.zeros(0)
        target = _gradients(_binned(np.asarray(log_tile, dtype=np.float64) - self.mean))
        design = np.stack([_gradients(_binned(component.astype(np.float64))) for component in self.components])
        a, b = design.reshape(len(design), -1), target.ravel()  # (k, 2 P), (2 P)
        weights = np.linalg.lstsq(a.T, b, rcond=None)[0]
        for _ in range(_REWEIGHTINGS):
            residual = target - np.tensordot(weights, design, axes=1)
            length = np.sqrt((residual**2).sum(axis=0))
            # Relative to typical lengths, so that the weights do not depend on the contrast of the tile.
            floor = max(1e-5 * float(length.mean()), 1e-12)
            factor = np.tile(1 / np.maximum(length, floor), 2)
            previous, weights = weights, np.linalg.lstsq((a * factor) @ a.T, (a * factor) @ b, rcond=None)[0]
            if np.allclose(weights, previous, rtol=1e-7, atol=1e-10):
                break
        return weights

    def log_flats(self, log_tiles: np.ndarray) -> np.ndarray:
        """Log flat fields (N, H, W) of log tiles (N, H, W)."""
        flats = [self.mean + np.tensordot(self.weights(tile), self.components, axes=1) for tile in log_tiles]
        return np.stack(flats).astype(np.float32)


def significant_components(deviations: np.ndarray, generator: np.random.Generator) -> int:
    """Number of principal components of (R, P) deviations from a mean that are significantly above noise.

    Parallel analysis (doi:10.1007/BF02289447): the largest eigenvalue of the residual of earlier components must
    exceed, by two standard deviations, the mean of those of random sets with the same variance at every pixel.
    """
    residual = np.asarray(deviations, dtype=np.float64)
    total = float((residual**2).sum())
    rank = len(residual) - 1
    for count in range(rank):
        remaining = rank - count
        power = float((residual**2).sum())
        if power <= _NEGLIGIBLE * total:
            return count
        scale = np.sqrt((residual**2).sum(axis=0) / remaining)
        largest = []
        for _ in range(_NOISE_SETS):
            noise = generator.standard_normal((remaining, residual.shape[1])) * scale
            largest.append(np.linalg.eigvalsh(noise @ noise.T)[-1])
        values, vectors = np.linalg.eigh(residual @ residual.T)
        if values[-1] <= np.mean(largest) + 2 * np.std(largest):
            return count
        residual = residual - np.outer(vectors[:, -1], vectors[:, -1] @ residual)
    return rank


def _binned(image: np.ndarray) -> np.ndarray:
    averaged = uniform_filter(image, _BIN_PX, mode="nearest")
    return averaged[_BIN_PX // 2 :: _BIN_PX, _BIN_PX // 2 :: _BIN_PX]


def _gradients(image: np.ndarray) -> np.ndarray:
    """Forward differences down and right, (2, (h − 1)(w − 1))."""
    corner = image[:-1, :-1]
    return np.stack([image[1:, :-1] - corner, image[:-1, 1:] - corner]).reshape(2, -1)

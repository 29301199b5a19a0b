"""Quality of a correction without ground truth: agreement of overlapping tiles, and remaining contrast.

In their overlap two tiles show the same specimen at different positions of the flat field, so the difference of their
corrected logarithms is an error. A correction that blurs the specimen makes it small too; therefore the contrast and
the recovery of injected absorbers are reported as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from workflow_scripts.background.apply.data import UserTiles
from workflow_scripts.background.apply.output import LEAVE_PAIR_OUT
from workflow_scripts.background.apply.overlaps import Overlap
from workflow_scripts.background.estimators.eigen_flats import EigenFlats
from workflow_scripts.background.estimators.gaussian import gaussian_flats
from workflow_scripts.background.estimators.median import flats_of_sets
from workflow_scripts.background.settings import RECOMMENDED

Estimator = Callable[[np.ndarray], np.ndarray]  # log tiles (N, H, W) to log flat fields (N, H, W)

DIAMETERS_PX = 4, 16, 64
MOST_ABSORBERS = 2  # overlaps with injected discs; few, since a network must correct their tiles again
_OPTICAL_DENSITY = 0.1  # of injected discs
_GOLDEN = 0.6180339887498949
_SEED = 0


def quality(
    tiles: UserTiles, overlaps: Sequence[Overlap], flats: np.ndarray, with_absorbers: Estimator
) -> dict[str, Any]:
    """Quality by estimator: those without a network, and the recommended arm.

    Args:
        tiles: the user's tiles.
        overlaps: the overlaps to compare.
        flats: log flat fields (N, H, W) of the recommended arm.
        with_absorbers: the recommended arm, applied to tiles with injected absorbers.
    """
    results = {}
    for name, estimator in classical_estimators(tiles).items():
        results[name] = measured(tiles.logs, estimator(tiles.logs), estimator, overlaps)
    if overlaps and len(tiles.logs) > 2:
        results[LEAVE_PAIR_OUT] = {"overlap_residual": leave_pair_out_residual(tiles.logs, overlaps)}
    return results | {RECOMMENDED: measured(tiles.logs, flats, with_absorbers, overlaps)}


def classical_estimators(tiles: UserTiles) -> dict[str, Estimator]:
    """The estimators without a network that are applicable to these tiles, by name."""
    estimators: dict[str, Estimator] = {"zeros": np.zeros_like, "gaussian": gaussian_flats}
    sizes = [size for size in (2, 4, 16) if size <= len(tiles.logs)]
    estimators |= {f"median_{size}": partial(flats_of_sets, size=size) for size in sizes}
    if len(tiles.reference_logs) > 1:
        eigen = EigenFlats.of_references(tiles.reference_logs, np.random.default_rng(_SEED))
        estimators["eigen_flats"] = eigen.log_flats
    return estimators


def chosen_overlaps(overlaps: Sequence[Overlap]) -> list[Overlap]:
    """The overlaps with the highest correlation, for injected absorbers."""
    return sorted(overlaps, key=lambda overlap: -overlap.correlation)[:MOST_ABSORBERS]


def measured(
    logs: np.ndarray, flats: np.ndarray, with_absorbers: Estimator, overlaps: Sequence[Overlap]
) -> dict[str, Any]:
    """Overlap residual, contrast and recovered density of injected absorbers of one estimator, as plain JSON.

    Args:
        logs, flats: log tiles and the estimator's log flat fields (N, H, W).
        with_absorbers: the estimator, applied to tiles with absorbers; only the tiles of `chosen_overlaps` are used.
        overlaps: the overlaps to compare; without any, only the contrast is measured.
    """
    results: dict[str, Any] = {"contrast": contrast_retained(logs - flats)}
    if not overlaps:
        return results | {"overlap_residual": None, "recovered_density": None}
    # A square of twice the diameter must fit into a tile
    diameters = [diameter for diameter in DIAMETERS_PX if 2 * diameter < min(logs.shape[1:])]
    slopes = recovered_slopes(with_absorbers, logs, chosen_overlaps(overlaps), diameters)
    results["overlap_residual"] = overlap_residual(logs - flats, overlaps)
    results["recovered_density"] = {f"{diameter}_px": slope for diameter, slope in slopes.items()}
    return results


def overlap_residual(corrected: np.ndarray, overlaps: Sequence[Overlap]) -> float:
    """Standard deviation of the difference of corrected log tiles (N, H, W) in each overlap, mean over the overlaps."""
    residuals = [_residual(corrected[overlap.first], corrected[overlap.second], overlap) for overlap in overlaps]
    return float(np.mean(residuals))


def leave_pair_out_residual(log_tiles: np.ndarray, overlaps: Sequence[Overlap]) -> float:
    """Overlap residual if each pair is corrected by the median of all other tiles (at least three tiles in all)."""
    residuals = []
    for overlap in overlaps:
        pair = [overlap.first, overlap.second]
        flat = np.median(np.delete(log_tiles, pair, axis=0), axis=0)
        residuals.append(_residual(*(log_tiles[pair] - flat), overlap))
    return float(np.mean(residuals))


def _residual(first: np.ndarray, second: np.ndarray, overlap: Overlap) -> np.floating:
    """Standard deviation of the difference of two tiles (H, W) in their overlap."""
    part_of_first, part_of_second = overlap.slices(first.shape)
    return np.std(first[part_of_first] - second[part_of_second], dtype=np.float64)


def contrast_retained(corrected: np.ndarray) -> float:
    """Standard deviation of the corrected log tiles (N, H, W), mean over the tiles."""
    return float(np.std(corrected, axis=(1, 2), dtype=np.float64).mean())


@dataclass(frozen=True)
class _Disc:
    """An injected disc in one of the tiles that show it: number of the tile, and centre [y, x] in its pixels."""

    tile: int
    centre: tuple[float, float]

    def window(self, shape: tuple[int, int], diameter_px: float) -> tuple[slice, slice]:
        """A square of twice the diameter around it, within the tile."""
        low = [max(0, round(c - diameter_px)) for c in self.centre]
        high = [min(n, round(c + diameter_px) + 1) for c, n in zip(self.centre, shape, strict=True)]
        return slice(low[0], high[0]), slice(low[1], high[1])


def disc_rounds(
    overlaps: Sequence[Overlap], shape: tuple[int, int], diameter_px: float
) -> list[list[tuple[_Disc, _Disc]]]:
    """One disc per overlap, in both of its tiles, grouped into rounds in which discs share no detector pixel.

    Discs at the same pixels of several tiles would look like background. They are centred across an overlap, and at
    different positions along it.
    """
    rounds: list[tuple[list[tuple[_Disc, _Disc]], np.ndarray]] = []
    for number, overlap in enumerate(overlaps):
        parts = overlap.slices(shape)
        lengths = [axis.stop - axis.start for axis in parts[0]]
        along = int(np.argmax(lengths))
        shares = [0.5, 0.5]
        shares[along] = 0.2 + 0.6 * ((0.5 + number * _GOLDEN) % 1)
        pair = tuple(
            _Disc(tile, tuple(axis.start + q * (n - 1) for axis, q, n in zip(part, shares, lengths, strict=True)))
            for tile, part in zip((overlap.first, overlap.second), parts, strict=True)
        )
        needed = np.zeros(shape, dtype=bool)
        for disc in pair:
            needed[disc.window(shape, diameter_px)] = True
        for members, taken in rounds:
            if not (taken & needed).any():
                members.append(pair)
                taken |= needed
                break
        else:
            rounds.append(([pair], needed))
    return [members for members, _ in rounds]


def recovered_slopes(
    estimator: Estimator, log_tiles: np.ndarray, overlaps: Sequence[Overlap], diameters_px: Sequence[float]
) -> dict[float, float]:
    """Recovered fraction of the optical density of injected discs, by diameter; 1 is perfect.

    A disc is multiplied into both tiles of an overlap at the same point of the specimen. The estimator corrects the
    unchanged tiles, and the tiles with the discs of each round of `disc_rounds`. The change of the corrected tiles is
    regressed on the injected density, with an intercept, in a square of twice the diameter around each disc, clipped to
    the tile; the result is the mean slope. A random estimator must draw the same numbers in every call.

    Args:
        estimator: from log tiles (N, H, W) to log flat fields (N, H, W).
        log_tiles: (N, H, W).
        overlaps: overlaps that get a disc.
        diameters_px: of the discs.
    """
    shape = log_tiles.shape
    before = estimator(log_tiles)
    slopes = {}
    for diameter_px in diameters_px:
        shares = []
        for pairs in disc_rounds(overlaps, shape[1:], diameter_px):
            placed = [disc for pair in pairs for disc in pair]
            density = np.zeros(shape, dtype=np.float32)
            for disc in placed:
                density[disc.tile] += _OPTICAL_DENSITY * _disc(shape[1:], disc.centre, diameter_px)
            recovered = density + estimator(log_tiles - density) - before
            for disc in placed:
                window = disc.window(shape[1:], diameter_px)
                known = density[disc.tile][window].astype(np.float64)
                known -= known.mean()
                shares.append((known * recovered[disc.tile][window]).sum() / (known**2).sum())
        slopes[diameter_px] = float(np.mean(shares))
    return slopes


def _disc(shape: tuple[int, int], centre: tuple[float, float], diameter_px: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.clip(diameter_px / 2 + 0.5 - np.hypot(y - centre[0], x - centre[1]), 0, 1)

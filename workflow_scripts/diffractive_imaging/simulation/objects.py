"""Phase objects for training and test, in units of their own standard deviation.

Every object has zero mean and unit standard deviation; multiplied by ``phase_std_rad`` it is a phase.
"""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from workflow_scripts.workflow.errors import InputError

_CANVAS_PX = 512
_CROPS_PER_CANVAS = 1000
_LEAF_RADII_PX = (2.0, 64.0)


def standardise(images: np.ndarray) -> np.ndarray:
    """Zero mean and unit standard deviation for each of (..., n, n) images, float32.

    Raises:
        ValueError: an image is constant.
    """
    images = np.asarray(images, dtype=np.float64)
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    std = centred.std(axis=(-2, -1), keepdims=True)
    if not (std > 0).all():
        raise ValueError("a constant image has no standard deviation to divide by")
    return (centred / std).astype(np.float32)


def photograph_crops(
    photographs: Mapping[str, np.ndarray], count: int, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Crops at random place, rotation and scale; the photographs take turns.

    The scale, source pixels per object pixel, is drawn log-uniformly from 1 to as much as the photograph
    holds (at most 8). Coarse scales are read from a pyramid of block means, so nothing aliases. Crops that
    are nearly flat (below 2 % of the photograph's own standard deviation) are drawn again.

    Args:
        photographs: by name, grey images (height, width), finite, each side at least 1.5 n.
        count: number of objects.
        n: pixels along each side of an object.

    Returns:
        objects float32 (count, n, n), standardised; the index of the photograph of each, int64 (count,).

    Raises:
        InputError: a photograph shows nothing in 100 crops.
    """
    names, pyramids = list(photographs), [_pyramid(image) for image in photographs.values()]
    origin = np.arange(count) % len(photographs)
    crops = np.array([_one_crop(names[index], pyramids[index], n, rng) for index in origin], dtype=np.float32)
    return standardise(crops), origin


def _pyramid(image: np.ndarray) -> list[np.ndarray]:
    """The image and its means over 2 × 2, 4 × 4 and 8 × 8 blocks, as far as it holds them."""
    levels = [np.asarray(image, dtype=np.float32)]
    while len(levels) < 4 and min(levels[-1].shape) >= 2:
        height, width = (side // 2 for side in levels[-1].shape)
        blocks = levels[-1][: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        levels.append(blocks.mean(axis=(1, 3)))
    return levels


def _one_crop(name: str, pyramid: list[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """One crop (n, n) that is not flat."""
    full = pyramid[0]
    floor = 0.02 * full.std()
    offset = np.arange(n) - (n - 1) / 2
    for _ in range(100):
        angle = rng.uniform(0, 2 * np.pi)
        spread = (n - 1) / 2 * (abs(np.cos(angle)) + abs(np.sin(angle)))  # half the rotated crop, object px
        largest = (min(full.shape) - 1) / (2 * spread)
        scale = np.exp(rng.uniform(0, np.log(np.clip(largest, 1, 8))))
        level = min(int(np.log2(scale)), len(pyramid) - 1)
        image, step = pyramid[level], scale / 2**level
        low = min(spread * step, (min(image.shape) - 1) / 2)
        centre = [rng.uniform(low, side - 1 - low) for side in image.shape]
        along, across = step * offset[:, None], step * offset[None, :]
        y = centre[0] + np.cos(angle) * along - np.sin(angle) * across
        x = centre[1] + np.sin(angle) * along + np.cos(angle) * across
        crop = ndimage.map_coordinates(image, [y, x], order=1, mode="nearest")
        if crop.std() > floor:
            return crop
    raise InputError(f"{name}: so flat that 100 random crops show nothing, expected a picture; remove the file")


def power_law_noise(count: int, n: int, rng: np.random.Generator, exponent: float = 1.0) -> np.ndarray:
    """Gaussian random fields with amplitude ∝ 1 / f^exponent, periodic; 1 is the 1/f set, 0 white noise.

    Returns:
        float32 (count, n, n), standardised.
    """
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :])  # (n, n//2 + 1)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((count, n, n))) * frequency**-exponent
    spectrum[:, 0, 0] = 0
    return standardise(np.fft.irfft2(spectrum, s=(n, n)))


def dead_leaves(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Crops of discs that cover each other, radii r with density ∝ r⁻³ (doi:10.1023/A:1011109015675).

    Returns:
        float32 (count, n, n), standardised.
    """
    objects = np.empty((count, n, n), dtype=np.float32)
    side = max(_CANVAS_PX, n)
    for i in range(count):
        if i % _CROPS_PER_CANVAS == 0:
            canvas = _leaves(side, rng)
        crop = np.zeros((n, n))
        while np.ptp(crop) == 0:  # within a single leaf there is nothing to see
            y, x = rng.integers(0, side - n + 1, size=2)
            crop = canvas[y : y + n, x : x + n]
        objects[i] = crop
    return standardise(objects)


def _leaves(size: int, rng: np.random.Generator) -> np.ndarray:
    """A canvas (size, size) of discs, painted until it is covered eight times over."""
    smallest_px, largest_px = _LEAF_RADII_PX
    mean_area = 2 * np.pi * smallest_px**2 * np.log(largest_px / smallest_px)
    total = int(8 * size**2 / mean_area)
    inverse_square = rng.uniform(largest_px**-2, smallest_px**-2, size=total)  # inverts the law r⁻³
    canvas = np.zeros((size, size), dtype=np.float32)
    for radius, (y, x), grey in zip(
        inverse_square**-0.5, rng.uniform(0, size, (total, 2)), rng.uniform(-1, 1, total), strict=True
    ):
        top, left = max(int(y - radius), 0), max(int(x - radius), 0)
        window = canvas[top : int(y + radius) + 1, left : int(x + radius) + 1]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        window[(rows + top - y) ** 2 + (columns + left - x) ** 2 <= radius**2] = grey
    return canvas


def step_edge(size: int) -> np.ndarray:
    """Two half planes with an edge 10° from the columns: (size, size) object pixels, standardised.

    The slant gives every sub-pixel position of the edge; the edge is one pixel wide.
    """
    axis = np.arange(size) - (size - 1) / 2
    distance = axis[None, :] * np.cos(np.deg2rad(10)) + axis[:, None] * np.sin(np.deg2rad(10))
    return standardise(np.clip(distance, -0.5, 0.5))


def large_photograph(name: str, photograph: np.ndarray, size: int) -> np.ndarray:
    """The central square of a photograph brought to (size, size) object pixels, standardised.

    Args:
        photograph: (height, width); enlarged by cubic splines, reduced after block means.

    Raises:
        InputError: the square has the same value in every pixel.
    """
    side = min(photograph.shape)
    top, left = ((length - side) // 2 for length in photograph.shape)
    square = np.asarray(photograph[top : top + side, left : left + side], dtype=np.float32)
    if np.ptp(square) == 0:
        raise InputError(f"{name}: the same value in every pixel of its central square; remove the file")
    level = max(0, int(np.log2(side / size)))
    square = _pyramid(square)[min(level, 3)]
    return standardise(ndimage.zoom(square, size / square.shape[0], order=3, mode="nearest", grid_mode=True))


def refine(image: np.ndarray, upsampling: int) -> np.ndarray:
    """An object (H, W) on a grid ``upsampling`` times finer, by cubic splines; [u·y, u·x] keeps [y, x].

    A scan samples its object on the fine grid at sub-pixel positions. An object that is made on object pixels and
    then refined has no detail that a patch, sampled on object pixels, could not show.

    Returns:
        float32 (upsampling · H, upsampling · W); the border value is continued past the last pixel.
    """
    y, x = (np.arange(upsampling * side) / upsampling for side in image.shape)
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(image, grid, order=3, mode="nearest").astype(np.float32)

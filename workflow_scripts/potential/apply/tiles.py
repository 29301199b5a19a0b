"""A network applied to images of any size and pixel: resampled, estimated in blended overlapping tiles, and back."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor

Estimate = Callable[[Tensor], Tensor]  # (B, C, side, side) → (B, K, side, side)


def resample(images: np.ndarray, rows_px: np.ndarray, columns_px: np.ndarray, limit_per_px: float = 0.5) -> np.ndarray:
    """Images at other points, exact for what is band-limited; an image is mirrored at its rim.

    The discrete cosine transform is the Fourier series of an image and its mirror image, which leaves no step at the
    rim; its terms are evaluated at the new points.

    Args:
        images: (…, H, W).
        rows_px: (H',), in pixels of the images, from the centre of the first.
        columns_px: (W',).
        limit_per_px: frequencies from here on are left out, cycles per pixel of the images, along each axis.

    Returns:
        float64 (…, H', W').
    """
    spectrum = dctn(np.asarray(images, dtype=np.float64), type=2, norm="ortho", axes=(-2, -1))
    height, width = images.shape[-2:]
    down, across = _cosines(rows_px, height, limit_per_px), _cosines(columns_px, width, limit_per_px)
    return down @ spectrum[..., : down.shape[1], : across.shape[1]] @ across.T


def estimate_image(
    images: np.ndarray,
    pixel_size_a: float,
    network_pixel_size_a: float,
    estimate: Estimate,
    side_px: int,
    batch_size: int,
) -> np.ndarray:
    """The output of a network for images of other sizes and pixels than those of its training.

    Args:
        images: (C, H, W).
        pixel_size_a: side of their pixels, Å.
        network_pixel_size_a: side of the pixels of its training, Å.
        estimate: float32 (B, C, side, side) → (B, K, side, side).
        side_px: side of the tiles.
        batch_size: tiles at once.

    Returns:
        float32 (K, H, W) on the pixels of `images`, band-limited at the Nyquist frequency of the coarser of the two.
    """
    ratio = network_pixel_size_a / pixel_size_a
    limit = 0.5 / max(pixel_size_a, network_pixel_size_a)  # per Å
    # A mirrored border, so that edge effects of tiles and of the resampling back stay outside the field of view
    rim = 2 * _margin(side_px)
    needed = [math.ceil((n - 1) / ratio - 1e-9) + 1 + 2 * rim for n in images.shape[-2:]]
    points = [(np.arange(max(n, side_px)) - rim) * ratio for n in needed]
    onto = resample(images, *points, limit_per_px=limit * pixel_size_a)
    tiled = estimate_tiled(torch.from_numpy(onto).float(), estimate, side_px, batch_size).numpy()
    inside = np.s_[_margin(side_px) : -_margin(side_px)]
    back = [np.arange(n) / ratio + _margin(side_px) for n in images.shape[-2:]]
    return resample(tiled[:, inside, inside], *back, limit_per_px=limit * network_pixel_size_a).astype(np.float32)


def estimate_tiled(images: Tensor, estimate: Estimate, side_px: int, batch_size: int) -> Tensor:
    """One large image of blended tiles: a tile has almost no weight near its edges, where its surroundings are missing.

    Args:
        images: float32 (C, H, W), neither side smaller than a tile.
        estimate: (B, C, side, side) → (B, K, side, side).
        side_px: side of the tiles.
        batch_size: tiles at once.

    Returns:
        (K, H, W); along the rim of the image an eighth of a tile's side is unreliable and is to be discarded.
    """
    height, width = images.shape[-2:]
    starts = [(top, left) for top in _starts(height, side_px) for left in _starts(width, side_px)]
    profile = _profile(side_px)
    window = (profile[:, None] * profile).to(images.device)
    total, weight = None, torch.zeros(height, width, device=images.device)
    for first in range(0, len(starts), batch_size):
        part = starts[first : first + batch_size]
        tiles = torch.stack([images[:, top : top + side_px, left : left + side_px] for top, left in part])
        for (top, left), tile in zip(part, estimate(tiles).to(images), strict=True):
            if total is None:
                total = torch.zeros(len(tile), height, width, device=images.device)
            total[:, top : top + side_px, left : left + side_px] += window * tile
            weight[top : top + side_px, left : left + side_px] += window
    return total / weight


def _margin(side_px: int) -> int:
    return side_px // 8


def _starts(length: int, side_px: int) -> list[int]:
    """Where the tiles begin along an axis: evenly, neighbours at most half a side apart."""
    count = 1 + math.ceil(2 * (length - side_px) / side_px)
    return np.linspace(0, length - side_px, count).round().astype(int).tolist()


def _profile(side_px: int) -> Tensor:
    """Weight along a side: next to nothing in the margin, a raised cosine over a quarter of the side, 1 inside."""
    from_rim = torch.arange(side_px, dtype=torch.float32).add(0.5)
    from_rim = torch.minimum(from_rim, side_px - from_rim)
    share = ((from_rim - _margin(side_px)) / (side_px / 4)).clamp(0, 1)
    # Not zero, so that the rim of the image, which one tile alone covers, has a value
    return (0.5 - 0.5 * torch.cos(math.pi * share)).clamp(min=1e-9)


def _cosines(points_px: np.ndarray, n: int, limit_per_px: float) -> np.ndarray:
    """Orthonormal basis of the discrete cosine transform (type 2) of n pixels at points: (P, terms below the limit)."""
    terms = np.arange(n)
    terms = terms[(terms == 0) | (terms / (2 * n) < limit_per_px - 1e-12)]
    scale = np.where(terms == 0, math.sqrt(1 / n), math.sqrt(2 / n))
    return scale * np.cos(math.pi / n * np.outer(np.asarray(points_px) + 0.5, terms))

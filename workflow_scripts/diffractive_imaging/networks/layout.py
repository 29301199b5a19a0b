"""Patches on the fine grid: where they lie in an image, and their sums in it.

The fine grid has `upsampling` pixels per object pixel. Positions are [y, x] in object pixels, rounded to
the fine grid; pixel [n//2, n//2] of a patch (n, n) lies on its position.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft as scipy_fft

from workflow_scripts.workflow.errors import InputError

# 20,000 × 20,000 fine pixels: more is a mistake in the units of the positions, not a scan.
MAX_FINE_PIXELS = 400_000_000
# Patch pixels handled at once: bounds the memory of their indices (8 bytes each).
CHUNK_PIXELS = 16_777_216


@dataclass(frozen=True)
class Layout:
    """N patches, each reduced to the K pixels where the weights are > 0, in an image on the fine grid.

    rows, columns: (K,) of these pixels, counted from the first row and column that hold one.
    weights: (K,) float64.
    corners: (N,) flat index in the image of the first row and column of each patch's K pixels.
    offsets: (K,) flat index of each pixel from that corner.
    remainders: (N, 2) [y, x] float64, how far each patch lies from where it was rounded to, in fine pixels, ≤ ½.
    shape: (H, W) of the image, a fast size of the FFT.
    extent: (H, W) without the padding for the FFT.
    origin: (y, x) of image pixel [0, 0] in object pixels.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    weights: torch.Tensor
    corners: torch.Tensor
    offsets: torch.Tensor
    remainders: torch.Tensor
    shape: tuple[int, int]
    extent: tuple[int, int]
    origin: tuple[int, int]

    def indices(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Slices of patches with the flat image index (n, K) of their pixels."""
        step = max(1, CHUNK_PIXELS // len(self.offsets))
        for start in range(0, len(self.corners), step):
            chunk = slice(start, start + step)
            yield chunk, self.corners[chunk, None] + self.offsets

    def scatter(self, values: torch.Tensor) -> torch.Tensor:
        """The image (H, W) of the sums of patch values (N, K)."""
        image = torch.zeros(math.prod(self.shape), dtype=values.dtype, device=values.device)
        for chunk, index in self.indices():
            image.index_add_(0, index.flatten(), values[chunk].flatten())
        return image.reshape(self.shape)

    def crop(self, image: torch.Tensor) -> torch.Tensor:
        """Without the padding for the FFT."""
        return image[: self.extent[0], : self.extent[1]]


def lay_out(
    patches: torch.Tensor, positions: torch.Tensor, weights: torch.Tensor, upsampling: int
) -> tuple[Layout, torch.Tensor]:
    """Where patches (N, n, n) lie, and their values (N, K) float64 where the weights (n, n) are > 0.

    Raises:
        InputError: a patch holds NaN under the weights, or the positions (N, 2) span too large an image.
    """
    n = patches.shape[-1]
    positions = positions.cpu().numpy().astype(np.float64)
    span = np.ptp(positions, axis=0)
    if np.prod(span * upsampling + n) > MAX_FINE_PIXELS or np.abs(positions).max() > MAX_FINE_PIXELS:
        raise InputError(
            f"The positions run from {positions.min(0)} to {positions.max(0)}, an image of more than "
            f"{MAX_FINE_PIXELS} fine pixels; expected [y, x] in object pixels, not in Å or nm."
        )
    rows, columns = torch.nonzero(weights > 0, as_tuple=True)
    pixels = patches[:, rows, columns].to(torch.float64)
    finite = torch.isfinite(pixels).all(1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} of {len(patches)} patches hold NaN or infinity inside the mask, "
            f"the first is number {int(torch.nonzero(~finite)[0])}; expected phases in rad: leave those out."
        )
    top, left = int(rows.min()), int(columns.min())
    rows, columns = rows - top, columns - left
    box = np.array([int(rows.max()) + 1, int(columns.max()) + 1])
    nearest = np.rint(positions * upsampling)
    corners = nearest.astype(np.int64) - n // 2 + np.array([top, left])  # (N, 2)
    origin = np.floor_divide(corners.min(0), upsampling)
    corners -= origin * upsampling
    extent = -(-(corners.max(0) + box) // upsampling) * upsampling
    shape = tuple(scipy_fft.next_fast_len(int(length), real=True) for length in extent)
    layout = Layout(
        rows=rows,
        columns=columns,
        weights=weights[weights > 0].to(torch.float64),
        corners=torch.from_numpy(corners[:, 0] * shape[1] + corners[:, 1]).to(patches.device),
        offsets=rows * shape[1] + columns,
        remainders=torch.from_numpy(positions * upsampling - nearest).to(patches.device),
        shape=shape,
        extent=(int(extent[0]), int(extent[1])),
        origin=(int(origin[0]), int(origin[1])),
    )
    return layout, pixels

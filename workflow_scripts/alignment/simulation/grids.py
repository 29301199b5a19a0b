"""Densities on square and cubic grids: .mrc files, background, another sampling."""

import math
from pathlib import Path

import mrcfile
import numpy as np
import torch
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode
from torch import Tensor

from workflow_scripts.workflow.arrays import ArrayError
from workflow_scripts.workflow.errors import InputError

_EDGE = 0.1  # of the radius, over which the rim is faded out
_MOST_VALUES = 512**3
LARGEST = 1e15  # whose square and its sum are still numbers in 32 bits
_REAL_MODES = (0, 1, 2, 6, 12)


def read_mrc(path: Path, dimensions: int) -> tuple[Tensor, float]:
    """The one image or volume of an .mrc file.

    Args:
        path: .mrc or .map.
        dimensions: 2 for an image, 3 for a volume.

    Returns:
        float32 (n, n) [y, x] or (n, n, n) [z, y, x]; Å per pixel, 0 where the header does not state it.

    Raises:
        InputError: absent, truncated or no such file, of the wrong shape or size, complex, or not finite.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        _check_size(path)
        with mrcfile.open(path, header_only=True) as file:
            header = file.header
            shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
            mode = int(header.mode)
            axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
            lengths = [float(file.voxel_size[name]) for name in "xyz"]
    except Exception as error:  # what is no MRC file fails in many ways
        raise InputError(f"{path}: not a whole .mrc file ({_short(error)}); copy or export it again") from None
    _check_shape(shape, dimensions, path)
    if mode not in _REAL_MODES:
        raise InputError(f"{path}: found mode {mode}, expected one of {_REAL_MODES}; save it as 32-bit floats, mode 2")
    if dimensions == 3 and sorted(axes) != [1, 2, 3]:
        raise InputError(f"{path}: found the axes {axes} in its header, expected 1, 2 and 3 in any order; correct it")
    try:
        with mrcfile.open(path) as file:
            values = torch.from_numpy(file.data.astype("f4")).reshape(shape[-dimensions:])
    except Exception as error:  # a truncated file
        raise InputError(f"{path}: not a whole .mrc file ({_short(error)}); copy or export it again") from None
    if not float(values.abs().amax()) < LARGEST:
        raise InputError(f"{path}: found values that are no numbers below {LARGEST:g}; repair the file")
    if not values.amax() > values.amin():
        raise InputError(f"{path}: found the same value everywhere, expected a particle; replace the file")
    if dimensions == 3:
        values = values.permute([axes.index(axis) for axis in (3, 2, 1)])
    size_a = lengths[0]
    if not math.isfinite(size_a) or size_a < 0 or max(lengths[:dimensions]) - min(lengths[:dimensions]) > 0.01 * size_a:
        raise InputError(f"{path}: found pixels of {lengths} Å, expected equal positive sides; correct the header")
    return values.contiguous(), size_a


def _check_size(path: Path) -> None:
    """Raise ArrayError where a file announces more than it has: mrcfile asks for the memory before it reads.

    Whatever else is wrong with its header mrcfile says.
    """
    with path.open("rb") as file:
        content = file.read(HEADER_DTYPE.itemsize)
    if content[:2] in (b"\x1f\x8b", b"BZ"):
        raise ArrayError("it is compressed: unpack it")
    if len(content) < HEADER_DTYPE.itemsize:
        raise ArrayError("it ends within its header")
    order = byte_order_from_machine_stamp(np.frombuffer(content, HEADER_DTYPE)[0]["machst"])
    header = np.frombuffer(content, HEADER_DTYPE.newbyteorder(order))[0]
    nx, ny, nz, mode, extended = (int(header[name]) for name in ("nx", "ny", "nz", "mode", "nsymbt"))
    values = nx * ny * nz * dtype_from_mode(mode).itemsize if mode in _REAL_MODES and min(nx, ny, nz) > 0 else 0
    size = path.stat().st_size
    if extended < 0 or (values <= 4 * _MOST_VALUES and HEADER_DTYPE.itemsize + extended + values > size):
        raise ArrayError(f"its header announces {extended} and {values} bytes behind it, but it has {size} in all")


def _check_shape(shape: tuple[int, ...], dimensions: int, path: Path) -> None:
    sides = shape[-dimensions:]
    found = " × ".join(map(str, shape))
    if min(shape) < 1 or math.prod(shape) > _MOST_VALUES:
        raise InputError(f"{path}: found {found} values, expected at most {_MOST_VALUES}; export it at a larger pixel")
    if (dimensions == 2 and shape[0] != 1) or len(set(sides)) > 1:
        expected = "one square image" if dimensions == 2 else "a cubic volume"
        raise InputError(f"{path}: found {found} values, expected {expected}; cut it out")


def fade_out(density: Tensor) -> Tensor:
    """The density less the level of its rim, brought to 0 outside the inscribed circle or ball.

    The level is the median beyond 0.95 of the radius; the outer tenth of the radius falls off as a cosine.

    Args:
        density: (n, n) or (n, n, n).
    """
    n = density.shape[-1]
    axis = torch.arange(n, dtype=torch.float32) - n // 2
    radius = sum(axis.square().reshape([-1] + [1] * index) for index in range(density.ndim)).sqrt() / ((n - 1) // 2)
    level = density[(radius > 0.95) & (radius <= 1)].median()
    return (density - level) * (0.5 + 0.5 * torch.cos(math.pi * ((radius - 1) / _EDGE + 1).clamp(0, 1)))


def resampled(density: Tensor, n: int) -> Tensor:
    """A periodic density on a grid of n points a side over the same box, its centre staying at [n//2, …].

    Its Fourier transform is cropped or padded with zeros: what both grids resolve is unchanged, and nothing else
    remains. The one frequency of an even grid that has no partner is left out.

    Args:
        density: float32 (m, m) or (m, m, m).

    Returns:
        float32 (n, n) or (n, n, n), the same mean.
    """
    m, axes = density.shape[-1], tuple(range(density.ndim))
    if m == n:
        return density
    common = (min(m, n) - 1) // 2
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(density)))
    target = torch.zeros([n] * density.ndim, dtype=spectrum.dtype)
    inside, outside = (slice(size // 2 - common, size // 2 + common + 1) for size in (m, n))
    target[(outside,) * density.ndim] = spectrum[(inside,) * density.ndim]
    values = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(target), dim=axes)).real
    return values * (n / m) ** density.ndim


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__

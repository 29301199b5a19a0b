"""Images, volumes and stacks of images in MRC files; stacks are read and written in parts.

The format is MRC2014 (doi:10.1016/j.jsb.2015.04.002), read as leniently as in RELION: machine stamps and labels that
older programs omit are not required if sizes and mode are plausible.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode, machine_stamp_from_byte_order

from workflow_scripts.formats.arrays import LARGEST
from workflow_scripts.formats.endings import MRC, has_ending
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import whole

_HEADER_BYTES = 1024
_PACKED = (b"\x1f\x8b", b"BZ")  # .gz and .bz2
_MOST_VALUES = 512**3  # of one image or volume
_BOX_PX = (8, 8192)
_MOST_IMAGES = 100_000_000
_PIXEL_SIZES_A = (0.05, 100.0)
_VOLUME_STACK = 401
_OTHER_MODES = {
    3: "complex numbers, a Fourier transform",
    4: "complex numbers, a Fourier transform",
    16: "RGB colours",
    101: "4-bit numbers",
}
_KNOWN_MODES = (0, 1, 2, 6, 12)


@dataclass(frozen=True)
class Stack:
    """An open stack: its header, and a reader of its images.

    Attributes:
        path: the file.
        n_images: number of images.
        box_px: pixels along each side of an image.
        pixel_size_a: Å; None if the header does not state it.
        dtype: data type in the file, with its byte order.
        offset: bytes before the first image.
        remarks: one sentence on every oddity of the header and how it was interpreted.
    """

    path: Path
    n_images: int
    box_px: int
    pixel_size_a: float | None
    dtype: np.dtype
    offset: int
    remarks: tuple[str, ...] = ()

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images by number, counted from 0, in the order asked for: float32 (k, n, n), axes [y, x].

        Raises:
            InputError: the file has become shorter, or an image holds a value that is not finite.
            ValueError: there is no such image.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.ndim != 1 or (wanted.size and not (wanted.min() >= 0 and wanted.max() < self.n_images)):
            raise ValueError(f"{self.path} has the images 0 to {self.n_images - 1}")
        images = np.empty((len(wanted), self.box_px, self.box_px), dtype=np.float32)
        # Consecutive images are read together.
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        starts, stops = [0, *breaks], [*breaks, len(wanted)]
        try:
            with self.path.open("rb") as file:
                for start, stop in zip(starts, stops, strict=True):
                    if stop > start:
                        images[start:stop] = self._run(file, int(wanted[start]), int(stop - start))
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); copy the file again") from None
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2)))
        if bad.size:
            raise InputError(
                f"{self.path}: image {wanted[bad[0]] + 1} holds values that are not finite (NaN or infinity), expected "
                "numbers; leave the image out, or extract the particles again"
            )
        return images

    def _run(self, file, first: int, count: int) -> np.ndarray:
        pixels = self.box_px**2
        file.seek(self.offset + first * pixels * self.dtype.itemsize)
        content = file.read(count * pixels * self.dtype.itemsize)
        if len(content) < count * pixels * self.dtype.itemsize:
            raise InputError(f"{self.path}: ends within image {first + count}; copy the file again")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.frombuffer(content, dtype=self.dtype).reshape(count, self.box_px, self.box_px).astype(np.float32)


def open_stack(path: Path) -> Stack:
    """Read the header of a stack (.mrcs, or .mrc with one image) and compare it with the file's size.

    RELION distinguishes stacks from volumes by the ending; here a .mrcs is a stack unless its header describes a cubic
    volume, and a .mrc is a stack only if its header says so or it has one section.

    Raises:
        InputError: the file is absent, not MRC, truncated, or holds a volume, a transform, colours, or images that are
            not square.
    """
    header, order, remarks = _read_header(path)
    nx, ny, nz, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
    _check_mode(mode, path)
    _check_shape(nx, ny, nz, header, path)
    dtype = dtype_from_mode(mode).newbyteorder(order)
    offset = _HEADER_BYTES + int(header["nsymbt"])
    present = (path.stat().st_size - offset) / (nx * ny * dtype.itemsize)
    if present < nz:
        raise InputError(
            f"{path}: is cut off, with {max(0, math.floor(present))} whole images where its header announces {nz}; "
            "copy the file again"
        )
    if present >= nz + 1:
        raise InputError(
            f"{path}: has room for {math.floor(present)} images of {nx} × {ny} pixels in mode {mode} where its header "
            f"announces {nz}; write the stack again"
        )
    pixel_size_a = _pixel_size_a(header)
    if pixel_size_a is None:
        remarks.append(f"{path}: its header states no pixel size")
    return Stack(path, nz, nx, pixel_size_a, dtype, offset, tuple(remarks))


def is_volume(path: Path) -> bool:
    """Whether the header of an .mrc announces several sections.

    Raises:
        InputError: the file is absent or no MRC file.
    """
    return int(_read_header(path)[0]["nz"]) > 1


def read_mrc(path: Path, dimensions: int) -> tuple[np.ndarray, float]:
    """The one image or volume of an .mrc file.

    Args:
        path: .mrc or .map.
        dimensions: 2 for an image, 3 for a volume.

    Returns:
        float32 (n, n) [y, x] or (n, n, n) [z, y, x]; Å per pixel, 0 where the header does not state it.

    Raises:
        InputError: the file is absent, truncated or not MRC, has the wrong shape or size, or complex or infinite
        values.
    """
    header, order, _ = _read_header(path)
    shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
    axes = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    _check_mode(int(header["mode"]), path)
    dtype = dtype_from_mode(int(header["mode"])).newbyteorder(order)
    start, n_bytes = _HEADER_BYTES + int(header["nsymbt"]), math.prod(shape) * dtype.itemsize
    if start + n_bytes > path.stat().st_size:
        raise InputError(
            f"{path}: its header announces {start + n_bytes} bytes, but it has {path.stat().st_size};"
            " copy the file again"
        )
    _check_grid(shape, dimensions, path)
    if dimensions == 3 and sorted(axes) != [1, 2, 3]:
        raise InputError(f"{path}: found the axes {axes} in its header, expected 1, 2 and 3 in any order; correct it")
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.fromfile(path, dtype, math.prod(shape), offset=start).astype(np.float32)
    values = values.reshape(shape[-dimensions:])
    if not float(np.abs(values).max()) < LARGEST:
        raise InputError(f"{path}: found values that are no numbers below {LARGEST:g}; repair the file")
    if not values.max() > values.min():
        raise InputError(f"{path}: found the same value everywhere, expected a particle; replace the file")
    if dimensions == 3:
        values = np.ascontiguousarray(values.transpose([axes.index(axis) for axis in (3, 2, 1)]))
    return values, _grid_step_a(header, dimensions, path)


class StackWriter:
    """Context manager that writes a float32 stack batch by batch, under a temporary name until it is complete.

    If the block fails, no file is left. The header is that of an image stack (space group 0, one section per unit
    cell), as in MRC2014 and RELION; the same images give the same bytes.

    Args:
        path: the file to write, .mrcs.
        box_px: pixels along each side.
        pixel_size_a: Å; None writes 0, which means unknown.

    Raises:
        ValueError: a batch is not (k, box_px, box_px) or holds a value that is not finite, or nothing was written.
    """

    def __init__(self, path: Path, box_px: int, pixel_size_a: float | None = None) -> None:
        self.path = Path(path)
        self.n_images = 0
        self._box_px, self._pixel_size_a = box_px, pixel_size_a or 0.0
        self._lowest, self._highest, self._sum, self._squares = math.inf, -math.inf, 0.0, 0.0

    def __enter__(self) -> "StackWriter":
        self._resources = ExitStack()
        partial = self._resources.enter_context(whole(self.path))
        self._file = self._resources.enter_context(partial.open("wb"))
        self._file.write(bytes(_HEADER_BYTES))
        return self

    def write(self, images: np.ndarray) -> None:
        """Append images (k, n, n)."""
        piece = np.ascontiguousarray(images, dtype="<f4")
        if piece.ndim != 3 or piece.shape[1:] != (self._box_px, self._box_px):
            raise ValueError(f"images of the shape {piece.shape}, expected (k, {self._box_px}, {self._box_px})")
        if not np.isfinite(piece).all():
            raise ValueError("images with values that are not finite cannot be written")
        if not len(piece):
            return
        self._file.write(memoryview(piece).cast("B"))
        self.n_images += len(piece)
        self._lowest, self._highest = min(self._lowest, piece.min()), max(self._highest, piece.max())
        self._sum += float(piece.sum(dtype=np.float64))
        self._squares += float(np.einsum("ijk,ijk->", piece, piece, dtype=np.float64))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._resources:
            if error is not None:
                raise error
            if not self.n_images:
                raise ValueError("a stack without images cannot be written")
            self._file.seek(0)
            self._file.write(self._header())

    def _header(self) -> bytes:
        header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder("<"))
        n, pixels = self._box_px, self.n_images * self._box_px**2
        header["nx"] = header["ny"] = header["mx"] = header["my"] = n
        header["nz"], header["mz"], header["mode"], header["ispg"] = self.n_images, 1, 2, 0
        header["cella"] = (n * self._pixel_size_a, n * self._pixel_size_a, self._pixel_size_a)
        header["cellb"] = (90, 90, 90)
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        mean = self._sum / pixels
        header["dmin"], header["dmax"], header["dmean"] = self._lowest, self._highest, mean
        header["rms"] = math.sqrt(max(0.0, self._squares / pixels - mean**2))
        header["map"], header["nversion"] = b"MAP ", 20140
        header["machst"] = list(machine_stamp_from_byte_order("<"))
        return header.tobytes()


def _read_header(path: Path) -> tuple[np.ndarray, str, list[str]]:
    """The header of a file, its byte order and remarks, as `_header`."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            content = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from None
    if not content:
        raise InputError(f"{path}: the file is empty; export it again")
    if content.startswith(_PACKED):
        raise InputError(f"{path}: is compressed; unpack it")
    if len(content) < _HEADER_BYTES:
        raise InputError(f"{path}: has {size} bytes, expected an MRC file with its header of 1024; give an MRC file")
    return _header(content, path)


def _header(content: bytes, path: Path) -> tuple[np.ndarray, str, list[str]]:
    """The header, its byte order and remarks; of both orders the first in which the header is plausible.

    The order of the machine stamp is tried first.

    Raises:
        InputError: the header is implausible in both byte orders.
    """
    little = np.frombuffer(content, dtype=HEADER_DTYPE.newbyteorder("<"))[0]
    try:
        stamped = byte_order_from_machine_stamp(little["machst"])
    except ValueError:
        stamped = None
    orders = [">", "<"] if stamped == ">" else ["<", ">"]
    for order in orders:
        header = np.frombuffer(content, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        if _makes_sense(header):
            remarks = []
            if order != stamped:
                stamp = " ".join(f"{byte:02x}" for byte in little["machst"])
                name = "little-endian" if order == "<" else "big-endian"
                remarks.append(
                    f"{path}: its machine stamp is {stamp}, but its sizes make sense as {name}; it is read so"
                )
            return header, order, remarks
    sizes = " × ".join(str(int(little[name])) for name in ("nx", "ny", "nz"))
    raise InputError(
        f"{path}: is no MRC file, or its header is damaged: found {sizes} pixels in mode {int(little['mode'])}, "
        f"expected sides of at most {_BOX_PX[1]} in either byte order; give an MRC stack (SPIDER's .stk is none)"
    )


def _makes_sense(header: np.ndarray) -> bool:
    nx, ny, nz, mode, extended = (int(header[name]) for name in ("nx", "ny", "nz", "mode", "nsymbt"))
    sides = 0 < nx <= _BOX_PX[1] and 0 < ny <= _BOX_PX[1] and 0 <= nz <= _MOST_IMAGES
    return 0 <= mode < 1000 and sides and 0 <= extended < 2**30


def _check_mode(mode: int, path: Path) -> None:
    if mode not in _KNOWN_MODES:
        raise InputError(
            f"{path}: holds {_OTHER_MODES.get(mode, 'numbers of an unknown kind')} (mode {mode}), expected real images "
            "in mode 0, 1, 2, 6 or 12; convert the stack to mode 2"
        )


def _check_shape(nx: int, ny: int, nz: int, header: np.ndarray, path: Path) -> None:
    if nz == 0:
        raise InputError(f"{path}: its header announces no images; extract the particles again")
    space_group, sections = int(header["ispg"]), int(header["mz"])
    single = nz == 1
    says_volume = space_group != 0 and not single
    if says_volume and space_group >= _VOLUME_STACK:
        raise InputError(f"{path}: holds volumes (space group {space_group}), expected a stack of images; project them")
    # Some programs write stacks with the space group of a volume, but rarely with as many images as an image has rows.
    if says_volume and (nx == ny == nz or has_ending(path, MRC)):
        raise InputError(
            f"{path}: is a volume of {nx} × {ny} × {nz} voxels by its header (space group {space_group}, "
            f"{sections} sections), expected a stack of images; give the stack, or, if it is one, set the header's "
            "space group to 0"
        )
    if nx != ny:
        raise InputError(f"{path}: its images are {nx} × {ny} pixels, expected square ones; extract with a square box")
    if nx < _BOX_PX[0]:
        raise InputError(f"{path}: its images are {nx} × {ny} pixels, expected at least {_BOX_PX[0]}; use a larger box")


def _check_grid(shape: tuple[int, ...], dimensions: int, path: Path) -> None:
    size = " × ".join(map(str, shape))
    if min(shape) < 1 or math.prod(shape) > _MOST_VALUES:
        raise InputError(f"{path}: found {size} values, expected at most {_MOST_VALUES}; export it at a larger pixel")
    if (dimensions == 2 and shape[0] != 1) or len(set(shape[-dimensions:])) > 1:
        expected = "one square image" if dimensions == 2 else "a cubic volume"
        raise InputError(f"{path}: found {size} values, expected {expected}; cut it out")


def _steps_a(header: np.ndarray) -> list[float]:
    """Grid spacing in Å along x, y and z; NaN if the header has no number of intervals."""
    counts = [int(header[name]) for name in ("mx", "my", "mz")]
    sides_a = [float(header["cella"][axis]) for axis in "xyz"]
    return [side_a / count if count else math.nan for side_a, count in zip(sides_a, counts, strict=True)]


def _grid_step_a(header: np.ndarray, dimensions: int, path: Path) -> float:
    """Grid spacing in Å, equal along all axes; 0 if the header does not state it."""
    steps_a = [float(np.float32(step_a)) for step_a in _steps_a(header)[:dimensions]]
    if not math.isfinite(steps_a[0]) or steps_a[0] < 0 or max(steps_a) - min(steps_a) > 0.01 * steps_a[0]:
        raise InputError(f"{path}: found pixels of {steps_a} Å, expected equal positive sides; correct the header")
    return steps_a[0]


def _pixel_size_a(header: np.ndarray) -> float | None:
    """Pixel size in Å; None if the header does not state it, or if it is implausible or differs along y."""
    x_a, y_a, _ = _steps_a(header)
    lowest, highest = _PIXEL_SIZES_A
    return x_a if lowest <= x_a <= highest and abs(x_a - y_a) <= 0.01 * x_a else None

"""Xradia's .xrm (one image) and .txrm (several): OLE files whose streams hold sizes, type and pixels.

The names of the streams are those that dxchange reads (doi:10.1107/S160057751401604X): ImageInfo/ImageWidth,
ImageHeight, DataType (5: uint16, 10: float32), NoOfImages, PixelSize; image m lies in
ImageData{n}/Image{m} with n = ⌈m / 100⌉.
"""

from pathlib import Path

import numpy as np
import olefile

from workflow_scripts.workflow.arrays import ArrayError, reason

_TYPES = {3: np.dtype("u1"), 5: np.dtype("<u2"), 10: np.dtype("<f4")}
_LARGEST_PX = 32768
_MOST_IMAGES = 100_000


def read_xradia(path: Path) -> tuple[np.ndarray, float | None]:
    """All images of a .xrm or .txrm, (N, H, W) in uint8, uint16 or float32, and the pixel size in µm or None.

    Raises:
        ArrayError: the file is not OLE, lacks a stream, or a stream is too short or holds an impossible value.
    """
    try:
        if path.stat().st_size == 0:
            raise ArrayError("is empty")
        if not olefile.isOleFile(path):
            raise ArrayError("is no OLE file, as Xradia's are")
        with olefile.OleFileIO(path) as ole:
            return _recorded(ole, path.stat().st_size)
    except ArrayError:
        raise
    # A damaged OLE file raises errors of struct and olefile, and IndexError.
    except Exception as error:
        raise ArrayError(f"is a damaged OLE file ({reason(error)})") from None


def _recorded(ole: olefile.OleFileIO, file_bytes: int) -> tuple[np.ndarray, float | None]:
    width, height, kind = (
        int(_values(ole, f"ImageInfo/{n}", "<i4", 1)[0]) for n in ("ImageWidth", "ImageHeight", "DataType")
    )
    if not (0 < width <= _LARGEST_PX and 0 < height <= _LARGEST_PX):
        raise ArrayError(f"announces images of {height} × {width} pixels")
    if kind not in _TYPES:
        raise ArrayError(f"announces pixels of the type {kind}, expected 3 (uint8), 5 (uint16) or 10 (float32)")
    count = 1
    for name in ("NoOfImages", "ImagesTaken"):
        if ole.exists(f"ImageInfo/{name}"):
            count = int(_values(ole, f"ImageInfo/{name}", "<i4", 1)[0])
            break
    if not 0 < count <= _MOST_IMAGES:
        raise ArrayError(f"announces {count} images")
    if count * height * width * _TYPES[kind].itemsize > file_bytes:
        raise ArrayError(
            f"announces {count} images of {height} × {width} pixels, more than its {file_bytes} bytes hold"
        )
    pages = [
        _values(ole, f"ImageData{(m + 99) // 100}/Image{m}", _TYPES[kind], height * width).reshape(height, width)
        for m in range(1, count + 1)
    ]
    pixel_size_um = None
    if ole.exists("ImageInfo/PixelSize"):
        value = float(_values(ole, "ImageInfo/PixelSize", "<f4", 1)[0])
        pixel_size_um = value if np.isfinite(value) and value > 0 else None
    return np.stack(pages), pixel_size_um


def _values(ole: olefile.OleFileIO, name: str, dtype: str | np.dtype, count: int) -> np.ndarray:
    if not ole.exists(name) or ole.get_type(name) != olefile.STGTY_STREAM:
        raise ArrayError(f"has no stream {name}")
    wanted = count * np.dtype(dtype).itemsize
    with ole.openstream(name) as stream:
        content = stream.read(wanted)
    if len(content) < wanted:
        raise ArrayError(f"ends within {name}: {len(content)} of {wanted} bytes")
    return np.frombuffer(content, dtype=dtype)

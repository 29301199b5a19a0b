"""The user's pictures, read only in the announced format and never larger than their files can hold."""

import os
import struct
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from workflow_scripts.formats.endings import TIFF, has_ending
from workflow_scripts.workflow.arrays import ArrayError, check_size

_PNG = b"\x89PNG\r\n\x1a\n"
# The other formats of PIL start programs (PostScript) or hold films.
_FORMATS = ("PNG", "JPEG")


def read_picture(path: Path) -> np.ndarray:
    """The array of a .png, .jpg or .tif file, as skimage reads it.

    Raises:
        Exception: of any type, which depends on the reader of the format; ArrayError where the file announces more
            than it can hold.
    """
    if has_ending(path, TIFF):
        with tifffile.TiffFile(path) as file:
            tiff_series(file, path)
    else:
        _check_chunks(path)
        with Image.open(path, formats=_FORMATS) as image:
            check_size(image.width * image.height * len(image.getbands()), path.stat().st_size)
    from skimage import io  # here, since most jobs read no picture and the import takes long

    return io.imread(path)


def _check_chunks(path: Path) -> None:
    """Raise ArrayError where a chunk of a .png announces more than is left: memory for it is asked for first."""
    left = path.stat().st_size - len(_PNG)
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return
        while len(head := file.read(8)) == 8:
            (length,) = struct.unpack(">I", head[:4])
            left -= length + 12
            if left < 0:
                raise ArrayError(f"a chunk announces {length} bytes, more than are left")
            file.seek(length + 4, os.SEEK_CUR)


def tiff_series(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPageSeries]:
    """The series of an open TIFF, none of which has been read.

    Raises:
        ArrayError: they announce more than the file can hold, or numbers of no known type.
    """
    series = list(file.series)
    for part in series:
        if part.dtype is None:
            raise ArrayError("holds numbers of an unknown type")
        check_size(int(part.size) * part.dtype.itemsize, path.stat().st_size)
    return series

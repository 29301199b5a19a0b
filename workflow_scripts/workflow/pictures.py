"""Pictures that a user names, read only as what they say they are and never larger than their files can hold."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage import io

from workflow_scripts.workflow.arrays import ArrayError, check_size

_TIFF = (".tif", ".tiff")
# Others start programs (PostScript), or hold films.
_FORMATS = ("PNG", "JPEG")


def read_picture(path: Path) -> np.ndarray:
    """The array of a .png, .jpg or .tif file, as skimage reads it.

    Raises:
        Exception: of whatever kind, since the readers of the many formats raise what they like; ArrayError where the
            file announces more than it can hold.
    """
    if path.suffix.lower() in _TIFF:
        with tifffile.TiffFile(path) as file:
            tiff_series(file, path)
    else:
        with Image.open(path, formats=_FORMATS) as image:
            check_size(image.width * image.height * len(image.getbands()), path.stat().st_size)
    return io.imread(path)


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

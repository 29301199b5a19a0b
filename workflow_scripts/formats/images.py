"""The user's images and pictures: read only as the format of their ending, never larger than the file can hold."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from workflow_scripts.formats.arrays import LARGEST
from workflow_scripts.formats.endings import TIFF, XRADIA, has_ending
from workflow_scripts.formats.tiff import check_numbers, check_tiff, grey_of, read_tiff
from workflow_scripts.formats.xradia import read_xradia
from workflow_scripts.workflow.arrays import ArrayError, check_size, reason
from workflow_scripts.workflow.errors import InputError

_PNG = b"\x89PNG\r\n\x1a\n"
# Other formats of PIL run programs (PostScript) or contain movies.
_FORMATS = ("PNG", "JPEG")


@dataclass(frozen=True)
class Recorded:
    """The images in one file.

    Attributes:
        pages: (n, H, W), in the data type of the file.
        was_colour: whether they are grey images saved as colour.
        pixel_size_um: None if the file does not state it.
    """

    pages: np.ndarray
    was_colour: bool
    pixel_size_um: float | None


def read_images(path: Path) -> Recorded:
    """The images of a .tif, .xrm, .txrm, .png or .jpg without colours.

    Raises:
        ArrayError: the file is damaged, or has colours, values that are not real, or images of different sizes or
        types.
    """
    if has_ending(path, XRADIA):
        pages, pixel_size_um = read_xradia(path)
        return Recorded(pages, False, pixel_size_um)
    if has_ending(path, TIFF):
        return Recorded(*read_tiff(path), None)
    try:
        image = read_picture(path)
    except Exception as error:  # readers raise errors of any type
        raise ArrayError(f"cannot be read as an image ({reason(error)})") from None
    was_colour = image.ndim == 3
    if was_colour:  # or grey with opacity
        image = grey_of(np.moveaxis(image, -1, 0)[: 1 if image.shape[-1] == 2 else 3])
    check_numbers(image)
    return Recorded(image[None], was_colour, None)


class ImageStack:
    """Files of one image each, as an array (N, H, W) that is read on slicing."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises InputError: the first cannot be used."""
        self._paths = list(paths)
        self.shape = (len(self._paths), *_single_image(self._paths[0]).shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        images = []
        for path in self._paths[rows]:
            image = _single_image(path)
            if image.shape != self.shape[1:]:
                raise InputError(
                    f"{path}: is {image.shape} px, but {self._paths[0].name} is {self.shape[1:]}; give one size"
                )
            images.append(image)
        return np.stack(images)


def _single_image(path: Path) -> np.ndarray:
    try:
        pages = read_images(path).pages
    except ArrayError as error:
        raise InputError(f"{path}: {error}; export it again") from None
    if len(pages) > 1:
        raise InputError(
            f"{path}: holds {len(pages)} pages, expected one image in each file; save the stack as .npy or .h5"
        )
    return pages[0]


def read_grey_picture(path: Path) -> np.ndarray:
    """Luminance of a .png, .jpg or .tif, grey or colour: float32 (H, W) from 0 to 1; float files are not rescaled.

    Raises:
        InputError: there is no such file, or it holds no single image, or values that are no finite numbers.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    import skimage  # here, since most jobs read no picture and the import takes long
    from skimage import color

    try:
        image = read_picture(path)
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            image = color.rgb2gray(image[..., :3])
    except Exception as error:  # readers raise errors of any type
        raise InputError(
            f"{path}: not a readable image ({type(error).__name__}), expected a whole .png, .jpg or .tif;"
            " export it again"
        ) from None
    if image.ndim != 2 or not image.size:
        raise InputError(f"{path}: found an array of shape {image.shape}, expected one grey or RGB image; convert it")
    grey = skimage.img_as_float32(image)
    if not float(np.abs(grey).max()) < LARGEST:
        raise InputError(
            f"{path}: found values that are no numbers below {LARGEST:g}, expected finite ones; repair the file"
        )
    return grey


def read_picture(path: Path) -> np.ndarray:
    """The array of a .png, .jpg or .tif file, as skimage reads it.

    Raises:
        Exception: of any type, depending on the reader of the format; ArrayError if the header announces more values
            than the file can hold.
    """
    if has_ending(path, TIFF):
        with tifffile.TiffFile(path) as file:
            check_tiff(file, path)
    else:
        _check_chunks(path)
        with Image.open(path, formats=_FORMATS) as image:
            check_size(image.width * image.height * len(image.getbands()), path.stat().st_size)
    from skimage import io  # here, since most jobs read no picture and the import takes long

    return io.imread(path)


def _check_chunks(path: Path) -> None:
    """Raise ArrayError if a chunk of a .png is announced longer than the rest of the file, since memory for it would be
    reserved before it is read."""
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

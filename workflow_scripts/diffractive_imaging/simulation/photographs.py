"""Photographs as grey images; every mistake in a file is reported in one sentence."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.formats.images import read_picture
from workflow_scripts.workflow.errors import InputError


def large_enough(paths: Iterable[Path], minimum_px: int) -> list[Path]:
    """Those image files whose shorter side has at least so many pixels; only their headers are read."""
    large = []
    for path in paths:
        with Image.open(path) as image:
            if min(image.size) >= minimum_px:
                large.append(path)
    return large


def read_grey(path: Path, minimum_px: int) -> np.ndarray:
    """One image file as float32 (height, width) with values between 0 and 1 (a float file keeps its own).

    Raises:
        InputError: not a readable image, not grey or colour, not finite, constant, or too small.
    """
    import skimage  # here, since most jobs read no photograph and the import takes long
    from skimage import color

    try:
        image = read_picture(path)
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            image = color.rgb2gray(image[..., :3])
    except Exception as error:  # the readers of the many formats raise many types
        raise InputError(
            f"{path}: not a readable image ({type(error).__name__}); expected a whole .png, .jpg or .tif, "
            "replace or remove the file"
        ) from error
    if image.ndim != 2:
        raise InputError(f"{path}: found an array of shape {image.shape}, expected one grey or RGB image; convert it")
    if min(image.shape) < minimum_px:
        raise InputError(
            f"{path}: found {image.shape[0]} × {image.shape[1]} px, "
            f"expected at least {minimum_px} px a side; use a larger photograph"
        )
    grey = skimage.img_as_float32(image)
    if not np.isfinite(grey).all():
        raise InputError(f"{path}: found values that are not finite, expected numbers only; repair the file")
    if np.ptp(grey) == 0:
        raise InputError(f"{path}: found the same value in every pixel, expected a picture; remove the file")
    return grey

"""Photographs as grey images; every mistake in a file is reported in one sentence."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.formats.images import read_grey_picture
from workflow_scripts.workflow.errors import InputError


def large_enough(paths: Iterable[Path], minimum_px: int) -> list[Path]:
    """The image files whose shorter side has at least `minimum_px` pixels; only their headers are read."""
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
    grey = read_grey_picture(path)
    if min(grey.shape) < minimum_px:
        raise InputError(
            f"{path}: found {grey.shape[0]} × {grey.shape[1]} px, "
            f"expected at least {minimum_px} px a side; use a larger photograph"
        )
    if np.ptp(grey) == 0:
        raise InputError(f"{path}: found the same value in every pixel, expected a picture; remove the file")
    return grey

"""Class averages that the user names as images: what a particle looks like from one side."""

from pathlib import Path

import numpy as np
import torch

from workflow_scripts.alignment.simulation.grids import LARGEST, fade_out, read_mrc, resampled
from workflow_scripts.alignment.simulation.particles import Particle, particle
from workflow_scripts.formats.images import read_picture
from workflow_scripts.workflow.errors import InputError

_ENDINGS = (".png", ".tif", ".tiff", ".mrc")
_SMALLEST_PX = 16


def read_centre(
    path: Path, n: int, pixel_size_a: float | None = None, dark_on_light: bool = False, symmetry_fold: int = 1
) -> Particle:
    """One image as a particle in a box of n pixels: same field of view, other sampling.

    The level of the rim is subtracted, what lies outside the inscribed circle is faded out.

    Args:
        path: .png, .tif or .mrc of a square image of any size.
        n: pixels along each side of the particle's image.
        pixel_size_a: Å per pixel of the file; None takes what the header of an .mrc says. The particle's is this
            times the file's width / n.
        dark_on_light: the particle is dark in the file; its sign is changed.
        symmetry_fold: n of C_n in the plane, as the user knows it.

    Raises:
        InputError: no such image, not square, too small, constant, not finite, or of unknown pixel size.
    """
    path = Path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"{path}: found the ending {path.suffix!r}, expected one of {', '.join(_ENDINGS)}")
    image, stated_a = read_mrc(path, 2) if path.suffix.lower() == ".mrc" else (_picture(path), 0.0)
    width = image.shape[-1]
    if width < _SMALLEST_PX:
        raise InputError(
            f"{path}: found {width} × {width} px, expected at least {_SMALLEST_PX} a side; use a larger one"
        )
    size_a = stated_a if pixel_size_a is None else pixel_size_a
    if not size_a > 0:
        raise InputError(f"{path}: the file does not say its pixel size; give it in Å")
    cleared = resampled(fade_out(-image if dark_on_light else image), n)
    try:
        return particle(path.stem, cleared, size_a * width / n, symmetry_fold, width / n)
    except ValueError as error:
        raise InputError(f"{path}: {error}; replace the file") from None


def _picture(path: Path) -> torch.Tensor:
    """A .png or .tif as float32 (n, n)."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct the path")
    import skimage  # here, since most jobs read no picture and the import takes long
    from skimage import color

    try:
        image = read_picture(path)
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            image = color.rgb2gray(image[..., :3])
    except Exception as error:  # the readers raise whatever they like
        raise InputError(f"{path}: not a readable image ({type(error).__name__}); export it again") from None
    if image.ndim != 2 or image.shape[0] != image.shape[1] or not image.size:
        raise InputError(f"{path}: found an array of shape {image.shape}, expected one square grey image; cut it out")
    grey = skimage.img_as_float32(image)
    if not float(np.abs(grey).max()) < LARGEST:
        raise InputError(f"{path}: found values that are no numbers below {LARGEST:g}; repair the file")
    return torch.from_numpy(grey)

"""Where phase objects come from: photographs in wheels or in a folder, split by photograph."""

import hashlib
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
from skimage import color, io

from workflow_scripts.workflow.errors import InputError

# Left out on purpose: logo, chessboards, colour wheel, phantom, silhouettes and icons (drawings), the right
# half of the stereo pair (the same scene as the left), files of a few pixels.
_SKIMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
_SKLEARN = ("china.jpg", "flower.jpg")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
SPLITS = ("train", "validation", "test")


def load_photographs(folder: Path | None, minimum_px: int) -> dict[str, np.ndarray]:
    """Grey photographs by name, in the order of their names.

    Args:
        folder: a folder with .png, .jpg or .tif files, or None for those that ship with scikit-image
            and scikit-learn.
        minimum_px: the shortest side a photograph may have.

    Returns:
        name → float32 (height, width). Files with the same pixels count once, under the first name.

    Raises:
        InputError: the folder or one of its files cannot be used.
    """
    photographs: dict[str, np.ndarray] = {}
    seen: set[bytes] = set()
    for path in _shipped_files() if folder is None else _files_of(folder):
        image = read_grey(path, minimum_px)
        fingerprint = hashlib.sha256(image.tobytes()).digest()
        if fingerprint not in seen:
            seen.add(fingerprint)
            photographs[path.name] = image
    if len(photographs) < len(SPLITS):
        raise InputError(
            f"{folder}: found {len(photographs)} different photograph(s), expected at least {len(SPLITS)} "
            "so that training, validation and test share none; add photographs"
        )
    return photographs


def split_photographs(names: list[str]) -> dict[str, list[str]]:
    """Which photographs train, validate and test: a fixed rule that looks at the names alone.

    Names in the order of their SHA-256: the first seventh (at least one) tests, the next seventh
    validates, the rest trains.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    share = max(1, len(order) // 7)
    return {
        "test": sorted(order[:share]),
        "validation": sorted(order[share : 2 * share]),
        "train": sorted(order[2 * share :]),
    }


def read_grey(path: Path, minimum_px: int) -> np.ndarray:
    """One image file as float32 (height, width) with values between 0 and 1 (a float file keeps its own).

    Raises:
        InputError: not a readable image, not grey or colour, not finite, constant, or too small.
    """
    try:
        image = io.imread(path)
    except Exception as error:  # the readers of the many formats raise whatever they like
        raise InputError(
            f"{path}: not a readable image ({type(error).__name__}); expected a whole .png, .jpg or .tif, "
            "replace or remove the file"
        ) from error
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        image = color.rgb2gray(image[..., :3])
    if image.ndim != 2:
        raise InputError(
            f"{path}: found an array of shape {image.shape}, expected one grey or RGB image; convert it"
        )
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


def _shipped_files() -> list[Path]:
    """The photographs in the wheels, by name."""
    shipped = [Path(skimage.__file__).parent / "data" / name for name in _SKIMAGE]
    shipped += [Path(sklearn.datasets.__file__).parent / "images" / name for name in _SKLEARN]
    return sorted(shipped, key=lambda path: path.name)


def _files_of(folder: Path) -> list[Path]:
    """The image files of a folder, by name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: found no such folder, expected one with photographs; correct the path")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{folder}: found no image, expected .png, .jpg or .tif files; add some")
    return files

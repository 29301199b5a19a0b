"""The user's segmented images from their files: four of one size; each mistake is reported in one sentence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.formats.arrays import opened, values
from workflow_scripts.formats.endings import TIFF, has_ending, is_hdf5
from workflow_scripts.formats.tiff import read_tiff
from workflow_scripts.workflow.arrays import ArrayError
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays, shortened

SEGMENTS = 4
_METADATA = ("sampling", "thickness_nm", "rotation", "detector", "voltage_kv", "semiangle_mrad")
SMALLEST_PX = 16  # images with fewer pixels a side are refused as a mistake


def read_images(paths: Sequence[Path], dataset: str | None) -> np.ndarray:
    """The images of four segments, float64 (4, H, W), from four files or from one that holds all.

    Args:
        paths: four files of (H, W), or one of (4, H, W).
        dataset: where the array lies inside .h5 files.

    Raises:
        InputError: a file is broken, no image or no real numbers, or the images do not fit each other.
    """
    images = [_image(path, dataset) for path in paths]
    if len(images) == 1:
        if images[0].ndim != 3 or len(images[0]) != 4:
            raise InputError(
                f"images: {paths[0]} holds an array of the shape {images[0].shape}, expected (4, H, W); name four"
                " files, or one with all four segments"
            )
        return checked(images[0], f"images: {paths[0]}")
    for path, image in zip(paths, images, strict=True):
        if image.ndim != 2:
            raise InputError(
                f"images: {path} holds an array of the shape {image.shape}, expected one image (H, W); save one segment"
                " a file"
            )
        if image.shape != images[0].shape:
            raise InputError(
                f"images: {path} has {image.shape[0]} × {image.shape[1]} pixels, but {paths[0]}"
                f" {images[0].shape[0]} × {images[0].shape[1]}; give four images of one scan"
            )
        checked(image, f"images: {path}")
    return np.stack(images)


def read_archive(path: Path, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A .npz of samples: the images float64 (N, 4, H, W), N = 1 for a single sample, and the metadata that it has.

    Args:
        name: of the images inside it.

    Raises:
        InputError: the file is broken or holds no such images.
    """
    if not path.is_file():
        raise InputError(f"images: there is no file {path}; correct the path")
    names = array_names(path)
    if name not in names:
        raise InputError(f"images: {path} has no array {name!r}; it holds {shortened(names)}; set dataset")
    metadata = read_arrays(path, [key for key in (name, *_METADATA) if key in names])
    images = metadata.pop(name)
    if images.dtype.kind not in "biuf":
        raise InputError(f"images: {path}:{name} holds values of the type {images.dtype}, expected real numbers")
    if images.ndim not in (3, 4) or images.shape[-3] != 4:
        raise InputError(f"images: {path}:{name} has the shape {images.shape}, expected (4, H, W) or (N, 4, H, W)")
    images = images.astype(np.float64)
    if images.size == 0:
        raise InputError(f"images: {path}:{name} is empty (shape {images.shape})")
    return checked(images.reshape(-1, *images.shape[-3:]), f"images: {path}:{name}"), metadata


def checked(images: np.ndarray, where: str) -> np.ndarray:
    """The images (…, H, W), unchanged, if they can be used.

    Raises:
        InputError: they have values that are not finite, only zeros, or too few pixels.
    """
    height, width = images.shape[-2:]
    if min(height, width) < SMALLEST_PX:
        raise InputError(f"{where} has {height} × {width} pixels, expected at least {SMALLEST_PX} a side")
    bad = ~np.isfinite(images)
    if bad.any():
        row, column = np.argwhere(bad)[0][-2:]
        raise InputError(
            f"{where} holds {int(bad.sum())} values that are not finite, the first at [{row}, {column}]; repair them"
        )
    if not images.any():
        raise InputError(f"{where} holds only zeros; check which image was exported")
    return images


def _image(path: Path, dataset: str | None) -> np.ndarray:
    if not has_ending(path, TIFF):
        with opened(path, dataset if is_hdf5(path) else None, "images") as array:
            return values(array, f"images: {path}")
    if not path.is_file():
        raise InputError(f"images: there is no file {path}; correct the path")
    try:
        pages, was_colour = read_tiff(path, planes=SEGMENTS)
        if was_colour:
            raise ArrayError("is a colour image, expected counts; export it in grey")
    except ArrayError as error:
        raise InputError(f"images: {path} {error}; copy or export it again") from None
    return (pages if len(pages) > 1 else pages[0]).astype(np.float64)

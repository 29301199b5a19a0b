"""Images in TIFF files: pages of one size and type, without colours, never larger than the file can hold."""

from pathlib import Path

import numpy as np
import tifffile

from workflow_scripts.workflow.arrays import ArrayError, check_size, reason

_OPACITY = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}


def check_tiff(file: tifffile.TiffFile, path: Path) -> None:
    """Raise ArrayError if the header of a TIFF announces more data than the file can hold, or an unknown type."""
    for series in file.series:
        if series.dtype is None:
            raise ArrayError("holds numbers of an unknown type")
        check_size(int(series.size) * series.dtype.itemsize, path.stat().st_size)


def read_tiff(path: Path, planes: int | None = None) -> tuple[np.ndarray, bool]:
    """The pages (n, H, W) of a TIFF in its data type, and whether they are grey images saved as colour.

    Args:
        path: the file.
        planes: this number of colour planes counts as pages, since some writers save stacks of three or four that way.

    Raises:
        ArrayError: it is damaged or empty, or has colours, values that are not real, or pages of different sizes or
        types.
    """
    try:
        if path.stat().st_size == 0:
            raise ArrayError("is empty")
        # An OME-TIFF describes the other files of its set as well, and would be read with them.
        with tifffile.TiffFile(path, is_ome=False) as file:
            check_tiff(file, path)
            keyframes = [page.keyframe for page in file.pages]
            if any(page.photometric == tifffile.PHOTOMETRIC.PALETTE for page in keyframes):
                raise ArrayError("has a colour table, expected counts")
            n_pages = sum(not page.is_reduced for page in keyframes)
            if sum(len(series.pages) for series in file.series) < n_pages:  # too few for the announced shape
                raise ArrayError(f"is damaged or cut off after {n_pages} pages")
            stacks = [_pages(series, planes) for series in file.series]
    except ArrayError:
        raise
    # A damaged TIFF raises errors of struct, zlib, the codecs and tifffile.
    except Exception as error:
        raise ArrayError(f"is not a whole TIFF ({reason(error)})") from None
    if not stacks:
        raise ArrayError("holds no image")
    if len({(pages.shape[1:], pages.dtype) for pages, _ in stacks}) > 1:
        raise ArrayError(f"holds {len(stacks)} kinds of images, expected pages of one size and type")
    return np.concatenate([pages for pages, _ in stacks]), any(was_colour for _, was_colour in stacks)


def grey_of(channels: np.ndarray) -> np.ndarray:
    """The first of equal channels (C, …); of different ones a luminance could be computed, but it would not be a count.

    Raises:
        ArrayError: the channels differ.
    """
    if not (channels == channels[0]).all():
        raise ArrayError("is a colour image, expected counts; export it in grey")
    return channels[0]


def check_numbers(image: np.ndarray) -> None:
    """Raise ArrayError if an array is empty or its values are not real numbers."""
    if image.dtype.kind not in "uif" or image.size == 0:
        raise ArrayError(f"holds {image.dtype} {image.shape}, expected real numbers")


def _pages(series: tifffile.TiffPageSeries, planes: int | None) -> tuple[np.ndarray, bool]:
    pages, axes = series.asarray(), series.axes
    check_numbers(pages)
    was_colour = "S" in axes and not (axes == "SYX" and len(pages) == planes)
    if was_colour:
        channels = np.moveaxis(pages, axes.index("S"), 0)
        has_opacity = bool(_OPACITY & set(series.keyframe.extrasamples))
        pages = grey_of(channels[: 1 if len(channels) == 2 and has_opacity else 3])
    if pages.ndim < 2:
        raise ArrayError(f"holds an array of the shape {pages.shape}, expected images")
    return pages.reshape(-1, *pages.shape[-2:]), was_colour

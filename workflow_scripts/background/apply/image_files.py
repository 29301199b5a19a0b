"""The user's tiles, references and dark frames: TIFF files, TIFF stacks, Xradia's .xrm and .txrm.

All unusable files of a folder are reported together in one sentence; oddities of usable files become remarks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.formats import images
from workflow_scripts.formats.images import Recorded
from workflow_scripts.workflow.arrays import ArrayError
from workflow_scripts.workflow.errors import InputError

SMALLEST_PX = 16
_FULL_SHARE = 1e-3  # fraction of pixels at the largest value of their type above which a file counts as clipped


@dataclass(frozen=True)
class ImageSet:
    """Images of one size.

    Attributes:
        names: one for each image: the name of the file, followed by [page] (from 1) if the file has several.
        images: counts, float32 (N, H, W).
        pixel_size_um: None if the files do not state it, or differ.
        remarks: oddities and how they were interpreted, one sentence each.
    """

    names: tuple[str, ...]
    images: np.ndarray
    pixel_size_um: float | None
    remarks: tuple[str, ...]


def read_image_set(
    files: Sequence[Path], what: str, shape: tuple[int, int] | None = None, may_be_constant: bool = False
) -> ImageSet:
    """The images of files in their order.

    Args:
        files: .tif, .tiff, .xrm and .txrm; each may hold several images.
        what: the setting that names them, for error messages.
        shape: of the tiles, which these images must have too.
        may_be_constant: whether constant images are accepted, such as dark frames.

    Raises:
        InputError: files are damaged, empty, coloured, constant, not finite or of another size than most (the message
            names all of them), or their size is not that of the tiles.
    """
    path = files[0] if len(files) == 1 else files[0].parent
    read: dict[Path, Recorded] = {}
    bad: list[str] = []
    for file in files:
        try:
            recorded = images.read_images(file)
            _check(recorded.pages, may_be_constant)
            read[file] = recorded
        except ArrayError as error:
            bad.append(f"{file.name} {error}")
    sizes_px = {file.name: recorded.pages.shape[1:] for file, recorded in read.items()}
    usual = Counter(sizes_px.values()).most_common(1)[0][0] if read else None
    bad += [
        f"{name} has {size[0]} × {size[1]} pixels, others {usual[0]} × {usual[1]}"
        for name, size in sizes_px.items()
        if size != usual
    ]
    if bad:
        more = f"; and {len(bad) - 8} more" if len(bad) > 8 else ""
        raise InputError(
            f"{what}: {len(bad)} of {len(files)} files of {path} cannot be used: {'; '.join(bad[:8])}{more}; "
            "repair or remove them"
        )
    if shape is not None and usual != tuple(shape):
        raise InputError(
            f"{what}: {path} holds images of {usual[0]} × {usual[1]} pixels, but the tiles have {shape[0]} ×"
            f" {shape[1]}; give {what} of the same camera and binning"
        )
    names = tuple(
        file.name if len(recorded.pages) == 1 else f"{file.name}[{page + 1}]"
        for file, recorded in read.items()
        for page in range(len(recorded.pages))
    )
    pixel_sizes_um = {recorded.pixel_size_um for recorded in read.values()}
    kinds = Counter(str(recorded.pages.dtype) for recorded in read.values())
    remarks = [remark for file, recorded in read.items() for remark in _remarks(file.name, recorded)]
    if len(kinds) > 1:
        mixed = ", ".join(f"{count} files of {kind}" for kind, count in sorted(kinds.items()))
        remarks.append(f"{what}: {path} mixes types ({mixed}); all are read as counts, each relative to its median")
    counts = np.concatenate([recorded.pages.astype(np.float32) for recorded in read.values()])
    return ImageSet(names, counts, pixel_sizes_um.pop() if len(pixel_sizes_um) == 1 else None, tuple(remarks))


def read_mean(files: Sequence[Path], what: str, shape: tuple[int, int]) -> np.ndarray:
    """Mean of the dark frames in files, float32 (H, W); raises the errors of `read_image_set`."""
    frames = read_image_set(files, what, shape, may_be_constant=True).images
    return frames.mean(axis=0, dtype=np.float64).astype(np.float32)


def _check(pages: np.ndarray, may_be_constant: bool) -> None:
    """Raise ArrayError if the images (n, H, W) of a file cannot be tiles (or dark frames, if constant ones may be)."""
    if min(pages.shape[1:]) < SMALLEST_PX:
        raise ArrayError(f"has {pages.shape[1]} × {pages.shape[2]} pixels, expected at least {SMALLEST_PX} a side")
    for number, page in enumerate(pages, start=1):
        where = f"holds in image {number} " if len(pages) > 1 else "holds "
        with np.errstate(over="ignore"):
            finite = np.isfinite(page.astype(np.float32))  # the type in which they are returned
        if not finite.all():
            raise ArrayError(f"{where}{int((~finite).sum())} values that are not finite as 32-bit floats")
        if not may_be_constant and page.min() == page.max():
            raise ArrayError(f"{where}only the value {page.flat[0]:g}")
        if not may_be_constant and np.median(page) <= 0:
            raise ArrayError(f"{where}counts of which half are not above 0; give raw counts, not logarithms")


def _remarks(name: str, recorded: Recorded) -> Iterator[str]:
    """Sentences on oddities of a file."""
    pages = recorded.pages
    if recorded.was_colour:
        yield f"{name}: its colour channels are equal; one of them is read"
    if pages.dtype.kind in "ui" and (share := float((pages == np.iinfo(pages.dtype).max).mean())) > _FULL_SHARE:
        yield f"{name}: {100 * share:.1f} % of its pixels have the largest value of {pages.dtype}: clipped"

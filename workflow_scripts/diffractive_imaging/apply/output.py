"""The phase image of the user's scan as files: all of it (.h5), the phase for ImageJ (.tif), a preview (.png)."""

from pathlib import Path

import h5py
import numpy as np
import tifffile

from workflow_scripts.diffractive_imaging.apply.phase_image import PhaseImage
from workflow_scripts.study.figures import save_panels


def write_h5(path: Path, image: PhaseImage, ptychography_rad: np.ndarray, about: dict[str, str | float | bool]) -> None:
    """All of the image as datasets with their units; the same image gives the same bytes.

    ptychography_rad: (H, W), the phase that iterative ptychography of the same patterns gives.
    """
    units = {"phase_rad": "rad", "uncertainty_rad": "rad", "chi2": "1", "chi2_per_pattern": "1", "positions_px": "px"}
    with h5py.File(path, "w") as file:
        for name, unit in units.items():
            file.create_dataset(name, data=getattr(image, name)).attrs["unit"] = unit
        file.create_dataset("ptychography_rad", data=ptychography_rad).attrs["unit"] = "rad"
        file.attrs["pixel_size_a"] = image.pixel_size_a
        file.attrs["origin_px"] = image.origin_px
        for key, value in about.items():
            file.attrs[key] = value


def write_tiff(path: Path, image: PhaseImage) -> None:
    """The phase as float32 TIFF that ImageJ opens with its scale; rad, Å per pixel in the tags."""
    per_a = 1 / image.pixel_size_a
    tifffile.imwrite(
        path,
        image.phase_rad,
        imagej=True,
        resolution=(per_a, per_a),
        metadata={"axes": "YX", "unit": "angstrom", "Info": "phase in rad"},
    )


def write_preview(path: Path, image: PhaseImage, ptychography_rad: np.ndarray) -> None:
    """Phase, ptychography of the same patterns, uncertainty and χ² side by side, (H, W) each; no dates, equal bytes."""
    panels = {
        "network: phase (rad)": image.phase_rad,
        "ptychography: phase (rad)": ptychography_rad,
        "spread of the patches (rad)": image.uncertainty_rad,
        "reduced χ²": image.chi2,
    }
    save_panels(path, panels, image.pixel_size_a)

"""From the patches of a measured scan to its phase image, with measures of its quality that need no truth.

Output files: everything (.h5), the phase for ImageJ (.tif), a preview (.png).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import tifffile
import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.diffractive_imaging.networks.layout import lay_out
from workflow_scripts.diffractive_imaging.networks.stitching import (
    Stitched,
    least_squares,
    residual_variance,
    to_object_pixels,
)
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, Scan
from workflow_scripts.diffractive_imaging.simulation.forward import window_at
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.study.figures import save_panels

_BATCH = 256


@dataclass(frozen=True)
class PhaseImage:
    """The result for the user; images are float32 (H, W) on object pixels, NaN where no patch lies.

    phase_rad: mean zero over the covered region.
    uncertainty_rad: how far single patches spread around the image; an error that all patches share is not in it.
    chi2: at each pixel the weighted mean of the reduced χ² of the patterns whose patches cover it.
    chi2_per_pattern: float64 (N,).
    chi2_without_object: the mean of the same for a flat phase.
    positions_px: float64 (N, 2) [y, x]; pixel [0, 0] of the images lies at `origin_px`.
    pixel_size_a: side of an object pixel, Å.
    parts: into how many parts, whose patches do not overlap, the image falls.
    """

    phase_rad: np.ndarray
    uncertainty_rad: np.ndarray
    chi2: np.ndarray
    chi2_per_pattern: np.ndarray
    chi2_without_object: float
    positions_px: np.ndarray
    origin_px: tuple[int, int]
    pixel_size_a: float
    parts: int

    @property
    def doubt(self) -> str:
        """Why the image is not to be trusted, in a sentence; empty if nothing speaks against it."""
        chi2 = float(self.chi2_per_pattern.mean())
        if chi2 >= self.chi2_without_object:
            without = f"χ² is {chi2:.3f}, and {self.chi2_without_object:.3f} without one"
            return f"the network's image explains the patterns no better than no object at all: {without}"
        if self.parts > 1:
            return f"the network's image falls into {self.parts} parts that no patch connects; scan with a smaller step"
        return ""


def phase_image(patches: Tensor, scan: Scan, light: Illumination) -> PhaseImage:
    """Stitch patches (N, n, n) and compare the image with the counts.

    Args:
        patches: rad, of the patterns along the object's axes.
        scan: its counts (N, n, n) already along the object's axes.
        light: the illumination.
    """
    weights = light.patch_weights()
    laid_out = (patches, scan.positions_px, weights)
    stitched = least_squares(*laid_out, upsampling=light.upsampling)
    variance = residual_variance(stitched, *laid_out)
    chi2 = reduced_chi2(stitched, scan, light)
    flat = replace(stitched, phase=torch.zeros_like(stitched.phase))
    layout, pixels = lay_out(*laid_out, light.upsampling)
    chi2_image = layout.crop(layout.scatter(chi2[:, None] * layout.weights.expand_as(pixels))) / stitched.coverage
    chi2_image = torch.where(stitched.phase.isnan(), torch.nan, chi2_image)

    def on_object_pixels(image: Tensor) -> np.ndarray:
        return to_object_pixels(image, light.upsampling).numpy().astype(np.float32)

    return PhaseImage(
        phase_rad=on_object_pixels(stitched.phase),
        uncertainty_rad=np.sqrt(on_object_pixels(variance)),
        chi2=on_object_pixels(chi2_image),
        chi2_per_pattern=chi2.numpy(),
        chi2_without_object=float(reduced_chi2(flat, scan, light).mean()),
        positions_px=scan.positions_px.numpy(),
        origin_px=stitched.origin,
        pixel_size_a=light.pixel_size_a,
        parts=stitched.parts,
    )


def reduced_chi2(stitched: Stitched, scan: Scan, light: Illumination) -> Tensor:
    """∑ (counts − expected)² / ∑ expected over the pixels of each pattern, float64 (N,).

    A Poisson count has its mean as variance, so the true object gives 1 on average, at any dose; pixels weigh
    by their expected counts, so that nearly dark pixels do not dominate. No truth is used.
    """
    margin = light.n  # object pixels; no window leaves the padded image
    image = functional.pad(stitched.phase.nan_to_num(0.0), [margin * light.upsampling] * 4)
    positions = scan.positions_px + margin - torch.tensor(stitched.origin)
    probe = light.probe.to(torch.complex64)
    per_pattern = []
    for counts, part in zip(scan.counts.split(_BATCH), positions.split(_BATCH), strict=True):
        phase = window_at(image.float(), part, light.n, light.upsampling, light.upsampling)
        expected = light.dose_e * diffraction_pattern(probe, phase)
        squared_error = (counts - expected).double().square().sum(dim=(1, 2))
        per_pattern.append(squared_error / expected.double().sum(dim=(1, 2)))
    return torch.cat(per_pattern)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two images (H, W) over the pixels that both cover."""
    valid = np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[valid], second[valid])[0, 1])


def write_h5(
    path: Path, image: PhaseImage, ptychography_rad: np.ndarray | None, attrs: dict[str, str | float | bool]
) -> None:
    """Every array of the image as a dataset with its unit; the same image gives the same bytes.

    ptychography_rad: (H, W), the phase that iterative ptychography of the same patterns gives; None if it is refused.
    """
    units = {"phase_rad": "rad", "uncertainty_rad": "rad", "chi2": "1", "chi2_per_pattern": "1", "positions_px": "px"}
    with h5py.File(path, "w") as file:
        for name, unit in units.items():
            file.create_dataset(name, data=getattr(image, name)).attrs["unit"] = unit
        if ptychography_rad is not None:
            file.create_dataset("ptychography_rad", data=ptychography_rad).attrs["unit"] = "rad"
        file.attrs["pixel_size_a"] = image.pixel_size_a
        file.attrs["origin_px"] = image.origin_px
        for key, value in attrs.items():
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


def write_preview(path: Path, image: PhaseImage, ptychography_rad: np.ndarray | None) -> None:
    """Phase, ptychography of the same patterns, uncertainty and χ² side by side, (H, W) each; reproducible bytes."""
    classical = {} if ptychography_rad is None else {"ptychography: phase (rad)": ptychography_rad}
    panels = {
        "network: phase (rad)": image.phase_rad,
        **classical,
        "spread of the patches (rad)": image.uncertainty_rad,
        "reduced χ²": image.chi2,
    }
    save_panels(path, panels, image.pixel_size_a)

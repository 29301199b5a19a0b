"""A first look at a phase image: phase, ptychography of the same patterns, uncertainty and χ² side by side."""

from pathlib import Path

import numpy as np

from workflow_scripts.diffractive_imaging.apply.phase_image import PhaseImage
from workflow_scripts.study.figures import PAGE_MM, new_figure, scale_bar, style


def write_preview(path: Path, image: PhaseImage, ptychography_rad: np.ndarray) -> None:
    """Write a .png of four images (H, W), NaN where nothing was measured; no dates, equal bytes."""
    panels = {
        "network: phase (rad)": image.phase_rad,
        "ptychography: phase (rad)": ptychography_rad,
        "spread of the patches (rad)": image.uncertainty_rad,
        "reduced χ²": image.chi2,
    }
    with style():
        figure = new_figure(PAGE_MM, 50.0)
        for axis, (title, shown) in zip(figure.subplots(1, 4), panels.items(), strict=True):
            low, high = np.nanpercentile(shown, [0.5, 99.5])
            drawn = axis.imshow(shown, vmin=low, vmax=high)
            axis.set_title(title)
            axis.set_axis_off()
            figure.colorbar(drawn, ax=axis, shrink=0.8)
            scale_bar(axis, image.pixel_size_a)
        figure.savefig(path, format="png", metadata={"Software": None})

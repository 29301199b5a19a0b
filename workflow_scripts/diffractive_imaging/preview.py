"""A first look at a phase image: phase, uncertainty and χ² side by side."""

from pathlib import Path

import numpy as np

from workflow_scripts.study.figures import PAGE_MM, new_figure, scale_bar, style


def write_preview(
    path: Path, phase_rad: np.ndarray, uncertainty_rad: np.ndarray, chi2: np.ndarray, pixel_size_a: float
) -> None:
    """Write a .png of three images (H, W), NaN where nothing was measured; no dates, equal bytes."""
    panels = {"phase (rad)": phase_rad, "spread of the patches (rad)": uncertainty_rad, "reduced χ²": chi2}
    with style():
        figure = new_figure(PAGE_MM, 62.0)
        for axis, (title, image) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            low, high = np.nanpercentile(image, [0.5, 99.5])
            shown = axis.imshow(image, vmin=low, vmax=high)
            axis.set_title(title)
            axis.set_axis_off()
            figure.colorbar(shown, ax=axis, shrink=0.8)
            scale_bar(axis, pixel_size_a)
        figure.savefig(path, format="png", metadata={"Software": None})

"""The scans of a test file at all doses, by one estimator: what the stage predict saves of them."""

import sys
from pathlib import Path

import numpy as np

from workflow_scripts.diffractive_imaging.datasets import CALIBRATION, read_scan, scan_names
from workflow_scripts.diffractive_imaging.estimators import Imager
from workflow_scripts.diffractive_imaging.reconstruction import oriented
from workflow_scripts.diffractive_imaging.variants import Variant


def images_of(imager: Imager, stage: str, test: Path, doses: list[float], variant: Variant) -> dict[str, np.ndarray]:
    """Images of all scans, and of the scan `CALIBRATION` where the imager gives a spread.

    Returns:
        for each scan, under the name <stage>.<scan>: .image_rad and, where there is one, .spread_rad, float32 (D, h, w)
        in object pixels; .origin_px (2,), the object pixel [y, x] of their [0, 0]; .iterations (D,).
    """
    arrays: dict[str, np.ndarray] = {}
    for name in [*scan_names(test), *([CALIBRATION] if imager.has_spread else [])]:
        images, spreads = [], []
        for dose in doses:
            scan = read_scan(test, name, dose)
            image, spread = imager(oriented(scan.counts, scan.detector_transposed, variant), scan.positions_px, dose)
            images.append(image)
            if spread is not None:
                spreads.append(spread.numpy())
            print(f"{stage} {name} at {dose:g} electrons per pattern", file=sys.stderr, flush=True)
        phases = [image.to_object_pixels().numpy() for image in images]
        arrays[f"{stage}.{name}.image_rad"] = np.array(phases, np.float32)  # the doses share their positions
        arrays[f"{stage}.{name}.origin_px"] = np.array(images[0].origin)
        arrays[f"{stage}.{name}.iterations"] = np.array([image.iterations for image in images])
        if spreads:
            arrays[f"{stage}.{name}.spread_rad"] = np.array(spreads, np.float32)
    return arrays

"""The scans of a test file at all doses, by one estimator: what the stage predict saves of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.datasets import (
    CALIBRATION,
    Illumination,
    Scan,
    photograph_names,
    read_scan,
    scan_names,
)
from workflow_scripts.diffractive_imaging.estimators import Imager, NetworkEstimator, PatchImager, patches_of
from workflow_scripts.diffractive_imaging.reconstruction import oriented
from workflow_scripts.diffractive_imaging.variants import IMAGE_FAULTS, NO_FAULT, Variant, with_fault
from workflow_scripts.learning.devices import Precision
from workflow_scripts.workflow.files import read_arrays

# The published arm, known to be wrong, and dpc, which needs no probe, are not asked. Neither are finetuned weights:
# the perturbed scans are nothing that a network was adapted to.
PERTURBED_ESTIMATORS = ("corrected", "ridge", "ptychography")
FINETUNED = "finetuned"


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


def perturbed_images(imager: Imager, estimator: str, stage: str, test: Path, variant: Variant) -> dict[str, np.ndarray]:
    """Images of the perturbed scans, <stage>.perturbed.<name>.image_rad float32 (h, w), of whom it concerns."""
    if estimator not in PERTURBED_ESTIMATORS or stage == FINETUNED:
        return {}
    arrays = {}
    dose = Illumination.read(test).dose_e
    for name, scan in _scans(test):
        counts = oriented(scan.counts, scan.detector_transposed, variant)
        image, _ = imager(counts, scan.positions_px, dose)
        arrays[f"{stage}.perturbed.{name}.image_rad"] = image.to_object_pixels().numpy().astype(np.float32)
    return arrays


def _scans(test: Path) -> Iterator[tuple[str, Scan]]:
    """What the estimators are told of each perturbed scan of a test file."""
    about = read_arrays(test, ["perturbations", "scans", "detector_transposed"])
    names, first = about["perturbations"].tolist(), about["scans"].tolist()[0]
    positions = torch.from_numpy(read_arrays(test, [f"{first}.positions_px"])[f"{first}.positions_px"])
    for name in names:
        counts = read_arrays(test, [f"perturbed.{name}.counts"])[f"perturbed.{name}.counts"].astype(np.float32)
        yield name, Scan(torch.from_numpy(counts), positions, bool(about["detector_transposed"]))


def predict_ablation(
    test: Path, weights: Path, fault: str, seed: int, device: torch.device, precision: Precision, batch_size: int
) -> dict[str, np.ndarray]:
    """What a network trained with one fault, or with `NO_FAULT`, says of a test file.

    Args:
        seed: of the training; also shuffles the published stitching.

    Returns:
        seed; scans, the C photographs; faults (F,), the one given and, of the recipe without any, `IMAGE_FAULTS`;
        patches_rad (S, D, M, K) of the test set, as `evaluation.Truth`; for each fault and scan at full dose
        <fault>.<scan>.image_rad float32 (h, w) in object pixels, and its <fault>.<scan>.origin_px.
    """
    light = Illumination.read(test)
    found = read_arrays(test, ["counts", "test_dose_e"])
    faults = (NO_FAULT, *IMAGE_FAULTS) if fault == NO_FAULT else (fault,)
    scans = photograph_names(test)
    network = NetworkEstimator(weights, light, with_fault(fault), device, precision, batch_size)
    arrays = {
        "seed": np.int64(seed),
        "scans": np.array(scans),
        "faults": np.array(faults),
        "patches_rad": patches_of(network, found["counts"], found["test_dose_e"].tolist(), light),
    }
    for name in faults:
        variant = with_fault(name)
        imager = PatchImager(network, light, variant, seed)
        for scan_name in scans:
            scan = read_scan(test, scan_name, light.dose_e)
            counts = oriented(scan.counts, scan.detector_transposed, variant)
            image, _ = imager(counts, scan.positions_px, light.dose_e)
            arrays[f"{name}.{scan_name}.image_rad"] = image.to_object_pixels().numpy().astype(np.float32)
            arrays[f"{name}.{scan_name}.origin_px"] = np.array(image.origin)
            print(f"{name} {scan_name}", file=sys.stderr, flush=True)
    return arrays

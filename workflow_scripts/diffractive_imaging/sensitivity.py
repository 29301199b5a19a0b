"""What an estimator loses when the experiment is not what it was told: the first photograph, perturbed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.datasets import Scan
from workflow_scripts.diffractive_imaging.estimators import Imager
from workflow_scripts.diffractive_imaging.evaluation import STAGES, Truth, scanned_objects
from workflow_scripts.diffractive_imaging.perfect_patches import cut_like
from workflow_scripts.diffractive_imaging.reconstruction import oriented
from workflow_scripts.diffractive_imaging.variants import Variant
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree
from workflow_scripts.study.tables import condition, metric_row
from workflow_scripts.workflow.files import read_arrays

# The published arm, known to be wrong, and dpc, which needs no probe, are not asked. Neither are finetuned weights:
# the perturbed scans are nothing that a network was adapted to.
ESTIMATORS = ("corrected", "ridge", "ptychography")
FINETUNED = "finetuned"


def perturbed_images(imager: Imager, estimator: str, stage: str, test: Path, variant: Variant) -> dict[str, np.ndarray]:
    """Images of the perturbed scans, <stage>.perturbed.<name>.image_rad float32 (h, w), of whom it concerns."""
    if estimator not in ESTIMATORS or stage == FINETUNED:
        return {}
    arrays = {}
    for name, scan in _scans(test):
        counts = oriented(scan.counts, scan.detector_transposed, variant)
        dose = float(read_arrays(test, ["dose_e"])["dose_e"])
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


def sensitivity_rows(test: Path, truth: Truth, predictions: list[Path]) -> Iterator[dict]:
    """RMSE of the first photograph at full dose under each perturbation; `none` is the ordinary scan.

    These rows of a network are of the pretrained weights.
    """
    names = read_arrays(test, ["perturbations"])["perturbations"].tolist()
    photograph, (scan, *_), about = scanned_objects(truth)[0]
    full = truth.dose_e.index(truth.light.dose_e)
    for path in predictions if names else []:
        who = read_arrays(path, ["estimator", "seed", "stages"])
        for stage in set(who["stages"].tolist()) - {FINETUNED}:
            if who["estimator"] not in ESTIMATORS:
                continue
            usual, origin = f"{stage}.{scan}.image_rad", f"{stage}.{scan}.origin_px"
            perturbed = {name: f"{stage}.perturbed.{name}.image_rad" for name in names}
            found = read_arrays(path, [usual, origin, *perturbed.values()])
            images = {"none": found[usual][full]} | {name: found[key] for name, key in perturbed.items()}
            for name, image in images.items():
                # The positions that are told are the same, so the images begin at the same pixel.
                error = phase_rmse_rad_meanfree(
                    image, cut_like(truth.images_rad[scan], image, tuple(found[origin].tolist()))
                )
                where = condition(dose_e=truth.light.dose_e, object=photograph, perturbation=name, **about)
                seed = int(who["seed"]) if STAGES[stage] else None
                yield metric_row(
                    str(who["estimator"]), "phase_rmse_rad_meanfree", "rad", error, condition=where, seed=seed
                )

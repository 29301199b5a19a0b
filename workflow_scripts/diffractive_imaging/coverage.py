"""How often the truth lies within the calibrated standard errors of the images."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.diffractive_imaging import forward
from workflow_scripts.diffractive_imaging.datasets import CALIBRATION
from workflow_scripts.diffractive_imaging.evaluation import STAGES, Truth, scanned_objects
from workflow_scripts.diffractive_imaging.perfect_patches import cut_like
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.stitching import to_object_pixels
from workflow_scripts.diffractive_imaging.uncertainty import calibration_factor, covered_share, relative_error
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.files import read_arrays


def coverage_rows(test: Path, truth: Truth, predictions: list[Path], settings: Evaluate) -> Iterator[dict]:
    """`coverage_68` of every object and `calibration_factor` of every dose, of the estimators that give a spread.

    The factor comes from the scan `CALIBRATION` at the same dose and from nothing else. Rows of a network without a
    stage are of the finetuned weights, as those of its images are.
    """
    calibration = torch.from_numpy(read_arrays(test, [f"{CALIBRATION}.phase_rad"])[f"{CALIBRATION}.phase_rad"])
    true = {**truth.images_rad, CALIBRATION: to_object_pixels(calibration, forward.UPSAMPLING).numpy()}
    for path in predictions:
        about = read_arrays(path, ["estimator", "seed", "stages", "has_spread"])
        for stage in about["stages"].tolist() if about["has_spread"] else []:
            relative = _relative_errors(path, stage, true)
            named = {"stage": "pretrain"} if STAGES[stage] == "pretrain" else {}
            who = {"seed": int(about["seed"]) if STAGES[stage] else None}
            factors = [calibration_factor(errors) for errors in relative[CALIBRATION]]
            for dose, factor in zip(truth.dose_e, factors, strict=True):
                where = condition(dose_e=dose, object=CALIBRATION, phase_std_rad=truth.scan_phase_std_rad, **named)
                yield metric_row(str(about["estimator"]), "calibration_factor", "1", factor, condition=where, **who)
            for (name, scans, made), (index, dose) in product(scanned_objects(truth), enumerate(truth.dose_e)):
                shares = np.array([covered_share(relative[scan][index], factors[index]) for scan in scans])
                interval = bootstrap(shares, seed=settings.seed, resamples=settings.bootstrap_samples)
                where = condition(dose_e=dose, object=name, **made, **named)
                yield metric_row(str(about["estimator"]), "coverage_68", "1", interval, condition=where, **who)


def _relative_errors(path: Path, stage: str, true: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """By scan, `relative_error` at every dose."""
    kinds = ("image_rad", "spread_rad", "origin_px")
    found = read_arrays(path, [f"{stage}.{scan}.{kind}" for scan in true for kind in kinds])
    relative = {}
    for scan, whole in true.items():
        images, spreads, origin = (found[f"{stage}.{scan}.{kind}"] for kind in kinds)
        relative[scan] = [
            relative_error(image, cut_like(whole, image, tuple(origin.tolist())), spread)
            for image, spread in zip(images, spreads, strict=True)
        ]
    return relative

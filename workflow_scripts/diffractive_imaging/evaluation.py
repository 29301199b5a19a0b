"""Predictions against the truth: patches, stitched images, and what the stitching alone transmits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workflow_scripts.diffractive_imaging import forward
from workflow_scripts.diffractive_imaging.datasets import SCANS, Illumination, raster
from workflow_scripts.diffractive_imaging.reconstruction import stitch
from workflow_scripts.diffractive_imaging.settings import Evaluate, ScanSettings
from workflow_scripts.diffractive_imaging.stitching import to_object_pixels
from workflow_scripts.diffractive_imaging.variants import VARIANTS
from workflow_scripts.study.transfer import radial_transfer, transfer_at_period, transfer_in_band
from workflow_scripts.workflow.files import read_arrays

# Stages of a learned estimator, as predictions name them and as conditions do; ridge is fitted, in no stage.
STAGES = {"pretrained": "pretrain", "finetuned": "finetune", "fitted": None}
BANDS_PX = ((4, 6), (10, 15), (25, 50))
LONG_PERIOD_PX = 100
EXAMPLES = 3


@dataclass(frozen=True)
class Truth:
    """What the test file knows and no estimator saw.

    patches_rad: (S, M, K) mean-free over the K pixels of the mask, for the S phases.
    phase_std_rad, dose_e: (S,), (D,) of the test set.
    images_rad: by scan, (H, W) in object pixels from [0, 0].
    """

    light: Illumination
    patches_rad: np.ndarray
    phase_std_rad: list[float]
    dose_e: list[float]
    images_rad: Mapping[str, np.ndarray]


def read_truth(path: Path) -> Truth:
    """The truth of a test file of the stage synthesize."""
    light = Illumination.read(path)
    found = read_arrays(path, ["unit_phase", "phase_std_rad", "test_dose_e", *(f"{name}.phase_rad" for name in SCANS)])
    mask = forward.patch_mask(light.probe)
    unit = forward.remove_mask_mean(forward.true_patch(torch.from_numpy(found["unit_phase"]).double()), mask)
    return Truth(
        light,
        found["phase_std_rad"][:, None, None] * unit[:, mask].numpy(),
        found["phase_std_rad"].tolist(),
        found["test_dose_e"].tolist(),
        {
            name: to_object_pixels(torch.from_numpy(found[f"{name}.phase_rad"]), forward.UPSAMPLING).numpy()
            for name in SCANS
        },
    )


@dataclass(frozen=True)
class Prediction:
    """What one estimator says at one stage.

    seed: training seed; None where nothing was drawn.
    stage: pretrain or finetune; None where there are no stages.
    patches_rad: (S, D, M, K), as `Truth.patches_rad` for every dose.
    images_rad: by scan, (h, w) in object pixels, NaN where no patch lies; `origins_px` says where they begin.
    """

    estimator: str
    seed: int | None
    stage: str | None
    patches_rad: np.ndarray
    images_rad: Mapping[str, np.ndarray]
    origins_px: Mapping[str, tuple[int, int]]


def read_predictions(paths: Sequence[Path]) -> Iterator[Prediction]:
    """Every stage of every file of the stage predict."""
    for path in paths:
        about = read_arrays(path, ["estimator", "seed", "stages"])
        for stage in about["stages"].tolist():
            names = [f"{stage}.patches_rad"]
            names += [f"{stage}.{scan}.{kind}" for scan in SCANS for kind in ("image_rad", "origin_px")]
            found = read_arrays(path, names)
            yield Prediction(
                estimator=str(about["estimator"]),
                seed=int(about["seed"]) if STAGES[stage] else None,
                stage=STAGES[stage],
                patches_rad=found[f"{stage}.patches_rad"],
                images_rad={scan: found[f"{stage}.{scan}.image_rad"] for scan in SCANS},
                origins_px={scan: tuple(found[f"{stage}.{scan}.origin_px"].tolist()) for scan in SCANS},
            )


def metric_rows(
    truth: Truth, predictions: Sequence[Prediction], transfer: pd.DataFrame, settings: Evaluate
) -> list[dict]:
    """All rows of metrics.csv, those of the headline included."""
    zeros = Prediction(
        "zeros",
        None,
        None,
        np.zeros((len(truth.phase_std_rad), len(truth.dose_e), *truth.patches_rad.shape[1:])),
        {name: np.zeros_like(image) for name, image in truth.images_rad.items()},
        {name: (0, 0) for name in truth.images_rad},
    )
    rows: list[dict] = []
    for prediction in (zeros, *predictions):
        rows += _patch_rows(truth, prediction, settings)
        rows += _image_rows(truth, prediction)
    for estimator, group in transfer.groupby("estimator", sort=False):
        rows += _transfer_rows(str(estimator), group.iloc[0])
    return rows


def _patch_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """Patch R² for every phase and dose; the headline is 0.5 rad at full dose, of the pretrained network.

    The scans that a network was finetuned on are no part of this test set.
    """
    rows = []
    for std, true, by_dose in zip(truth.phase_std_rad, truth.patches_rad, prediction.patches_rad, strict=True):
        for dose, predicted in zip(truth.dose_e, by_dose, strict=True):
            estimate = bootstrap(
                patch_misfit(predicted, true),
                patch_r2,
                seed=settings.seed,
                resamples=settings.bootstrap_samples,
            )
            row = metric_row(
                prediction.estimator,
                "patch_r2",
                "1",
                estimate,
                condition=condition(dose_e=dose, phase_std_rad=std, **_stage(prediction)),
                seed=prediction.seed,
            )
            rows.append(row)
    return rows


def _image_rows(truth: Truth, prediction: Prediction) -> list[dict]:
    rows = []
    for name, image in prediction.images_rad.items():
        true = cut_like(truth.images_rad[name], image, prediction.origins_px[name])
        rows.append(
            metric_row(
                prediction.estimator,
                "phase_rmse_rad_meanfree",
                "rad",
                phase_rmse_rad_meanfree(image, true),
                condition=condition(object=name, **_stage(prediction)),
                seed=prediction.seed,
            )
        )
    return rows


def _stage(prediction: Prediction) -> dict[str, str]:
    return {"stage": prediction.stage} if prediction.stage else {}


def cut_like(truth: np.ndarray, image: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """The part of a true image (H, W) that an image (h, w) with this origin shows, NaN where it shows nothing."""
    rows, columns = (slice(start, start + side) for start, side in zip(origin, image.shape, strict=True))
    return np.where(np.isfinite(image), truth[rows, columns], np.nan)

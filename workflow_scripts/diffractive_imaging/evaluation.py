"""Predictions against the truth: patches, stitched images, and what the stitching alone transmits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch

from workflow_scripts.diffractive_imaging import forward
from workflow_scripts.diffractive_imaging.datasets import STEP_EDGE, Illumination, scan_names
from workflow_scripts.diffractive_imaging.perfect_patches import (
    beside_truth,
    cut_like,
    transfer_by_period,
    white_noise_scan,
)
from workflow_scripts.diffractive_imaging.settings import CrystalName, Evaluate
from workflow_scripts.diffractive_imaging.stitching import damped_average, least_squares, to_object_pixels
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.metrics import patch_misfit, patch_r2, phase_rmse_rad_meanfree, root_mean_square
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.study.transfer import radial_transfer
from workflow_scripts.workflow.files import read_arrays

# Stages of a learned estimator, as predictions name them and as conditions do. Classical ones have no stage: ridge is
# fitted, dpc and ptychography answer with images and no patches.
STAGES = {"pretrained": "pretrain", "finetuned": "finetune", "fitted": None, "imaged": None}
IMAGES_ONLY = "imaged"
_EXAMPLES = 4  # patterns that the figure shows
# The published experiment's raster and mask (doi:10.1103/PhysRevLett.130.016101, data of its release).
PUBLISHED_STEP_PX = 0.86995916
PUBLISHED_MASK_PX = 12  # fine pixels a side


@dataclass(frozen=True)
class Transfer:
    """Perfect patches of a white-noise object, stitched.

    estimator: published (damped average) or corrected (least squares).
    scan: "published" for the geometry of the published experiment; None for that of our scans and probe.
    image_rad, truth_rad: (H, W) in object pixels, NaN where no patch lies.
    """

    estimator: str
    scan: str | None
    image_rad: np.ndarray
    truth_rad: np.ndarray

    def table(self) -> pd.DataFrame:
        """T(k) of every ring: estimator, scan, period_px, transfer."""
        rings = radial_transfer(self.image_rad, self.truth_rad)[["period_px", "transfer"]]
        return rings.assign(estimator=self.estimator, scan=self.scan or "default")


def stitch_perfect_patches(light: Illumination, settings: Evaluate) -> Iterator[Transfer]:
    """Both stitchings of perfect patches, in the geometry of our scans and in that of the published experiment."""
    n = light.n
    lit = torch.zeros(n, n, dtype=torch.bool)
    side = slice(n // 2 - PUBLISHED_MASK_PX // 2, n // 2 + PUBLISHED_MASK_PX // 2)
    lit[side, side] = True
    probe_mask = forward.patch_mask(light.probe)
    illumination = forward.patch_illumination(light.probe)
    geometries = {
        None: (settings.transfer_step_px, settings.transfer_jitter_px, probe_mask, illumination),
        "published": (PUBLISHED_STEP_PX, 0.0, lit, torch.ones(n, n, dtype=torch.float64)),
    }
    for scan, (step, jitter, mask, weights) in geometries.items():
        perfect = white_noise_scan(settings.transfer_points, step, jitter, n, settings.seed)
        scanned = perfect.patches_rad, perfect.positions_px
        generator = torch.Generator().manual_seed(settings.seed)
        for estimator, stitched in (
            ("published", damped_average(*scanned, mask, generator=generator)),
            ("corrected", least_squares(*scanned, weights * mask)),
        ):
            yield Transfer(estimator, scan, *beside_truth(stitched, perfect.object_rad))


@dataclass(frozen=True)
class Truth:
    """What the test file knows and no estimator saw.

    patches_rad: (S, M, K) in the K pixels of the mask for the S phases, their means not removed.
    phase_std_rad, dose_e: (S,), (D,) of the test set.
    images_rad: by scan, (H, W) in object pixels from [0, 0].
    scan_phase_std_rad: standard deviation of the phase of photographs and step edge.
    """

    light: Illumination
    patches_rad: np.ndarray
    phase_std_rad: list[float]
    dose_e: list[float]
    images_rad: Mapping[str, np.ndarray]
    scan_phase_std_rad: float


def read_truth(path: Path) -> Truth:
    """The truth of a test file of the stage synthesize."""
    light = Illumination.read(path)
    names = ["unit_phase", "phase_std_rad", "test_dose_e", "scan_phase_std_rad"]
    scans = scan_names(path)
    found = read_arrays(path, [*names, *(f"{name}.phase_rad" for name in scans)])
    mask = forward.patch_mask(light.probe)
    unit = forward.true_patch(torch.from_numpy(found["unit_phase"]).double())[:, mask].numpy()
    images = {name: torch.from_numpy(found[f"{name}.phase_rad"]) for name in scans}
    return Truth(
        light,
        found["phase_std_rad"][:, None, None] * unit,
        found["phase_std_rad"].tolist(),
        found["test_dose_e"].tolist(),
        {name: to_object_pixels(image, forward.UPSAMPLING).numpy() for name, image in images.items()},
        float(found["scan_phase_std_rad"]),
    )


@dataclass(frozen=True)
class Prediction:
    """What one estimator says at one stage.

    seed: training seed; None where nothing was drawn.
    stage: pretrain or finetune; None where there is but one.
    patches_rad: (S, D, M, K), as `Truth.patches_rad` for every dose, mean-free; None of an estimator of images alone.
    images_rad: by scan, (D, h, w) in object pixels, NaN where no patch lies; `origins_px` says where they begin.
    iterations: by scan, (D,) that each image took.
    """

    estimator: str
    seed: int | None
    stage: str | None
    patches_rad: np.ndarray | None
    images_rad: Mapping[str, np.ndarray]
    origins_px: Mapping[str, tuple[int, int]]
    iterations: Mapping[str, np.ndarray]


def read_predictions(path: Path, scans: Sequence[str]) -> Iterator[Prediction]:
    """Every stage of a file of the stage predict."""
    about = read_arrays(path, ["estimator", "seed", "stages"])
    stages = about["stages"].tolist()
    for stage in stages:
        names = [] if stage == IMAGES_ONLY else [f"{stage}.patches_rad"]
        names += [f"{stage}.{scan}.{kind}" for scan in scans for kind in ("image_rad", "origin_px", "iterations")]
        found = read_arrays(path, names)
        yield Prediction(
            estimator=str(about["estimator"]),
            seed=int(about["seed"]) if STAGES[stage] else None,
            stage=STAGES[stage] if len(stages) > 1 else None,
            patches_rad=found.get(f"{stage}.patches_rad"),
            images_rad={scan: found[f"{stage}.{scan}.image_rad"] for scan in scans},
            origins_px={scan: tuple(found[f"{stage}.{scan}.origin_px"].tolist()) for scan in scans},
            iterations={scan: found[f"{stage}.{scan}.iterations"] for scan in scans},
        )


def predict_zeros(truth: Truth) -> Prediction:
    """The trivial predictor: no phase anywhere."""
    shape = (len(truth.phase_std_rad), len(truth.dose_e), *truth.patches_rad.shape[1:])
    n_doses = len(truth.dose_e)
    images = {name: np.zeros((n_doses, *image.shape)) for name, image in truth.images_rad.items()}
    origins = dict.fromkeys(images, (0, 0))
    return Prediction("zeros", None, None, np.zeros(shape), images, origins, dict.fromkeys(images, np.zeros(n_doses)))


def metric_rows(
    truth: Truth, predictions: Sequence[Prediction], transfers: Sequence[Transfer], settings: Evaluate
) -> list[dict]:
    """All rows of metrics.csv, those of the headline included.

    A row of a network without a stage is of the weights that a user would take: for the patches of the 1/f
    set the pretrained ones (the finetuned ones are adapted to other objects, the scans), for the images of
    the scans the finetuned ones. The other weights have rows that name their stage.
    """
    patches, images, others = [], [], []
    for prediction in predictions:
        patches += _patch_rows(truth, prediction, settings)
        images += _image_rows(truth, prediction, settings)
    for transfer in transfers:
        others += _transfer_rows(transfer)
    full = {"dose_e": truth.light.dose_e, "phase_std_rad": truth.scan_phase_std_rad}
    return [
        *with_headline(patches, condition(**full)),
        *with_headline(images, condition(object="photograph", **full)),
        *with_headline(others, condition(object="white_noise", patches="perfect")),
        *with_headline(_recipe_rows(truth), condition(target="patch")),
    ]


def scanned_objects(truth: Truth) -> list[tuple[str, list[str], dict[str, float]]]:
    """The scanned objects as conditions name them: their scans, and what else the conditions say of them."""
    made = {"phase_std_rad": truth.scan_phase_std_rad}  # a crystal has the phase that it has
    crystals = [name for name in truth.images_rad if name in get_args(CrystalName)]
    photographs = [name for name in truth.images_rad if name not in (STEP_EDGE, *crystals)]
    objects = [("photograph", photographs, made), (STEP_EDGE, [STEP_EDGE], made)]
    return objects + [(name, [name], {}) for name in crystals]


def _patch_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """Patch R² for every phase and dose, of estimators that predict patches."""
    if prediction.patches_rad is None:
        return []
    rows = []
    stage = {"stage": "finetune"} if prediction.stage == "finetune" else {}
    for std, true, by_dose in zip(truth.phase_std_rad, truth.patches_rad, prediction.patches_rad, strict=True):
        for dose, predicted in zip(truth.dose_e, by_dose, strict=True):
            misfit = patch_misfit(predicted, true)  # (M, 2); every 1/f object is a source of its own
            interval = bootstrap(misfit, patch_r2, seed=settings.seed, resamples=settings.bootstrap_samples)
            where = condition(dose_e=dose, phase_std_rad=std, **stage)
            rows.append(
                metric_row(prediction.estimator, "patch_r2", "1", interval, condition=where, seed=prediction.seed)
            )
    return rows


def _image_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """RMSE of the scans at every dose: the photographs, each a source of its own, the step edge and the crystals.

    Of ptychography also the iteration that its held-out patterns chose, the median over the same scans.
    """
    rows = []
    stage = {"stage": "pretrain"} if prediction.stage == "pretrain" else {}
    for (name, scans, about), (index, dose) in product(scanned_objects(truth), enumerate(truth.dose_e)):
        errors = []
        for scan in scans:
            image = prediction.images_rad[scan][index]
            true = cut_like(truth.images_rad[scan], image, prediction.origins_px[scan])
            errors.append(phase_rmse_rad_meanfree(image, true))
        interval = bootstrap(
            np.array(errors), root_mean_square, seed=settings.seed, resamples=settings.bootstrap_samples
        )
        where = {"condition": condition(dose_e=dose, object=name, **about, **stage), "seed": prediction.seed}
        rows.append(metric_row(prediction.estimator, "phase_rmse_rad_meanfree", "rad", interval, **where))
        if prediction.estimator == "ptychography":
            chosen = float(np.median([prediction.iterations[scan][index] for scan in scans]))
            rows.append(metric_row(prediction.estimator, "best_iteration", "1", chosen, n=len(scans), **where))
    return rows


def _transfer_rows(transfer: Transfer) -> list[dict]:
    where = condition(object="white_noise", patches="perfect", **({"scan": transfer.scan} if transfer.scan else {}))
    return [
        metric_row(transfer.estimator, metric, "1", value, condition=where)
        for metric, value in transfer_by_period(transfer.image_rad, transfer.truth_rad).items()
        if np.isfinite(value)  # a small scan holds no period of 100 px
    ]


def _recipe_rows(truth: Truth) -> list[dict]:
    """What the recipe asks of its network: how much of the dose falls into the mask, how much of the target is mean."""
    share = forward.lit_share(truth.light.probe, truth.light.upsampling)
    mean_share = float((truth.patches_rad.mean(axis=2) ** 2).sum() / (truth.patches_rad**2).mean(axis=2).sum())
    where = condition(target="patch")
    return [
        metric_row("published", "mask_dose_fraction", "1", share, condition=where),
        metric_row(
            "published", "target_mean_variance_fraction", "1", mean_share, condition=where, n=truth.patches_rad.shape[1]
        ),
    ]


def example_images(path: Path, truth: Truth, predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    """What the figure shows as pictures, of the first seed of every estimator.

    Args:
        path: the test file, whose counts are shown.

    Returns:
        patch_estimators (F,), those of the E that predict patches; estimators (E,); scans (C,); counts (X, n, n) of X
        objects of the headline; true_patches_rad (X, h, w) and patches_rad (F, X, h, w) mean-free on the box of the
        mask, NaN outside; for each scan at full dose true.<scan>_rad (H, W) and <scan>_rad (E, H, W) in object pixels,
        mean-free, NaN where no patch lies; pixel_size_a.
    """
    shown = [predictions[k] for k in sorted(_first_of_each_estimator(predictions).values())]
    of_patches = [prediction for prediction in shown if prediction.patches_rad is not None]
    nearest = int(np.argmin(np.abs(np.array(truth.phase_std_rad) - truth.scan_phase_std_rad)))
    dose = int(np.argmax(truth.dose_e))
    true = truth.patches_rad[nearest, :_EXAMPLES]
    true = true - true.mean(axis=1, keepdims=True)
    mask = forward.patch_mask(truth.light.probe).numpy()
    arrays = {
        "patch_estimators": np.array([prediction.estimator for prediction in of_patches]),
        "estimators": np.array([prediction.estimator for prediction in shown]),
        "counts": read_arrays(path, ["counts"])["counts"][nearest, dose, :_EXAMPLES],
        "true_patches_rad": _on_box(true, mask),
        "patches_rad": np.array(
            [_on_box(prediction.patches_rad[nearest, dose, :_EXAMPLES], mask) for prediction in of_patches]
        ),
        "pixel_size_a": np.float64(truth.light.pixel_size_a),
        "scans": np.array(list(truth.images_rad)),
    }
    for scan, image in truth.images_rad.items():
        arrays |= _common_frame(scan, image, shown, truth.dose_e.index(truth.light.dose_e))
    return arrays


def _first_of_each_estimator(predictions: Sequence[Prediction]) -> dict[str, int]:
    """Index of the first seed's last stage of every estimator, in the order of the predictions."""
    first_seed: dict[str, int | None] = {}
    chosen = {}
    for index, prediction in enumerate(predictions):
        if first_seed.setdefault(prediction.estimator, prediction.seed) == prediction.seed:
            chosen[prediction.estimator] = index
    return chosen


def _on_box(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values (X, K) of the mask's pixels as images (X, h, w) of its box, float32, NaN off the mask."""
    images = np.full((len(values), *mask.shape), np.nan, np.float32)
    images[:, mask] = values
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return images[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _common_frame(scan: str, truth: np.ndarray, shown: Sequence[Prediction], dose: int) -> dict[str, np.ndarray]:
    """Truth and images of a scan at one dose in the frame of what every estimator covers, mean-free."""
    whole = np.full((len(shown) + 1, *truth.shape), np.nan, np.float32)
    whole[0] = truth
    for index, prediction in enumerate(shown, start=1):
        (top, left), image = prediction.origins_px[scan], prediction.images_rad[scan][dose]
        whole[index, top : top + image.shape[0], left : left + image.shape[1]] = image
    covered = np.isfinite(whole).all(axis=0)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    frame = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    whole = np.where(covered, whole, np.nan)[frame]
    whole -= np.nanmean(whole, axis=(1, 2), keepdims=True)
    return {f"true.{scan}_rad": whole[0], f"{scan}_rad": whole[1:]}

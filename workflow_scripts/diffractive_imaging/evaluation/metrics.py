"""Predictions against the truth: patches, stitched images, and what the stitching alone transmits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workflow_scripts.diffractive_imaging.evaluation.transfer import (
    beside_truth,
    cut_like,
    transfer_by_period,
    white_noise_scan,
)
from workflow_scripts.diffractive_imaging.networks.stitching import damped_average, least_squares, to_object_pixels
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import (
    CALIBRATION,
    PHOTOGRAPH,
    Illumination,
    ScanSet,
    scan_sets,
)
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.metrics import patch_misfit, patch_r2, phase_rmse_rad_meanfree, root_mean_square
from workflow_scripts.study.predictions import Part, read_predictions
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.study.transfer import radial_transfer
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays

# Stages of a trained estimator, as predictions name them and as conditions do.
STAGES = {"pretrained": "pretrain", "finetuned": "finetune"}
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
    scan_sets: the scans by object and dose.
    images_rad: by object as conditions name it, of each of its scans (H, W) in object pixels from [0, 0].
    scan_phase_std_rad: standard deviation of the phase of photographs and step edge.
    """

    light: Illumination
    patches_rad: np.ndarray
    phase_std_rad: list[float]
    dose_e: list[float]
    scan_sets: list[ScanSet]
    images_rad: Mapping[str, Sequence[np.ndarray]]
    scan_phase_std_rad: float

    def patches_by_condition(self) -> dict[str, np.ndarray]:
        """The true patches (M, K) behind the patterns of each dose and phase."""
        return {
            condition(dose_e=dose, phase_std_rad=std): patches
            for std, patches in zip(self.phase_std_rad, self.patches_rad, strict=True)
            for dose in self.dose_e
        }


def read_truth(path: Path) -> Truth:
    """The truth of a test file of the stage synthesize."""
    light = Illumination.read(path)
    arrays = read_arrays(path, ["unit_phase", "phase_std_rad", "test_dose_e", "scan_phase_std_rad"])
    mask = forward.patch_mask(light.probe)
    unit = forward.true_patch(torch.from_numpy(arrays["unit_phase"]).double())[:, mask].numpy()
    sets = scan_sets(path)
    images = {}
    for name, scans in {scans.where["object"]: scans.scans for scans in sets}.items():
        phases = read_arrays(path, [f"{scan}.phase_rad" for scan in scans])
        images[name] = [
            to_object_pixels(torch.from_numpy(phase), forward.UPSAMPLING).numpy() for phase in phases.values()
        ]
    return Truth(
        light,
        arrays["phase_std_rad"][:, None, None] * unit,
        arrays["phase_std_rad"].tolist(),
        arrays["test_dose_e"].tolist(),
        sets,
        images,
        float(arrays["scan_phase_std_rad"]),
    )


@dataclass(frozen=True)
class Images:
    """What an estimator answered of the C scans of one object, or of the first of them, under one condition.

    image_rad: (C, h, w) in object pixels, NaN where no patch lies; image i begins at pixel origins_px[i], [y, x].
    spread_rad: (C, h, w), NaN where it is unknown; None of an estimator without uncertainty.
    iterations: (C,) that the estimator chose; None where it chooses none.
    """

    image_rad: np.ndarray
    origins_px: list[tuple[int, int]]
    spread_rad: np.ndarray | None = None
    iterations: np.ndarray | None = None

    def beside(self, truths: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each image (h, w) and the same part of its truth, of truths (H, W)."""
        return [
            (image, cut_like(truth, image, origin))
            for image, origin, truth in zip(self.image_rad, self.origins_px, truths, strict=False)
        ]


@dataclass(frozen=True)
class Prediction:
    """What one estimator answered at one stage.

    seed: training seed; None where nothing is trained.
    stage: pretrain or finetune; None where there is but one.
    patches_rad: by condition, (M, K) as in `Truth.patches_rad`, mean-free; {} of an estimator of images alone.
    images: by condition.
    """

    estimator: str
    seed: int | None
    stage: str | None
    patches_rad: Mapping[str, np.ndarray]
    images: Mapping[str, Images]

    def labels(self, stage: str) -> dict[str, str]:
        """What a condition says of the stage: nothing, unless it is the one named."""
        return {"stage": stage} if self.stage == stage else {}


def predictions_of(path: Path, truth: Truth) -> Iterator[Prediction]:
    """Every stage of a file of the stage predict.

    Raises:
        InputError: the file is broken, or answers another test file.
    """
    predictions = read_predictions(path)
    n_scans = {condition(**scans.where): len(scans.scans) for scans in truth.scan_sets}
    n_scans |= dict.fromkeys(truth.patches_by_condition(), 0)
    for stage in predictions.stages:
        patches, images = {}, {}
        for part in predictions.parts:
            values = part.values
            usual = condition(**{key: value for key, value in values.items() if key not in ("fault", "perturbation")})
            if usual not in n_scans:
                raise InputError(f"{path}: the test file holds nothing under {usual}; predict again")
            if part.stage == stage and "patches_rad" in part.names:
                shape = truth.patches_rad.shape[1:]
                patches[part.condition] = part.read("patches_rad", shapes={"patches_rad": shape})["patches_rad"]
            elif part.stage == stage:
                images[part.condition] = _read_images(part, 1 if "perturbation" in values else n_scans[usual])
        yield Prediction(
            estimator=predictions.estimator,
            seed=predictions.seed if stage in STAGES else None,
            stage=STAGES[stage] if len(predictions.stages) > 1 else None,
            patches_rad=patches,
            images=images,
        )


def _read_images(part: Part, n: int) -> Images:
    origins = part.read("origin_px", shapes={"origin_px": (n, 2)})["origin_px"].tolist()
    names = [name for name in ("image_rad", "spread_rad", "iterations") if name == "image_rad" or name in part.names]
    images = ("image_rad", "spread_rad")
    shapes = {name: (n, -1, -1) if name in images else (n,) for name in names}
    arrays = part.read(*names, shapes=shapes, finite=False)  # NaN marks what no patch covers
    return Images(origins_px=[tuple(origin) for origin in origins], **arrays)


def predict_zeros(truth: Truth) -> Prediction:
    """The trivial predictor: no phase anywhere."""
    patches = {where: np.zeros(true.shape) for where, true in truth.patches_by_condition().items()}
    images = {}
    for scans in truth.scan_sets:
        flat = np.zeros_like(truth.images_rad[scans.where["object"]])
        images[condition(**scans.where)] = Images(flat, [(0, 0)] * len(flat))
    return Prediction("zeros", None, None, patches, images)


def metric_rows(
    truth: Truth, predictions: Sequence[Prediction], transfers: Sequence[Transfer], settings: Evaluate
) -> list[dict]:
    """The rows of patches, images and stitchings.

    A row of a network without a stage is of the weights that a user would take: for the patches of the 1/f
    set the pretrained ones (the finetuned ones are adapted to other objects, the scans), for the images of
    the scans the finetuned ones. The other weights have rows that name their stage.
    """
    rows = []
    for prediction in predictions:
        rows += _patch_rows(truth, prediction, settings)
        rows += _image_rows(truth, prediction, settings)
        rows += _sensitivity_rows(truth, prediction)
    for transfer in transfers:
        rows += _transfer_rows(transfer)
    return rows + _recipe_rows(truth)


def with_headlines(rows: list[dict], truth: Truth) -> list[dict]:
    """The rows, those marked that the pages quote: at full dose and the phase of the scans, or with perfect patches."""
    full = {"dose_e": truth.light.dose_e, "phase_std_rad": truth.scan_phase_std_rad}
    for headline in (
        condition(**full),
        *(condition(object=name, **full) for name in (PHOTOGRAPH, CALIBRATION)),
        condition(object="white_noise", patches="perfect"),
        condition(target="patch"),
    ):
        rows = with_headline(rows, headline)
    return rows


def _patch_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """Patch R² for every phase and dose, of estimators that predict patches."""
    true = truth.patches_by_condition()
    rows = []
    for where, predicted in prediction.patches_rad.items():
        values = parse_condition(where)
        usual = condition(dose_e=values["dose_e"], phase_std_rad=values["phase_std_rad"])
        misfit = patch_misfit(predicted, true[usual])  # (M, 2); every 1/f object is a source of its own
        interval = bootstrap(misfit, patch_r2, seed=settings.seed, resamples=settings.bootstrap_samples)
        named = {"condition": condition(**values, **prediction.labels("finetune")), "seed": prediction.seed}
        rows.append(metric_row(prediction.estimator, "patch_r2", "1", interval, **named))
    return rows


def _image_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """RMSE of the scans at every dose: the photographs, each a source of its own, the step edge and the crystals.

    Where the estimator chooses an iteration, also the median over the same scans.
    """
    rows = []
    for where, images in prediction.images.items():
        values = parse_condition(where)
        if values["object"] == CALIBRATION or "perturbation" in values:
            continue
        errors = [phase_rmse_rad_meanfree(*pair) for pair in images.beside(truth.images_rad[values["object"]])]
        interval = bootstrap(
            np.array(errors), root_mean_square, seed=settings.seed, resamples=settings.bootstrap_samples
        )
        named = {"condition": condition(**values, **prediction.labels("pretrain")), "seed": prediction.seed}
        rows.append(metric_row(prediction.estimator, "phase_rmse_rad_meanfree", "rad", interval, **named))
        if images.iterations is not None:
            chosen = float(np.median(images.iterations))
            rows.append(metric_row(prediction.estimator, "best_iteration", "1", chosen, n=len(errors), **named))
    return rows


def _sensitivity_rows(truth: Truth, prediction: Prediction) -> list[dict]:
    """RMSE of the first photograph under each perturbation, and under `none` that of its ordinary scan.

    What an estimator loses when the experiment is not what it assumes. These rows of a network are of the pretrained
    weights.
    """
    perturbed = {}
    for where, images in prediction.images.items():
        values = parse_condition(where)
        if "perturbation" in values:
            usual = {key: value for key, value in values.items() if key != "perturbation"}
            perturbed[condition(**usual, perturbation="none")] = prediction.images[condition(**usual)]
            perturbed[where] = images
    rows = []
    for where, images in perturbed.items():
        error = phase_rmse_rad_meanfree(*images.beside(truth.images_rad[PHOTOGRAPH])[0])
        named = {"condition": where, "seed": prediction.seed}
        rows.append(metric_row(prediction.estimator, "phase_rmse_rad_meanfree", "rad", error, **named))
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

    Raises:
        InputError: an estimator answered nothing at full dose.
    """
    shown = [predictions[k] for k in sorted(_first_of_each_estimator(predictions).values())]
    of_patches = [prediction for prediction in shown if prediction.patches_rad]
    nearest = int(np.argmin(np.abs(np.array(truth.phase_std_rad) - truth.scan_phase_std_rad)))
    dose = int(np.argmax(truth.dose_e))
    where = condition(dose_e=truth.dose_e[dose], phase_std_rad=truth.phase_std_rad[nearest])
    true = truth.patches_rad[nearest, :_EXAMPLES]
    true = true - true.mean(axis=1, keepdims=True)
    mask = forward.patch_mask(truth.light.probe).numpy()
    arrays = {
        "patch_estimators": np.array([prediction.estimator for prediction in of_patches]),
        "estimators": np.array([prediction.estimator for prediction in shown]),
        "counts": read_arrays(path, ["counts"])["counts"][nearest, dose, :_EXAMPLES],
        "true_patches_rad": _on_box(true, mask),
        "patches_rad": np.array(
            [_on_box(_under(where, prediction.patches_rad, prediction)[:_EXAMPLES], mask) for prediction in of_patches]
        ),
        "pixel_size_a": np.float64(truth.light.pixel_size_a),
    }
    names = []
    for scans in truth.scan_sets:
        if scans.where["object"] != CALIBRATION and scans.dose_e == truth.light.dose_e:
            images = [_under(condition(**scans.where), prediction.images, prediction) for prediction in shown]
            names += scans.scans
            for index, scan in enumerate(scans.scans):
                arrays |= _common_frame(scan, truth.images_rad[scans.where["object"]][index], images, index)
    return arrays | {"scans": np.array(names)}


def _under(where: str, answers: Mapping[str, Any], prediction: Prediction) -> Any:
    if where not in answers:
        raise InputError(f"the predictions of {prediction.estimator} hold nothing under {where}; predict again")
    return answers[where]


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


def _common_frame(scan: str, truth: np.ndarray, shown: Sequence[Images], index: int) -> dict[str, np.ndarray]:
    """Truth (H, W) and the images of a scan, each the one at `index`, in the frame that all cover, mean-free."""
    whole = np.full((len(shown) + 1, *truth.shape), np.nan, np.float32)
    whole[0] = truth
    for canvas, images in zip(whole[1:], shown, strict=True):
        (top, left), image = images.origins_px[index], images.image_rad[index]
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    covered = np.isfinite(whole).all(axis=0)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    frame = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    whole = np.where(covered, whole, np.nan)[frame]
    whole -= np.nanmean(whole, axis=(1, 2), keepdims=True)
    return {f"true.{scan}_rad": whole[0], f"{scan}_rad": whole[1:]}

"""The rows of metrics.csv: patches, images, their uncertainty, and what the published network is asked to predict.

The standard error follows from how much overlapping patches disagree. Where m patches lie on a pixel and their
residuals have the variance v, their mean has the standard error √(v / m) if their errors are independent. Errors of
neighbours are not, because neighbouring probes see the same object: one factor, measured on a scan of a known object,
brings 68.27 % of the errors within one standard error. With it the errors are calibrated for objects like that one
and for no others, so `coverage_68` is reported.

The spread does not show errors that overlapping patches share, such as a wrong probe, a wrong scan or a wrong prior of
the network; nor those of long periods, which the image takes from the slopes of patches, so that small errors which
never contradict each other add up over many patches. Such errors make a coverage too small.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from workflow_scripts.diffractive_imaging.evaluation.comparison import Images, Prediction, Truth
from workflow_scripts.diffractive_imaging.networks.losses import MISFIT_LIMIT
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import CALIBRATION, PHOTOGRAPH
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.metrics import patch_misfit, patch_r2, phase_rmse_rad_meanfree
from workflow_scripts.study.tables import metric_row, with_headline

ONE_SIGMA = 0.6827  # share of a normal distribution within one standard deviation


def metric_rows(truth: Truth, predictions: Sequence[Prediction], settings: Evaluate) -> list[dict]:
    """The rows of patches and images.

    A network's row whose condition names no stage belongs to the weights that a user would apply: for patches of
    the 1/f set the pretrained ones (the finetuned ones are adapted to other objects, the scans), for images of the
    scans the finetuned ones. Rows of the other weights name their stage.
    """
    rows = []
    for prediction in predictions:
        rows += _patch_rows(truth, prediction, settings)
        rows += _image_rows(truth, prediction, settings)
    return rows + _recipe_rows(truth) + _areal_dose_rows(truth)


def with_headlines(rows: list[dict], truth: Truth) -> list[dict]:
    """The rows with the headlines marked: at full dose and the phase of the scans, or with perfect patches."""
    full = {"dose_e": truth.light.dose_e, "phase_std_rad": truth.scan_phase_std_rad}
    for headline in (
        condition(**full),
        *(condition(object=name, **full) for name in (PHOTOGRAPH, CALIBRATION)),
        condition(object="all", dose_e=truth.light.dose_e),
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
        truth_of = condition(dose_e=values["dose_e"], phase_std_rad=values["phase_std_rad"])
        misfit = patch_misfit(predicted, true[truth_of])  # (M, 2); every 1/f object is a source
        options = {"weights": misfit[:, 1], "seed": settings.seed, "resamples": settings.bootstrap_samples}
        interval = bootstrap(pd.Series(patch_r2(misfit)), **options)
        rows.append(prediction.row("patch_r2", "1", interval, where, "finetune"))
    return rows


def _image_rows(truth: Truth, prediction: Prediction, settings: Evaluate) -> list[dict]:
    """Mean RMSE of the scans of one kind of object under every condition, each object a source.

    Besides, with `object=all`, the mean over all objects of the error relative to the standard deviation of the phase.
    Perturbed scans show what a violated assumption about the experiment costs; `perturbation=none` is the same for the
    unperturbed scans of these objects. For networks the rows of perturbed scans use the pretrained weights.
    """
    rows, relative = [], defaultdict(list)
    names = {scans.where["object"]: scans.scans for scans in truth.scan_sets if scans.is_plain}

    def add(metric: str, unit: str, by_scan: pd.Series, where: str) -> None:
        interval = bootstrap(by_scan, seed=settings.seed, resamples=settings.bootstrap_samples)
        stage = "" if "perturbation" in where else "pretrain"
        rows.append(prediction.row(metric, unit, interval, where, stage))

    for where, images in _with_unperturbed(prediction.images).items():
        values = parse_condition(where)
        kind = values.pop("object")
        if kind == CALIBRATION:
            continue
        pairs = images.beside(truth.images_rad[kind])
        scans = names[kind][: len(pairs)]
        errors = pd.Series([phase_rmse_rad_meanfree(*pair) for pair in pairs], index=scans)
        add("phase_rmse_rad_meanfree", "rad", errors, where)
        if images.iterations is not None:
            add("best_iteration", "1", pd.Series(images.iterations, index=scans), where)
        if images.misfit is not None:
            misfit = pd.Series(images.misfit, index=scans)
            add("held_out_deviance_over_noise", "1", misfit, where)
            add("refused_share", "1", (misfit > MISFIT_LIMIT).astype(float), where)
        if "fault" not in values:
            values.pop("phase_std_rad", None)
            relative[condition(**values, object="all")].append(errors / [np.nanstd(true) for _, true in pairs])
    for where, errors in relative.items():
        add("phase_rmse_relative", "1", pd.concat(errors), where)
    return rows


def _with_unperturbed(by_condition: Mapping[str, Images]) -> dict[str, Images]:
    """The images, and under `perturbation=none` the unperturbed ones of the objects whose scans are perturbed."""
    unperturbed = {}
    for where, images in by_condition.items():
        values = parse_condition(where)
        if values.pop("perturbation", None):
            whole = by_condition[condition(**values)].image_rad[: len(images.image_rad)]
            unperturbed[condition(**values, perturbation="none")] = Images(whole, images.origins_px)
    return {**by_condition, **unperturbed}


def _areal_dose_rows(truth: Truth) -> list[dict]:
    """The electrons per area of the scans of photographs, as if their raster had no rim."""
    rows = []
    for scans in truth.scan_sets:
        where = dict(scans.where)
        if where.pop("object") == PHOTOGRAPH and not scans.perturbation:
            step_a = where.get("step_px", truth.scan_step_px) * truth.light.pixel_size_a
            rows.append(
                metric_row("zeros", "areal_dose", "e/Å²", scans.dose_e / step_a**2, condition=condition(**where))
            )
    return rows


def _recipe_rows(truth: Truth) -> list[dict]:
    """What the published network is asked to predict: the dose inside the mask, the target's variance in its mean."""
    share = forward.lit_share(truth.light.probe, truth.light.upsampling)
    mean_share = float((truth.patches_rad.mean(axis=2) ** 2).sum() / (truth.patches_rad**2).mean(axis=2).sum())
    where = condition(target="patch")
    return [
        metric_row("published", "mask_dose_fraction", "1", share, condition=where),
        metric_row(
            "published", "target_mean_variance_fraction", "1", mean_share, condition=where, n=truth.patches_rad.shape[1]
        ),
    ]


def coverage_rows(truth: Truth, predictions: Sequence[Prediction], settings: Evaluate) -> Iterator[dict]:
    """`coverage_68` of every object and `calibration_factor` of every dose, of the estimators that give a spread.

    The factor comes only from the scan `CALIBRATION` at the same dose. As for images, a network's rows that name no
    stage belong to the finetuned weights.
    """
    for prediction in predictions:
        relative_errors = {}  # by condition, one array for each scan
        for where, images in prediction.images.items():
            # In sparse scans no patches overlap, and perturbed ones violate what the calibration assumes.
            if images.spread_rad is not None and not parse_condition(where).keys() & {"step_px", "perturbation"}:
                pairs = images.beside(truth.images_rad[parse_condition(where)["object"]])
                relative_errors[where] = [
                    relative_error(*pair, spread) for pair, spread in zip(pairs, images.spread_rad, strict=True)
                ]
        for where, errors in relative_errors.items():
            values = parse_condition(where)
            calibration = {"object": CALIBRATION, "phase_std_rad": truth.scan_phase_std_rad}
            (of_calibration,) = relative_errors[condition(dose_e=values["dose_e"], **calibration)]
            factor = calibration_factor(of_calibration)
            if values["object"] == CALIBRATION:
                yield prediction.row("calibration_factor", "1", factor, where, "pretrain")
            else:
                shares = pd.Series([covered_share(scan, factor) for scan in errors])
                interval = bootstrap(shares, seed=settings.seed, resamples=settings.bootstrap_samples)
                yield prediction.row("coverage_68", "1", interval, where, "pretrain")


def relative_error(image_rad: np.ndarray, truth_rad: np.ndarray, spread_rad: np.ndarray) -> np.ndarray:
    """|error| / spread at the K pixels that have a spread, (K,); the error is mean-free over them.

    Args:
        image_rad, truth_rad, spread_rad: (h, w) rad.
    """
    valid = np.isfinite(image_rad) & np.isfinite(spread_rad)
    error = (image_rad - truth_rad).astype(np.float64)[valid]
    # A spread of zero where there is an error counts as infinitely wrong.
    return np.abs(error - error.mean()) / np.maximum(spread_rad[valid], np.finfo(np.float64).tiny)


def calibration_factor(relative: np.ndarray) -> float:
    """What the spread is multiplied by, so that `ONE_SIGMA` of the errors lie within it.

    Args:
        relative: (K,) from `relative_error`, for the calibration scan.
    """
    return float(np.quantile(relative, ONE_SIGMA))


def covered_share(relative: np.ndarray, factor: float) -> float:
    """Share of the errors (K,) of `relative_error` within `factor` spreads."""
    return float((relative <= factor).mean())

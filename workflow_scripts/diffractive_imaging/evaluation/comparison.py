"""Truth and predictions of a test file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.networks.stitching import to_object_pixels
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, ScanSet, scan_sets
from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.predictions import TRAINED_STAGES, Part, read_predictions
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays


@dataclass(frozen=True)
class Truth:
    """The truth of a test file, which no estimator reads.

    patches_rad: (S, M, K) in the K pixels of the mask for the S phases, their means not removed.
    phase_std_rad, dose_e: (S,), (D,) of the test set.
    scan_sets: the scans by object, dose and other conditions.
    images_rad: by object as conditions name it, of each of its scans (H, W) in object pixels from [0, 0].
    scan_phase_std_rad: standard deviation of the phase of photographs, dead leaves and step edge.
    scan_step_px: mean step of the scans' raster, object pixels.
    """

    light: Illumination
    patches_rad: np.ndarray
    phase_std_rad: list[float]
    dose_e: list[float]
    scan_sets: list[ScanSet]
    images_rad: Mapping[str, Sequence[np.ndarray]]
    scan_phase_std_rad: float
    scan_step_px: float

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
    arrays = read_arrays(path, ["unit_phase", "phase_std_rad", "test_dose_e", "scan_phase_std_rad", "scan_step_px"])
    mask = forward.patch_mask(light.probe)
    unit = forward.true_patch(torch.from_numpy(arrays["unit_phase"]).double())[:, mask].numpy()
    sets = scan_sets(path)
    images = {}
    for name, scans in {scans.where["object"]: scans.scans for scans in sets if scans.is_plain}.items():
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
        float(arrays["scan_step_px"]),
    )


@dataclass(frozen=True)
class Images:
    """An estimator's images of the C scans of one object, or of the first of them, under one condition.

    image_rad: (C, h, w) in object pixels, NaN where no patch lies; image i begins at pixel origins_px[i], [y, x].
    spread_rad: (C, h, w), NaN where it is unknown; None of an estimator without uncertainty.
    iterations: (C,) number of the iteration that the estimator chose; None if it does not iterate.
    misfit: (C,) `ptychography.Reconstruction.misfit`; None if the estimator holds no patterns out.
    """

    image_rad: np.ndarray
    origins_px: list[tuple[int, int]]
    spread_rad: np.ndarray | None = None
    iterations: np.ndarray | None = None
    misfit: np.ndarray | None = None

    def beside(self, truths: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each image (h, w) and the same part of its truth, of truths (H, W)."""
        return [
            (image, cut_like(truth, image, origin))
            for image, origin, truth in zip(self.image_rad, self.origins_px, truths, strict=False)
        ]


@dataclass(frozen=True)
class Prediction:
    """The predictions of one estimator at one stage.

    seed: training seed; None where nothing is trained.
    stage: pretrain or finetune; None if the estimator has a single stage.
    patches_rad: by condition, (M, K) as in `Truth.patches_rad`, mean-free; {} of an estimator of images alone.
    images: by condition.
    """

    estimator: str
    seed: int | None
    stage: str | None
    patches_rad: Mapping[str, np.ndarray]
    images: Mapping[str, Images]

    def row(self, metric: str, unit: str, value: float | Estimate, where: str, stage: str = "", n: int = 1) -> dict:
        """A row of metrics.csv.

        Args:
            metric, unit, value, n: as for `metric_row`.
            where: the condition.
            stage: the stage that the condition must name; it is added if this prediction is of that stage.
        """
        labels = {"stage": stage} if self.stage == stage else {}
        where = condition(**parse_condition(where), **labels)
        return metric_row(self.estimator, metric, unit, value, condition=where, seed=self.seed, n=n)


def predictions_of(path: Path, truth: Truth) -> Iterator[Prediction]:
    """Every stage of a file of the stage predict.

    Raises:
        InputError: the file is broken, or holds predictions for another test file.
    """
    predictions = read_predictions(path)
    n_scans = {condition(**scans.where): len(scans.scans) for scans in truth.scan_sets}
    n_scans |= dict.fromkeys(truth.patches_by_condition(), 0)
    for stage in predictions.stages:
        patches, images = {}, {}
        for part in predictions.parts:
            values = part.values
            of_truth = condition(**{key: text for key, text in values.items() if key != "fault"})
            if of_truth not in n_scans:
                raise InputError(f"{path}: the test file has no data for the condition {of_truth}; predict again")
            if part.stage == stage and "patches_rad" in part.names:
                shape = truth.patches_rad.shape[1:]
                patches[part.condition] = part.read("patches_rad", shapes={"patches_rad": shape})["patches_rad"]
            elif part.stage == stage:
                images[part.condition] = _read_images(part, n_scans[of_truth])
        yield Prediction(
            estimator=predictions.estimator,
            seed=predictions.seed if stage in TRAINED_STAGES else None,
            stage=TRAINED_STAGES[stage] if len(predictions.stages) > 1 else None,
            patches_rad=patches,
            images=images,
        )


def _read_images(part: Part, n: int) -> Images:
    shapes = {"origin_px": (n, 2), "image_rad": (n, -1, -1), "spread_rad": (n, -1, -1)}
    shapes |= {"iterations": (n,), "misfit": (n,)}
    names = [name for name in shapes if name in ("origin_px", "image_rad") or name in part.names]
    arrays = part.read(*names, shapes=shapes, finite=False)  # NaN marks what no patch covers
    origins = [tuple(origin) for origin in arrays.pop("origin_px").tolist()]
    return Images(origins_px=origins, **arrays)


def predict_zeros(truth: Truth) -> Prediction:
    """The trivial predictor: no phase anywhere."""
    patches = {where: np.zeros(true.shape) for where, true in truth.patches_by_condition().items()}
    images = {}
    for scans in truth.scan_sets:
        flat = np.zeros_like(truth.images_rad[scans.where["object"]][: len(scans.scans)])
        images[condition(**scans.where)] = Images(flat, [(0, 0)] * len(flat))
    return Prediction("zeros", None, None, patches, images)


def cut_like(truth: np.ndarray, image: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """The part of a true image (H, W) covered by an image (h, w) with this origin, NaN where the image is NaN."""
    rows, columns = (slice(start, start + side) for start, side in zip(origin, image.shape, strict=True))
    return np.where(np.isfinite(image), truth[rows, columns], np.nan)

"""Each fault alone: the corrected recipe with one of them, beside the same recipe without any.

All are trained for the same few epochs and not finetuned. A fault that only changes how an image is made is
switched on for the weights of the recipe without any. Two faults are not here: without_finetune is what the
rows of the stage pretrain show, and epoch_by_hand means the last epoch of so short a training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.diffractive_imaging.evaluation import Truth
from workflow_scripts.diffractive_imaging.perfect_patches import cut_like
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.variants import IMAGE_FAULTS
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.metrics import patch_misfit, patch_r2, phase_rmse_rad_meanfree, root_mean_square
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.files import read_arrays


@dataclass(frozen=True)
class Ablation:
    """What one fault alone makes of the test file.

    seed: of the training.
    patches_rad: (S, D, M, K), mean-free; None of a fault that leaves the patches of the test set as they are.
    images_rad: by photograph, (h, w) in object pixels at full dose, NaN where no patch lies; `origins_px` says
        where they begin.
    """

    fault: str
    seed: int
    patches_rad: np.ndarray | None
    images_rad: Mapping[str, np.ndarray]
    origins_px: Mapping[str, Sequence[int]]


def read_ablation(path: Path) -> Iterator[Ablation]:
    """Every fault of a file of `predict_ablation`."""
    about = read_arrays(path, ["seed", "scans", "faults", "patches_rad"])
    scans = about["scans"].tolist()
    for fault in about["faults"].tolist():
        found = read_arrays(path, [f"{fault}.{scan}.{kind}" for scan in scans for kind in ("image_rad", "origin_px")])
        yield Ablation(
            fault=fault,
            seed=int(about["seed"]),
            patches_rad=None if fault in IMAGE_FAULTS else about["patches_rad"],
            images_rad={scan: found[f"{fault}.{scan}.image_rad"] for scan in scans},
            origins_px={scan: found[f"{fault}.{scan}.origin_px"].tolist() for scan in scans},
        )


def metric_rows(truth: Truth, ablation: Ablation, settings: Evaluate) -> list[dict]:
    """Rows of the estimator corrected whose condition names the fault: patch R² and RMSE of the photographs."""
    resampling = {"seed": settings.seed, "resamples": settings.bootstrap_samples}
    rows = []

    def add(metric: str, unit: str, interval, **where: str | float) -> None:
        named = condition(fault=ablation.fault, **where)
        rows.append(metric_row("corrected", metric, unit, interval, condition=named, seed=ablation.seed))

    if ablation.patches_rad is not None:
        for std, true, by_dose in zip(truth.phase_std_rad, truth.patches_rad, ablation.patches_rad, strict=True):
            for dose, predicted in zip(truth.dose_e, by_dose, strict=True):
                interval = bootstrap(patch_misfit(predicted, true), patch_r2, **resampling)
                add("patch_r2", "1", interval, dose_e=dose, phase_std_rad=std)
    errors = [
        phase_rmse_rad_meanfree(image, cut_like(truth.images_rad[scan], image, ablation.origins_px[scan]))
        for scan, image in ablation.images_rad.items()
    ]
    interval = bootstrap(np.array(errors), root_mean_square, **resampling)
    where = {"object": "photograph", "dose_e": truth.light.dose_e, "phase_std_rad": truth.scan_phase_std_rad}
    add("phase_rmse_rad_meanfree", "rad", interval, **where)
    return rows

"""What an estimator loses when the experiment is not what it was told: the first photograph, perturbed."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.diffractive_imaging.evaluation import STAGES, Truth, scanned_objects
from workflow_scripts.diffractive_imaging.imaging import FINETUNED, PERTURBED_ESTIMATORS
from workflow_scripts.diffractive_imaging.perfect_patches import cut_like
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.files import read_arrays


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
            if who["estimator"] not in PERTURBED_ESTIMATORS:
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

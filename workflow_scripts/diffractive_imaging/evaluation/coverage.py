"""How often the truth lies within the calibrated standard errors of the images."""

from collections.abc import Iterator, Sequence

import numpy as np

from workflow_scripts.diffractive_imaging.evaluation.metrics import Prediction, Truth
from workflow_scripts.diffractive_imaging.networks.uncertainty import calibration_factor, covered_share, relative_error
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.diffractive_imaging.simulation.datasets import CALIBRATION
from workflow_scripts.study.bootstrap import bootstrap
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.tables import metric_row


def coverage_rows(truth: Truth, predictions: Sequence[Prediction], settings: Evaluate) -> Iterator[dict]:
    """`coverage_68` of every object and `calibration_factor` of every dose, of the estimators that give a spread.

    The factor comes from the scan `CALIBRATION` at the same dose and from nothing else. Rows of a network without a
    stage are of the finetuned weights, as those of its images are.
    """
    for prediction in predictions:
        relative = {}  # by condition, of each scan
        for where, images in prediction.images.items():
            if images.spread_rad is not None:
                pairs = images.beside(truth.images_rad[parse_condition(where)["object"]])
                relative[where] = [
                    relative_error(*pair, spread) for pair, spread in zip(pairs, images.spread_rad, strict=True)
                ]
        for where, errors in relative.items():
            values = parse_condition(where)
            calibration = {"object": CALIBRATION, "phase_std_rad": truth.scan_phase_std_rad}
            (calibrating,) = relative[condition(dose_e=values["dose_e"], **calibration)]
            factor = calibration_factor(calibrating)
            named = {"condition": condition(**values, **prediction.labels("pretrain")), "seed": prediction.seed}
            if values["object"] == CALIBRATION:
                yield metric_row(prediction.estimator, "calibration_factor", "1", factor, **named)
            else:
                shares = np.array([covered_share(scan, factor) for scan in errors])
                interval = bootstrap(shares, seed=settings.seed, resamples=settings.bootstrap_samples)
                yield metric_row(prediction.estimator, "coverage_68", "1", interval, **named)

"""Compare every estimator with the truth, and both stitchings with a known object."""

import pandas as pd

from workflow_scripts.diffractive_imaging import ablation, evaluation
from workflow_scripts.diffractive_imaging.coverage import coverage_rows
from workflow_scripts.diffractive_imaging.datasets import CALIBRATION
from workflow_scripts.diffractive_imaging.goodness_of_fit import chi_square_rows
from workflow_scripts.diffractive_imaging.sensitivity import sensitivity_rows
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.rounding import number
from workflow_scripts.study.tables import with_headline, write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays


class Arguments(Evaluate):
    """The settings of the stage."""


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics, the transfer of the stitchings by period, and the images that the figure shows.

    Raises:
        InputError: the predictions of a baseline, or of a recipe with a single fault, are missing.
    """
    test = job.input("test")
    truth = evaluation.read_truth(test)
    scans = list(truth.images_rad)
    predicted = [found for path in job.inputs["predictions"] for found in evaluation.read_predictions(path, scans)]
    missing = set(job.arguments.baselines) - {prediction.estimator for prediction in predicted}
    if missing:
        raise InputError(f"--predictions holds no file of {', '.join(sorted(missing))}, which --baselines names")
    alone = [found for path in job.inputs.get("ablated", []) for found in ablation.read_ablation(path)]
    absent = set(job.arguments.ablations) - {found.fault for found in alone}
    if absent and any(prediction.estimator == "corrected" for prediction in predicted):
        raise InputError(f"--ablated holds no file of {', '.join(sorted(absent))}, which --ablations names")
    transfers = list(evaluation.stitch_perfect_patches(truth.light, job.arguments))
    answers = [evaluation.predict_zeros(truth), *predicted]
    rows = evaluation.metric_rows(truth, answers, transfers, job.arguments)
    trust = [
        *coverage_rows(test, truth, job.inputs["predictions"], job.arguments),
        *chi_square_rows(test, truth, answers, job.arguments),
    ]
    full = {"dose_e": truth.light.dose_e, "phase_std_rad": truth.scan_phase_std_rad}
    for name in ("photograph", CALIBRATION):
        trust = with_headline(trust, condition(object=name, **full))
    rows += [*trust, *sensitivity_rows(test, truth, job.inputs["predictions"])]
    rows += [row for found in alone for row in ablation.metric_rows(truth, found, job.arguments)]
    write_metrics(rows, job.outputs["metrics"])
    table = pd.concat([transfer.table() for transfer in transfers])
    table.to_csv(job.outputs["transfer"], index=False, lineterminator="\n", float_format=number)
    write_arrays(job.outputs["images"], evaluation.example_images(test, truth, predicted))


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs={
            "test": "Test file of the stage synthesize (.npz).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={
            "metrics": "Metrics (.csv).",
            "transfer": "Transfer of both stitchings by period (.csv).",
            "images": "Example patches and stitched images (.npz).",
        },
        optional_inputs={"ablated": "Files of the stage predict, of the recipes with a single fault (.npz)."},
    ).main()

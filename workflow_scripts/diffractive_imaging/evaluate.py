"""Compare every estimator with the truth, and both stitchings with a known object."""

from dataclasses import replace

from workflow_scripts.diffractive_imaging.evaluation import metrics
from workflow_scripts.diffractive_imaging.evaluation.comparison import predict_zeros, predictions_of, read_truth
from workflow_scripts.diffractive_imaging.evaluation.examples import example_images
from workflow_scripts.diffractive_imaging.evaluation.goodness_of_fit import chi_square_rows
from workflow_scripts.diffractive_imaging.evaluation.transfer import transfer_of_stitchings
from workflow_scripts.diffractive_imaging.settings import Evaluate
from workflow_scripts.study.by_source import write_by_source
from workflow_scripts.study.conditions import parse_condition
from workflow_scripts.study.predictions import TEST_AND_PREDICTIONS
from workflow_scripts.study.rounding import number
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays


def evaluate(job: Job[Evaluate]) -> None:
    """Write the metrics, the transfer of the stitchings by period, and the images that the figure shows.

    Raises:
        InputError: the predictions of a recipe with a single fault are missing.
    """
    test, settings = job.input("test"), job.arguments
    truth = read_truth(test)
    predictions, ablated = (
        [prediction for path in job.inputs.get(name, []) for prediction in predictions_of(path, truth)]
        for name in ("predictions", "ablated")
    )
    faults = {parse_condition(where).get("fault") for prediction in ablated for where in prediction.images}
    absent = set(settings.ablations) - faults
    if absent and any(prediction.estimator == "corrected" for prediction in predictions):
        raise InputError(f"--ablated holds no file of {', '.join(sorted(absent))}, which --ablations names")
    # The fault is in their conditions, so all of them can go by the name of the arm.
    ablated = [replace(prediction, estimator="corrected") for prediction in ablated]
    predictions = [predict_zeros(truth), *predictions]
    transfer_rows, transfer_table = transfer_of_stitchings(truth.light, settings)
    rows = [
        *transfer_rows,
        *metrics.metric_rows(truth, [*predictions, *ablated], settings),
        *metrics.coverage_rows(truth, predictions, settings),
        *chi_square_rows(test, truth, predictions, settings),
    ]
    rows = metrics.with_headlines(rows, truth)
    write_metrics(rows, job.outputs["metrics"])
    write_by_source(rows, job.outputs["by_source"])
    transfer_table.to_csv(job.outputs["transfer"], index=False, lineterminator="\n", float_format=number)
    write_arrays(job.outputs["examples"], example_images(test, truth, predictions[1:]))


if __name__ == "__main__":
    Command(
        evaluate,
        Evaluate,
        inputs=TEST_AND_PREDICTIONS,
        outputs={
            "metrics": "Metrics (.csv).",
            "by_source": "What every source contributes to them (.csv).",
            "transfer": "Transfer of both stitchings by period (.csv).",
            "examples": "Example patches and stitched images (.npz).",
        },
        optional_inputs={"ablated": "Files of the stage predict, of the recipes with a single fault (.npz)."},
    ).main()

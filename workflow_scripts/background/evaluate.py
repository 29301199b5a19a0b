"""Compare every estimator's flat fields with the truth, tile by tile."""

from itertools import chain

from workflow_scripts.background.evaluation import scores
from workflow_scripts.background.evaluation.examples import example_images
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.background.simulation.tile_files import read_tiles
from workflow_scripts.study.by_source import write_by_source
from workflow_scripts.study.predictions import TEST_AND_PREDICTIONS
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


def evaluate(job: Job[Evaluate]) -> None:
    """Write the metrics and the images that the figure shows.

    Raises:
        InputError: predictions are damaged, duplicated, or lack the headline of an estimator.
    """
    tiles, paths = read_tiles(job.input("test")), job.inputs["predictions"]
    predictions = chain([scores.zeros(tiles)], *(scores.predictions_of(path, tiles) for path in paths))
    table = scores.tile_metrics(predictions, tiles)
    scores.check_complete(table)
    rows = scores.metric_rows(table, job.arguments)
    write_metrics(rows, job.outputs["metrics"])
    write_by_source(rows, job.outputs["by_source"])
    write_arrays(job.outputs["examples"], example_images(tiles, paths))


if __name__ == "__main__":
    Command(
        evaluate,
        Evaluate,
        inputs=TEST_AND_PREDICTIONS,
        outputs={
            "metrics": "Metrics (.csv).",
            "by_source": "What every session contributes to them (.csv).",
            "examples": "Example images (.npz).",
        },
    ).main()

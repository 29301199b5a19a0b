"""Compare every estimator's flat fields with the truth, tile by tile."""

from itertools import chain

from workflow_scripts.background import evaluation
from workflow_scripts.background.examples import example_images
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.background.tile_files import read_tiles
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


class Arguments(Evaluate):
    """The settings of the stage."""


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics and the images that the figure shows.

    Raises:
        InputError: the predictions of a baseline, of a headline or over numbers of steps are missing.
    """
    settings = job.arguments
    tiles = read_tiles(job.input("test"))
    paths = job.inputs["predictions"]
    answers = chain([evaluation.zeros(tiles)], *(evaluation.read_answers(path, tiles) for path in paths))
    scores = evaluation.tile_metrics(answers, tiles)
    curves = [curve for path in paths if (curve := evaluation.read_curve(path, tiles))]
    evaluation.check_complete(scores, curves, settings)
    write_metrics(evaluation.metric_rows(scores, curves, settings), job.outputs["metrics"])
    write_arrays(job.outputs["examples"], example_images(tiles, paths))


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs={
            "test": "Test file of the stage synthesize (.npz).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={"metrics": "Metrics (.csv).", "examples": "Example images (.npz)."},
    ).main()

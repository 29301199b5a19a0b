"""Compare every estimator's answers with the truth, query by query."""

from pydantic import Field

from workflow_scripts.matching import evaluation, examples
from workflow_scripts.matching.pattern_files import read_queries
from workflow_scripts.matching.settings import Evaluate
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


class Arguments(Evaluate):
    """The settings of the stage, and the camera."""

    pixel_size_per_a: float = Field(gt=0, le=1, description="Side of a detector pixel, 1/Å.")


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics, and what the figure shows besides them.

    Raises:
        InputError: the files do not belong together, or an estimator, an arm or the headline is missing.
    """
    settings = job.arguments
    queries = read_queries(job.input("test"))
    paths = [*job.inputs["predictions"], *job.inputs.get("ablated", [])]
    answers = [answer for path in paths for answer in evaluation.read_answers(path, queries)]
    table = evaluation.judged(answers, queries, settings)
    evaluation.check_complete(table, settings)
    write_metrics(evaluation.metric_rows(table, queries, settings), job.outputs["metrics"])
    shown = examples.gathered(table, answers, queries, settings, settings.pixel_size_per_a)
    write_arrays(job.outputs["examples"], shown)


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs={
            "test": "Test file of the stage synthesize (.npz).",
            "predictions": "Files of the stage predict, one for each estimator and seed (.npz).",
        },
        outputs={"metrics": "Metrics (.csv).", "examples": "What the figure shows besides them (.npz)."},
        optional_inputs={"ablated": "Files of the stage predict, of the arms of the ablation (.npz)."},
    ).main()

"""Compare every estimator's predictions with the truth, query by query."""

import numpy as np
import torch
from pydantic import Field

from workflow_scripts.matching.evaluation import examples, statistics
from workflow_scripts.matching.settings import Evaluate
from workflow_scripts.matching.simulation import cells
from workflow_scripts.matching.simulation.orientations import nearest_direction
from workflow_scripts.matching.simulation.pattern_files import Queries, read_queries
from workflow_scripts.study.by_source import write_by_source
from workflow_scripts.study.predictions import TEST_AND_PREDICTIONS
from workflow_scripts.study.tables import write_metrics
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import write_arrays


class Arguments(Evaluate):
    """The settings of the stage, the camera and the cells of beam directions."""

    pixel_size_per_a: float = Field(gt=0, le=1, description="Side of a detector pixel, 1/Å.")
    cells: int = Field(ge=8, description="Cells of beam directions; every fifth tests.")


def evaluate(job: Job[Arguments]) -> None:
    """Write the metrics, and the other arrays that the figure needs.

    Raises:
        InputError: the files do not belong together, or an arm of the ablation or the headline is missing.
    """
    settings = job.arguments
    queries = read_queries(job.input("test"))
    paths = [*job.inputs["predictions"], *job.inputs.get("ablated", [])]
    predictions = [stage for path in paths for stage in statistics.read_stages(path, queries)]
    table = statistics.query_metrics(predictions, queries, settings, cell_of(queries, settings.cells))
    statistics.check_complete(table, settings)
    rows = statistics.metric_rows(table, queries, settings)
    write_metrics(rows, job.outputs["metrics"])
    write_by_source(rows, job.outputs["by_source"])
    arrays = examples.example_arrays(table, predictions, queries, settings, settings.pixel_size_per_a)
    write_arrays(job.outputs["examples"], arrays)


def cell_of(queries: Queries, number: int) -> np.ndarray:
    """For every query (Q,) the index of the tested cell whose middle is nearest to its beam direction."""
    middles = cells.tested_middles(number, torch.from_numpy(queries.symmetry))
    return nearest_direction(queries.rotation[:, 2], middles.numpy(), queries.symmetry)[1]


if __name__ == "__main__":
    Command(
        evaluate,
        Arguments,
        inputs=TEST_AND_PREDICTIONS,
        outputs={
            "metrics": "Metrics (.csv).",
            "by_source": "What every cell of directions contributes to them (.csv).",
            "examples": "Examples and curves for the figure (.npz).",
        },
        optional_inputs={"ablated": "Files of the stage predict, of the arms of the ablation (.npz)."},
    ).main()

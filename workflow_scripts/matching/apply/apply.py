"""Orientations of the user's patterns, by the corrected arm's network and, for comparison, polar template matching."""

import torch
from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.matching.apply.data import Layout, UserPatterns
from workflow_scripts.matching.apply.output import Orientations, example_rows, quality, write_picture, write_table
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.apply.templates import background_score, templates
from workflow_scripts.matching.estimators.network import NetworkEstimator
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.model import load_matcher
from workflow_scripts.matching.networks.retrieval import Estimator, predict_batches
from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json, write_arrays, write_json
from workflow_scripts.workflow.settings import Compute

RECOMMENDED, COMPARISON = "corrected", "polar_template"


class Arguments(Apply, Compute):
    """The entry of the configuration, the study's settings that it needs, and the device."""

    name: str = Field(description="Name of the patterns in the configuration.")
    diffraction: DiffractionSettings = Field(description="Settings of the study: the grid, and defaults of the entry.")
    observation: ObservationSettings = Field(description="Settings of the study, for backgrounds without a crystal.")
    batch_size: int = Field(ge=1, description="Patterns that are handled at once.")
    seed: int = Field(ge=0, description="Seed of the simulated backgrounds.")


def apply(job: Job[Arguments]) -> None:
    """Write table, rotations and picture, and a report on their quality."""
    arguments = job.arguments
    report = read_json(job.input("report"))
    layout = Layout(**report["layout"])
    patterns = UserPatterns(arguments, job.inputs["pattern_files"], layout, arguments.diffraction.side_px)
    matcher, pairs = load_matcher(job.input("weights")), read_pairs(job.inputs["shard"])
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        calculated = templates(arguments, load(arguments.crystal), layout, arguments.diffraction, device)
        predictions, thresholds = {}, {}
        estimators: dict[str, Estimator] = {
            RECOMMENDED: NetworkEstimator(matcher, calculated.patterns, device, arguments.precision),
            COMPARISON: PolarTemplates.tuned(calculated.patterns, pairs.to(device), device),
        }
        for name, estimator in estimators.items():
            batches = (batch for part in patterns.batches() for batch in part.split(arguments.batch_size))
            predictions[name] = predict_batches(batches, estimator, calculated.gallery, arguments.candidates)
            thresholds[name] = background_score(
                estimator, calculated, arguments.observation, layout.electrons, arguments.seed
            )
    if arguments.not_indexed_below is not None:
        thresholds[RECOMMENDED] = arguments.not_indexed_below
    best = predictions[RECOMMENDED]
    rotation, score, symmetry = best.rotation.numpy(), best.score.numpy(), calculated.symmetry
    orientations = Orientations(rotation, score, thresholds[RECOMMENDED], layout.scan, symmetry)
    write_table(job.outputs["table"], orientations)
    write_arrays(job.outputs["rotations"], {"rotation": rotation, "score": score, "symmetry": symmetry})
    rows = example_rows(score[:, 0])
    matches = calculated.simulator.patterns(torch.from_numpy(rotation[rows, 0]).double()).cpu().numpy()
    write_picture(job.outputs["png"], patterns.select(rows).numpy(), matches, orientations)
    agreement = quality(predictions, thresholds, symmetry)
    write_json(job.outputs["quality"], {"name": arguments.name, **report, "quality": agreement})


if __name__ == "__main__":
    Command(
        apply,
        Arguments,
        inputs={
            "pattern_files": "The scan (.npy, .h5), or the images in the order of their names.",
            "report": "The report on them (.json).",
            "weights": "Weights of the stage finetune, corrected arm (.safetensors).",
            "shard": "Training pairs, which tune the template matcher (.npz).",
        },
        outputs={
            "table": "The orientations, a row for each candidate (.csv).",
            "rotations": "The same as rotation matrices (.npz).",
            "png": "Patterns and their best matches; of a scan the map (.png).",
            "quality": "The report on the patterns and on their orientations (.json).",
        },
        optional_inputs={"crystal_file": "The crystal (.cif, .cube), where one is named."},
    ).main()

"""Orientations of the user's patterns, by the corrected arm's network and by polar template matching beside it."""

import torch
from pydantic import Field

from workflow_scripts.learning.devices import leased_device
from workflow_scripts.matching.apply.data import Layout, batches, chosen
from workflow_scripts.matching.apply.output import example_rows, write_picture, write_table
from workflow_scripts.matching.apply.settings import Apply
from workflow_scripts.matching.apply.templates import background_score, quality, templates
from workflow_scripts.matching.estimators.network import trained_estimator
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.model import load_matcher
from workflow_scripts.matching.networks.retrieval import answer
from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.datasets import ranges_of
from workflow_scripts.matching.simulation.pattern_files import read_pairs
from workflow_scripts.matching.variants import VARIANTS
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import read_json, write_arrays, write_json
from workflow_scripts.workflow.settings import Compute

FIRST, BESIDE = "corrected", "polar_template"


class Arguments(Apply, Compute):
    """The entry of the configuration, the study's settings that it needs, and on what it runs."""

    name: str = Field(description="Name of the patterns in the configuration.")
    diffraction: DiffractionSettings = Field(description="The study's, for the grid and what the entry leaves open.")
    observation: ObservationSettings = Field(description="The study's, for backgrounds without a crystal.")
    batch_size: int = Field(ge=1, description="Patterns that are handled at once.")
    seed: int = Field(ge=0, description="Seed of those backgrounds.")


def apply(job: Job[Arguments]) -> None:
    """Write table, rotations and picture, and a report on their quality."""
    arguments, paths = job.arguments, job.inputs["pattern_files"]
    report = read_json(job.input("report"))
    recorded = Layout.of(report["layout"])
    own = arguments, paths, recorded, arguments.diffraction.side_px
    with leased_device(arguments.gpus) as device:
        job.device = str(device)
        made = templates(arguments, load(arguments.crystal), recorded, arguments.diffraction, device)
        matcher, variant = load_matcher(job.input("weights")), VARIANTS[FIRST]
        estimators = {
            FIRST: trained_estimator(matcher, variant, True, made.patterns, device, arguments.precision),
            BESIDE: PolarTemplates.tuned(made.patterns, read_pairs(job.inputs["shard"]), device),
        }
        answers = {}
        for name, estimator in estimators.items():
            patterns = (batch for part in batches(*own) for batch in part.split(arguments.batch_size))
            answers[name] = answer(patterns, estimator, made.gallery(device), arguments.candidates)
        null = made, ranges_of(arguments.observation), recorded.electrons, arguments.seed
        below = {name: background_score(estimator, *null) for name, estimator in estimators.items()}
    if arguments.not_indexed_below is not None:
        below[FIRST] = arguments.not_indexed_below
    rotation, score, symmetry = answers[FIRST].rotation.numpy(), answers[FIRST].score.numpy(), made.symmetry.numpy()
    threshold, scan = below[FIRST], recorded.scan
    write_table(job.outputs["table"], rotation, score, threshold, scan, symmetry)
    write_arrays(job.outputs["rotations"], {"rotation": rotation, "score": score, "symmetry": symmetry})
    shown = example_rows(score[:, 0])
    matches = made.simulator.patterns(torch.from_numpy(rotation[shown, 0]).double()).cpu().numpy()
    pictures = chosen(*own, shown).numpy(), matches
    write_picture(job.outputs["png"], *pictures, rotation[:, 0], score[:, 0], threshold, scan, symmetry)
    write_json(job.outputs["quality"], {"name": arguments.name, **report, "quality": quality(answers, below, made)})


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
            "table": "The orientations, one row an answer (.csv).",
            "rotations": "The same as rotation matrices (.npz).",
            "png": "Patterns and their best matches; of a scan the map (.png).",
            "quality": "The report on the patterns, and on the answers (.json).",
        },
        optional_inputs={"crystal_file": "The crystal (.cif), where one is named."},
    ).main()

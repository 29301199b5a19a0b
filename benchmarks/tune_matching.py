"""Settings of the refit of `matching`, compared on training patterns; each is changed alone.

    python -m benchmarks.tune_matching --results results/laptop [--queries 60] [--dose-e 300]

Prints for every choice how many patterns are right at the first answer and among five, and the CPU time. The patterns
are those of the last training file, whose recordings the prior of the refit is not taken from.
"""

import argparse
import time
from pathlib import Path

import torch

from workflow_scripts.matching.estimators import refit
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.retrieval import Gallery, predict_batches
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.reference import merged

GRID = {
    "mosaic_deg": (0.15, 0.4),
    "reflections": (40,),
    "candidates": (30,),
    "thickness_spread": (0.1, 0.4),
}


def main() -> None:
    """Print a line for the settings of the scale, and one for every change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/laptop"))
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--dose-e", type=float, default=300.0)
    arguments = parser.parse_args()
    settings = merged(arguments.results.name)["matching"]
    *others, last = sorted((arguments.results / "matching/synthesize/train").glob("shard*.npz"))
    pairs, known = read_pairs([last]), read_pairs(others)
    crystal = load(settings["synthesize"]["crystal"])
    simulator, symmetry = Simulator(crystal, pairs.diffraction), laue_rotations(crystal)
    rows = torch.arange(arguments.queries)
    expected = pairs.render(rows)[1]
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(arguments.dose_e * (expected.spots + expected.background), generator=generator)
    directions = from_direction(gallery_directions(settings["predict"]["refit"]["directions"], symmetry))
    calculated = simulator.patterns(directions)
    gallery = Gallery.of(directions.numpy(), symmetry.numpy(), torch.device("cpu"))
    found = predict_batches(counts.split(10), PolarTemplates.tuned(calculated, known, counts.device), gallery, 60)
    for change in [{}, *({key: value} for key, values in GRID.items() for value in values)]:
        options = refit.RefitSettings(**settings["predict"]["refit"] | change)
        fitter = refit.Refit(simulator, refit.Prior.of(known, options.thickness_spread), options)
        start = time.process_time()
        best = refit.refitted(fitter, counts, found.first(options.candidates), gallery, 15).rotation
        seconds = (time.process_time() - start) / len(rows)
        away_deg = misorientation_deg(best.double().numpy(), pairs.rotation[rows].numpy(), symmetry.numpy())
        right = away_deg <= 3
        shares = f"first {right[:, 0].mean():.3f}, five {right[:, :5].any(axis=1).mean():.3f}"
        print(f"{change or 'as set'}: {shares}, {seconds:.3f} CPU s a pattern", flush=True)


if __name__ == "__main__":
    main()

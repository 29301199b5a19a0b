"""Choose the settings of the classical estimators of alignment on random particles of the training's generator.

    python -m benchmarks.tune_alignment

The particles appear in no training or test file. docs/alignment.md has the grid and the result.
"""

import time

import numpy as np
import torch

from workflow_scripts.alignment.estimators.cartesian_pairwise import CartesianAligner
from workflow_scripts.alignment.estimators.em_joint import EmAligner
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg
from workflow_scripts.alignment.settings import Predict, Synthesize
from workflow_scripts.alignment.simulation.analytic import random_particle
from workflow_scripts.alignment.simulation.imaging import Simulator, contrast_transfer
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

SEEDS = [5 * 10**11 + number for number in range(2)]
NOISE = [("white", 0.02), ("coloured", 0.5)]
IMAGES = 200
PAIRWISE = [{}, {"information_share": 0.9}, {"information_share": 0.97}, {"step_deg": 3.0}]
JOINT = [{}, {"search_rings": (15, 19, 19)}, {"starts": 1}, {"refine_rings": (28, 40)}]


def main() -> None:
    """Print mean errors over 360° of all settings, for every kind of noise, and CPU seconds a stack."""
    laptop = merged("laptop")["alignment"]
    settings, options = check(Synthesize, laptop["synthesize"]), check(Predict, laptop["predict"])
    changes = [(CartesianAligner, options.cartesian_pairwise, change) for change in PAIRWISE]
    changes += [(EmAligner, options.em_joint, change) for change in JOINT]
    errors = {index: [] for index in range(len(changes))}
    for noise, snr in NOISE:
        for seed in SEEDS:
            particle = random_particle(seed, settings.box_px, settings.pixel_size_a)
            generator = torch.Generator().manual_seed(seed)
            simulator = Simulator([particle], settings.microscope, snr, noise)
            poses = simulator.draw_poses(IMAGES, generator, settings.largest_shift_px, whole_px=False)
            images, true_deg = simulator.draw(poses, generator), poses.angle_deg.numpy()
            transfer = contrast_transfer(settings.microscope, simulator.n, particle.pixel_size_a, poses.defocus_a)
            for index, (aligner, section, change) in enumerate(changes):
                start = time.process_time()
                arrays = aligner(section.model_copy(update=change)).predict(images, transfer)
                pairs = aligner is CartesianAligner
                estimate_deg = arrays["pair_whole_deg" if pairs else "angle_deg"]
                reference_deg = true_deg[:-1] - true_deg[1:] if pairs else true_deg
                error = rotation_error_deg(estimate_deg, reference_deg, relative=pairs).mean()
                errors[index].append((error, time.process_time() - start))
    for index, (aligner, _, change) in enumerate(changes):
        error, seconds = np.array(errors[index]).T
        by_noise = " ".join(f"{value:8.3f}" for value in error.reshape(len(NOISE), -1).mean(axis=1))
        print(f"{aligner.__name__:18}{by_noise}{seconds.mean():7.2f} s  {change or 'as set'}", flush=True)


if __name__ == "__main__":
    main()

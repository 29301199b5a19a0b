"""Constants of the classical estimators of diffractive imaging, on objects for validation: RMSE in rad by value.

    python -m benchmarks.tune_diffractive_imaging

For the Wiener filter of DPC the grid is its error of the model; for ptychography it is what multiplies the power of the
1/f prior that the patterns give. The objects are the validation photographs, dead leaves, 1/f noise and a lattice.
"""

import sys

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.estimators import dpc, ptychography
from workflow_scripts.diffractive_imaging.evaluation.transfer import beside_truth
from workflow_scripts.diffractive_imaging.settings import Predict, Synthesize
from workflow_scripts.diffractive_imaging.simulation import datasets, forward, objects, photographs, sources
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

POINTS, SEED = 48, 0
MODEL_ERRORS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
PRIOR_FACTORS = (0.5, 1.0, 2.0, 4.0, 1e9)  # the last is no prior


def shapes(side: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Objects (side, side) in rad, by name."""
    y, x = np.mgrid[:side, :side]
    lattice = np.exp(np.cos(0.86 * (0.94 * x + 0.34 * y)) + np.cos(0.86 * (0.94 * y - 0.34 * x)))
    found = {"dead leaves": 0.5 * objects.dead_leaves(1, side, rng)[0]}
    found |= {f"1/f, {std} rad": std * objects.power_law_noise(1, side, rng)[0] for std in (0.5, 0.05)}
    for path in sources.photographs(None, "validation"):
        picture = photographs.read_grey(path, minimum_px=1)
        found[path.name] = 0.5 * objects.large_photograph(path.name, picture, side)
    return found | {"lattice, 0.04 rad": 0.04 * objects.standardise(lattice)}


def main() -> int:
    laptop = merged("laptop")["diffractive_imaging"]
    synthesize, predict = check(Synthesize, laptop["synthesize"]), check(Predict, laptop["predict"])
    light = datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    rng = np.random.default_rng(SEED)
    positions, side = datasets.raster(POINTS, 0.87, 0.1, light.n / 2 + 2, rng)
    power = ptychography.one_over_f_power
    for name, shape in shapes(side, rng).items():
        fine = torch.from_numpy(objects.refine(shape, forward.UPSAMPLING))
        for dose in synthesize.test_dose_e:
            generator = torch.Generator().manual_seed(SEED)
            counts = forward.simulate_scan(light.probe, fine, positions, dose, generator).float()
            errors = []
            for dpc.MODEL_ERROR in MODEL_ERRORS:
                errors.append((f"dpc {dpc.MODEL_ERROR:g}", dpc.reconstruct(counts, positions, light)))
            for factor in PRIOR_FACTORS:
                ptychography.one_over_f_power = lambda *scan, factor=factor: factor * power(*scan)
                arguments = counts, positions, light, dose, predict.ptychography, SEED, torch.device("cpu")
                errors.append((f"prior × {factor:g}", ptychography.reconstruct(*arguments).image))
            by_value = (f"{what}: {phase_rmse_rad_meanfree(*beside_truth(image, fine)):.4f}" for what, image in errors)
            print(f"{name}, {dose:g} e⁻  ", "  ".join(by_value), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Choose the constants of the potential's classical estimators on training orientations that do not fit.

    python -m benchmarks.tune_potential results/laptop/potential/synthesize/train/shard*.npz

Prints, for the recipe's ring at 1e5 electrons per Å², the validation error of iCOM by width of its bands, and what a
lattice average of ridge gains by largest frequency, penalty and width of the window. No test file is read.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np

from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.estimators import icom, ridge
from workflow_scripts.potential.evaluation import lattice
from workflow_scripts.potential.evaluation.metrics import TrueImage, compare
from workflow_scripts.potential.settings import BUILT_IN
from workflow_scripts.potential.simulation.counting import measured_shares
from workflow_scripts.potential.simulation.estimation import TrainingFiles
from workflow_scripts.potential.simulation.samples import RING, joined
from workflow_scripts.potential.simulation.thickness import SumsByThickness

DOSE = 1e5
HELD_OUT = BUILT_IN[0]
KERNEL_PX = (9, 13, 17, 21)


def main() -> None:
    samples = joined(list(TrainingFiles([Path(name) for name in sys.argv[1:]], HELD_OUT).filled()))
    validates = np.zeros(len(samples), bool)
    for material in np.unique(samples.material):  # the second orientation, as in `SumsByThickness`
        validates |= samples.specimen == np.unique(samples.specimen[samples.material == material])[1]
    fit, validation = samples.rows(~validates), samples.rows(validates)
    shares = measured_shares(samples, RING, DOSE, seed=1)
    for icom.BAND_PER_A in (0.02, 0.04, 0.06, 0.12, 0.24):
        sums = SumsByThickness(icom.image_sums([shares], [samples], RING), "icom")
        print(f"icom, bands of {icom.BAND_PER_A:g} per Å: error {min(icom.validation_errors(sums).values()):.4g}")

    electrons = DOSE * samples.microscope.pixel_size_a**2
    equations = ridge.NormalEquations([fit], RING, KERNEL_PX)
    choice = equations.choose(electrons)
    predicted = [
        ridge.apply(equations.solve(electrons, t, choice), share[None], np.array([t]))[0]
        for share, t in zip(shares[validates], validation.thickness_nm, strict=True)
    ]
    scope = samples.microscope
    limit_per_a = 2e-3 * scope.semiangle_mrad / wavelength_a(scope.voltage_kv)
    truths = [TrueImage.of(potential, scope.pixel_size_a, limit_per_a) for potential in validation.potential]
    lattices = list(zip(validation.cell_a, validation.rotation_deg[:, 0], strict=True))
    for lattice.LIMIT_PER_A, lattice.PENALTY, lattice.WINDOW_SHARE in (
        *product((1.6, 2.0, 2.5), (0.003, 0.01, 0.03, 0.1, 0.3), (0.2,)),
        *((2.0, 0.03, share) for share in (0.12, 0.16, 0.25, 0.3)),
    ):
        averages = [
            lattice.lattice_average(v, *known, scope.pixel_size_a) for v, known in zip(predicted, lattices, strict=True)
        ]
        scores = [[*compare(a, t).values()][2:5] for a, t in zip(averages, truths, strict=True)]
        mae, pearson, detail = np.mean(scores, axis=0)
        print(
            f"lattice, up to {lattice.LIMIT_PER_A:g} per Å, penalty {lattice.PENALTY:g}, window"
            f" {lattice.WINDOW_SHARE:g}: Pearson {pearson:.4f}, detail {detail:.4f}, MAE {mae:.0f} V Å"
        )


if __name__ == "__main__":
    main()

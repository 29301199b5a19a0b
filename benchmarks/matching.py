"""Time matching: queries per second against galleries of 2,000 and 20,000 beam directions, compared with pyxem.

    python -m benchmarks.matching
    python -m benchmarks.matching --weights results/laptop/matching/finetune/corrected/seed0/weights.safetensors
    python -m benchmarks.matching --device cuda --queries 1000

Polyethylene at 300 electrons in the spots. A query takes encoding, comparison with every direction at every in-plane
angle, and the best answers; the gallery is made before. Of 20,000 directions the templates of the cross-correlation do
not fit the memory: those of 2,000 are searched ten times.

Where pyxem is installed it searches the same patterns among the same directions on the CPU: its polar transform and
its template matching, with its default share of templates that it correlates in full, and with all of them; every
template is tried mirrored, too. It computes with dask and numba: to compare one thread, set OMP_NUM_THREADS and
NUMBA_NUM_THREADS to 1. Run with pyxem 0.21.
"""

import argparse
import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from workflow_scripts.matching.estimators.ncc import CrossCorrelation
from workflow_scripts.matching.estimators.network import NetworkEstimator
from workflow_scripts.matching.estimators.polar_template import ANGLES, RINGS, PolarTemplates
from workflow_scripts.matching.networks.model import load_matcher, make_matcher
from workflow_scripts.matching.networks.retrieval import Estimator, Gallery, predict_batches
from workflow_scripts.matching.settings import VARIANTS, NetworkSettings, Synthesize
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.observed import counts, draw, expected
from workflow_scripts.matching.simulation.orientations import from_direction, gallery_directions, random_rotations
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

GALLERIES = 2000, 20000
_DOSE_E, _BATCH, _CANDIDATES = 300.0, 50, 15
_GAMMA = 0.5
_NCC_AT_MOST = 2000  # its templates at every angle need 0.3 MB a direction


def timed(make: Callable[[], object]) -> float:
    """Wall seconds of a run after one that warms up."""
    make()
    start = time.perf_counter()
    make()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Print queries per second of every estimator, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--weights", type=Path, help="of the corrected arm; without them an untrained network is timed")
    options = parser.parse_args()
    device = torch.device(options.device)
    laptop = merged("laptop")["matching"]
    settings = check(Synthesize, laptop["synthesize"])
    crystal = load(settings.crystal)
    simulator = Simulator(crystal, settings.diffraction, device)
    symmetry = laue_rotations(crystal)
    generator = torch.Generator().manual_seed(0)
    observation = draw(settings.observation, simulator.diffraction, options.queries, generator)
    seen = expected(simulator, random_rotations(options.queries, generator), observation)
    queries = counts(seen.spots.cpu(), seen.background.cpu(), _DOSE_E, _DOSE_E, generator).to(device)
    if options.weights:
        matcher = load_matcher(options.weights)
    else:
        matcher = make_matcher(check(NetworkSettings, laptop["pretrain"]["network"]), VARIANTS["corrected"], 0)

    threads = torch.get_num_threads()
    print(f"{options.queries} queries of {settings.diffraction.side_px} px, {device}, {threads} threads")
    for size in GALLERIES:
        rotation = from_direction(gallery_directions(size, symmetry))
        seconds = timed(lambda turns=rotation: simulator.patterns(turns))
        print(f"gallery of {size}: {size / seconds:,.0f} patterns/s to make")
        patterns = simulator.patterns(rotation)
        gallery = Gallery.of(rotation.numpy(), symmetry.numpy(), device)
        estimators = {
            "corrected": NetworkEstimator(matcher, patterns, device, "float32"),
            "polar_template": PolarTemplates.of(patterns, _GAMMA, 0.5),
            "ncc": Repeated(CrossCorrelation.of(patterns[:_NCC_AT_MOST], _GAMMA), -(-size // _NCC_AT_MOST)),
        }
        speed = {}
        with torch.inference_mode():
            for name, estimator in estimators.items():
                seconds = timed(
                    functools.partial(predict_batches, queries.split(_BATCH), estimator, gallery, _CANDIDATES)
                )
                speed[name] = options.queries / seconds
        if importlib.util.find_spec("pyxem"):
            speed |= pyxem_rates(simulator, rotation, queries)
        for name, rate in speed.items():
            ratio = rate / speed["polar_template"]
            print(f"  {name:20}{rate:10,.0f} queries/s{1000 / rate:9.1f} ms a query{ratio:8.2f} × polar_template")
    if importlib.util.find_spec("pyxem") is None:
        print("pyxem is not installed: no comparison with its template matching")
    return 0


@dataclass(frozen=True)
class Repeated:
    """An estimator of a part of the gallery, asked as often as the whole gallery needs."""

    estimator: Estimator
    times: int

    def curves(self, counts: torch.Tensor) -> torch.Tensor:
        """As `Estimator`."""
        if self.times == 1:
            return self.estimator.curves(counts)
        return torch.cat([self.estimator.curves(counts) for _ in range(self.times)], dim=1)


def pyxem_rates(simulator: Simulator, rotation: torch.Tensor, queries: torch.Tensor) -> dict[str, float]:
    """Queries per second of pyxem, by the share of the templates that it correlates in full."""
    import dask
    from diffpy.structure import Atom, Lattice, Structure
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.crystal_map import Phase
    from orix.quaternion import Rotation
    from pyxem.signals import ElectronDiffraction2D

    crystal, light = simulator.crystal, simulator.diffraction
    atoms = [
        Atom(symbol, place, occupancy=share)
        for symbol, place, share in zip(crystal.symbols, crystal.fractional, crystal.occupancy, strict=True)
    ]
    phase = Phase(name=crystal.name, space_group=1, structure=Structure(atoms, Lattice(base=crystal.lattice_a)))
    rim_per_a = light.centre_px * light.pixel_size_per_a
    simulation = SimulationGenerator(accelerating_voltage=light.voltage_kv).calculate_diffraction2d(
        phase,
        rotation=Rotation.from_matrix(rotation.numpy()),
        reciprocal_radius=rim_per_a,
        max_excitation_error=1 / (10 * light.thickness_nm),
        with_direct_beam=False,
    )

    def search(share: float, counts: torch.Tensor) -> float:
        signal = ElectronDiffraction2D(counts.cpu().numpy())
        signal.calibration.center = None  # the middle
        signal.calibration.scale = light.pixel_size_per_a
        start = time.perf_counter()
        polar = signal.get_azimuthal_integral2d(
            npt=RINGS, npt_azim=ANGLES, radial_range=(0.0, rim_per_a), show_progressbar=False
        )
        (polar**_GAMMA).get_orientation(simulation, frac_keep=share, n_best=5, show_progressbar=False)
        return len(counts) / (time.perf_counter() - start)

    found = {}
    with dask.config.set(scheduler="threads", num_workers=torch.get_num_threads()):
        for share in (0.1, 1.0):
            search(share, queries)  # warms up
            found[f"pyxem, {share:.0%} in full"] = search(share, queries)
    return found


if __name__ == "__main__":
    sys.exit(main())

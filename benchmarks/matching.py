"""Time matching: queries per second against galleries of 2,000 and 20,000 beam directions, and pyxem's beside it.

    python -m benchmarks.matching
    python -m benchmarks.matching --weights results/laptop/matching/finetune/corrected/seed0/weights.safetensors
    python -m benchmarks.matching --device cuda --queries 1000

Polyethylene at 300 electrons in the spots. A query takes encoding, comparison with every direction at every in-plane
angle, and the best answers; the gallery is made before. pyxem's template matching is timed where it is installed.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from workflow_scripts.matching.crystals import load
from workflow_scripts.matching.datasets import diffraction_of, ranges_of
from workflow_scripts.matching.kinematic import Simulator
from workflow_scripts.matching.model import load_matcher, make_matcher
from workflow_scripts.matching.network_estimator import AngularEstimator
from workflow_scripts.matching.observed import counts, draw, expected
from workflow_scripts.matching.orientations import from_direction, gallery_directions, random_rotations
from workflow_scripts.matching.retrieval import Gallery, best_answers
from workflow_scripts.matching.settings import NetworkSettings, Synthesize
from workflow_scripts.matching.structure_factors import laue_rotations
from workflow_scripts.matching.template_matching import CrossCorrelation, PolarTemplates
from workflow_scripts.matching.variants import VARIANTS
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

GALLERIES = 2000, 20000
_DOSE_E, _BATCH = 300.0, 50
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
    simulator = Simulator(crystal, diffraction_of(settings.diffraction), device)
    symmetry = laue_rotations(crystal)
    generator = torch.Generator().manual_seed(0)
    observation = draw(ranges_of(settings.observation), simulator.diffraction, options.queries, generator)
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
            "corrected": AngularEstimator(matcher, patterns, device, "float32"),
            "polar_template": PolarTemplates.of(patterns, 0.5, 0.5),
        }
        if size <= _NCC_AT_MOST:
            estimators["ncc"] = CrossCorrelation.of(patterns, 0.5)
        speed = {}
        with torch.inference_mode():
            for name, estimator in estimators.items():
                batch = _BATCH if size <= _NCC_AT_MOST else _BATCH // 10
                seconds = timed(
                    lambda one=estimator, rows=batch, frames=gallery: [
                        best_answers(one.curves(part), frames, 15) for part in queries.split(rows)
                    ]
                )
                speed[name] = options.queries / seconds
        for name, rate in speed.items():
            ratio = rate / speed["polar_template"]
            print(f"  {name:16}{rate:10,.0f} queries/s{1000 / rate:9.1f} ms a query{ratio:8.2f} × polar_template")
    if importlib.util.find_spec("pyxem") is None:
        print("pyxem is not installed: no comparison with its template matching")
    else:
        print(f"pyxem, {GALLERIES[0]} templates: {pyxem_rate(simulator, symmetry, queries):,.1f} queries/s")
    return 0


def pyxem_rate(simulator: Simulator, symmetry: torch.Tensor, queries: torch.Tensor) -> float:
    """Queries per second of pyxem's template matching against spots of the same gallery."""
    import numpy as np
    from diffsims.libraries import DiffractionLibrary  # comes with pyxem
    from diffsims.sims.diffraction_simulation import DiffractionSimulation
    from pyxem.signals import ElectronDiffraction2D
    from pyxem.utils.indexation_utils import index_dataset_with_template_rotation

    rotation = from_direction(gallery_directions(GALLERIES[0], symmetry))
    spots = simulator.spots(rotation)
    pixel = simulator.diffraction.pixel_size_per_a
    simulations = np.array(
        [
            DiffractionSimulation(
                np.pad(place[strength > 0].cpu().numpy()[:, ::-1], ((0, 0), (0, 1))),
                intensities=strength[strength > 0].cpu().numpy(),
                calibration=pixel,
            )
            for place, strength in zip(spots.position_per_a, spots.intensity, strict=True)
        ]
    )
    library = DiffractionLibrary()
    library["crystal"] = {"simulations": simulations, "orientations": np.zeros((len(simulations), 3))}
    signal = ElectronDiffraction2D(queries.cpu().numpy()[None])
    start = time.perf_counter()
    index_dataset_with_template_rotation(signal, library, n_best=5)
    return len(queries) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())

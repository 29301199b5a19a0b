"""Time a network with least-squares stitching against iterative ptychography: patterns per second.

    python -m benchmarks.ptychography
    python -m benchmarks.ptychography --weights weights.safetensors
    python -m benchmarks.ptychography --device cuda --points 256 --dose 2788

All go from the same counts to a phase image on one device. A random 1/f object is scanned. Ptychography makes all its
iterations, and in `ptychography_fast` fewer.
Weights are those of the stages pretrain and finetune. Without them the network of the laptop's scale is untrained: its
speed means something, its error nothing, and is not printed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.estimators import ptychography
from workflow_scripts.diffractive_imaging.evaluation.transfer import beside_truth
from workflow_scripts.diffractive_imaging.networks.model import make_network
from workflow_scripts.diffractive_imaging.networks.reconstruction import estimate_patches, load_network
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched, least_squares
from workflow_scripts.diffractive_imaging.settings import (
    VARIANTS,
    NetworkSettings,
    Predict,
    PtychographySettings,
    Synthesize,
)
from workflow_scripts.diffractive_imaging.simulation import datasets, forward, objects
from workflow_scripts.study.metrics import phase_rmse_rad_meanfree
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import check

SEED = 0


def timed(make: Callable[[], Stitched], device: torch.device, repeats: int) -> tuple[float, Stitched]:
    """The median wall time of `repeats` runs after one that warms up, and what the last made."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        made = make()
        made.phase.cpu()  # waits for the device
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), made


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="trained network (.safetensors); untrained where none is given")
    parser.add_argument("--points", type=int, default=96, help="scan points a side (default 96)")
    parser.add_argument("--dose", type=float, default=2788.0, help="electrons per pattern (default 2788)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each; the median counts (default 3)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args(arguments)

    laptop = merged("laptop")["diffractive_imaging"]
    synthesize, predict = check(Synthesize, laptop["synthesize"]), check(Predict, laptop["predict"])
    device, light = torch.device(options.device), datasets.illumination(synthesize.probe, synthesize.dose_e, None)
    rng = np.random.default_rng(SEED)
    scan = synthesize.scan
    positions, side = datasets.raster(options.points, scan.step_px, scan.jitter_px, light.n / 2 + 2, rng)
    shape = scan.phase_std_rad * objects.power_law_noise(1, side, rng)[0]
    fine = torch.from_numpy(objects.refine(shape, forward.UPSAMPLING))
    generator = torch.Generator().manual_seed(SEED)
    counts = forward.simulate_scan(light.probe, fine, positions, options.dose, generator).float()

    if options.weights:
        network = load_network(options.weights)
    else:
        network = make_network(light.n, check(NetworkSettings, laptop["pretrain"]["network"]), SEED).eval()
    weights = (forward.patch_illumination(light.probe) * forward.patch_mask(light.probe)).to(device)

    def by_network() -> Stitched:
        batch_size = predict.network.batch_size
        patches = estimate_patches(
            network, light, VARIANTS["corrected"], device, "float32", batch_size, counts, options.dose
        )
        return least_squares(patches.to(device), positions, weights)

    def fitted(settings: PtychographySettings) -> Callable[[], Stitched]:
        arguments = counts, positions, light, options.dose, settings, SEED, device
        return lambda: ptychography.reconstruct(*arguments).image

    results = {
        "network": timed(by_network, device, options.repeats),
        "ptychography": timed(fitted(predict.ptychography), device, options.repeats),
        "ptychography_fast": timed(fitted(predict.ptychography_fast), device, options.repeats),
    }
    print(f"{len(counts)} patterns of {options.dose:g} electrons, {device}, {torch.get_num_threads()} threads")
    for name, (seconds, image) in results.items():
        line = f"{name:18}{seconds:8.2f} s{len(counts) / seconds:12,.0f} patterns/s"
        if name != "network" or options.weights:
            line += f", RMSE {phase_rmse_rad_meanfree(*beside_truth(image, fine)):.4f} rad"
        print(line)
    network_s = results.pop("network")[0]
    for name, (seconds, _) in results.items():
        print(f"the network takes {network_s / seconds:.2f} of the time of {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

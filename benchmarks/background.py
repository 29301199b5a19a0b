"""Time the background: a whole tile and a mosaic by the corrected sampler, against the published one, in one run.

    python -m benchmarks.background
    python -m benchmarks.background --device cuda --published-steps 50

Both arms get untrained networks, since weights do not change the time: ours of the size in the configuration, the
recipe's in full. The corrected arm answers with the mean of all samples from N tiles, in both passes over the whole
tile; the published one with a single sample of 50 steps from a pair, of which `--published-steps` are timed and scaled
up. Steps cost the same, since each is one pass through the network.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import yaml

from workflow_scripts.background.apply.correction import flats_of
from workflow_scripts.background.estimators.network import RECIPE_STEPS, NetworkEstimator
from workflow_scripts.background.networks.conditions import input_channels
from workflow_scripts.background.networks.model import make_network
from workflow_scripts.background.settings import ARMS, NetworkSettings, SamplerSettings
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.settings import check


def seconds(make: Callable[[], object], repeats: int, device: torch.device, warm: bool = False) -> list[float]:
    """Times of so many runs, after one that does not count unless all is warm."""
    times = []
    for _ in range(repeats + (not warm)):
        start = time.perf_counter()
        make()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times[-repeats:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tile", type=int, default=512, help="side of a tile, px (default 512)")
    parser.add_argument("--tiles", type=int, default=16, help="of the mosaic (default 16)")
    parser.add_argument("--neighbours", type=int, default=16, help="tiles behind an estimate (default 16)")
    parser.add_argument("--steps", type=int, help="of the corrected sampler (default: the configuration's)")
    parser.add_argument("--samples", type=int, help="of the corrected sampler (default: the configuration's)")
    parser.add_argument("--published-steps", type=int, default=1, help="timed of the published sampler (default 1)")
    parser.add_argument("--repeats", type=int, default=1, help="runs; the median counts (default 1)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: every core")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    configuration = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["background"]
    network = check(NetworkSettings, configuration["pretrain"]["network"])
    sampler = check(SamplerSettings, configuration["predict"]["network"])
    steps, samples = options.steps or sampler.steps, options.samples or sampler.samples
    logs = np.random.default_rng(0).normal(0, 0.1, (options.tiles, options.tile, options.tile)).astype(np.float32)
    valid = np.ones(logs.shape, bool)

    side_px = configuration["synthesize"]["side_px"]
    sampling = sampler.model_copy(update={"steps": steps, "samples": samples, "seed": 0})
    ours = make_network(network, input_channels(ARMS["corrected"]), 0).to(device).eval()
    estimator = NetworkEstimator(ours, ARMS["corrected"], side_px, sampling, device)
    tile = statistics.median(
        seconds(lambda: flats_of(estimator, logs, valid, options.neighbours, [0]), options.repeats, device)
    )
    mosaic = statistics.median(
        seconds(lambda: flats_of(estimator, logs, valid, options.neighbours), options.repeats, device, warm=True)
    )

    recipe = make_network(network.model_copy(update={"kind": "monai"}), input_channels(ARMS["published"]), 0)
    recipe = recipe.to(device).eval()
    pair = torch.zeros(1, 3, options.tile, options.tile, device=device)
    times = torch.zeros(1, device=device)

    def some_steps() -> None:
        with torch.no_grad():
            for _ in range(options.published_steps):
                recipe(pair, times)

    runs = seconds(some_steps, options.repeats, device)
    published = statistics.median(runs) / options.published_steps * RECIPE_STEPS

    parameters = [sum(p.numel() for p in model.parameters()) / 1e6 for model in (ours, recipe)]
    print(f"{options.device}, {options.threads} threads, load {os.getloadavg()[0]:.1f}, tiles of {options.tile} px")
    print(f"corrected: {parameters[0]:.2f} M parameters, {steps} steps × {samples} samples")
    print(f"  a tile from {min(options.neighbours, options.tiles)}: {tile:.2f} s ({1 / tile:.3f} tiles a second)")
    print(f"  a mosaic of {options.tiles}: {mosaic:.2f} s ({options.tiles / mosaic:.3f} tiles a second)")
    print(
        f"published: {parameters[1]:.1f} M parameters, {RECIPE_STEPS} steps × 1 sample, {options.published_steps} timed"
    )
    print(f"  a tile: {published:.2f} s ({1 / published:.4f} tiles a second)")
    print(f"  a mosaic of {options.tiles}: {options.tiles * published:.0f} s, scaled up")
    print(f"ratio: a tile {published / tile:.1f}, a mosaic {options.tiles * published / mosaic:.1f} times as fast")


if __name__ == "__main__":
    main()

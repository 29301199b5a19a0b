"""Time the stitching of a full scan, and show that the timed run transmits the long periods.

    python -m benchmarks.stitching
    python -m benchmarks.stitching --device cuda --repeats 5

Perfect patches are cut from a white-noise object at the positions of a jittered raster, stitched by least
squares and by the published damped average, and compared with the object. Fails where least squares misses
the target of the transfer.
"""

import argparse
import sys
import time

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.layout import cut_patches
from workflow_scripts.diffractive_imaging.stitching import (
    Stitched,
    damped_average,
    least_squares,
    to_object_pixels,
)
from workflow_scripts.study.transfer import transfer_at_period, transfer_in_band

PATCH, UPSAMPLING, MARGIN_PX = 32, 4, 6
BANDS_PX = ((4, 6), (10, 15), (25, 50))
LONG_PERIOD_PX = 100
TARGET = 0.95


def jittered_raster(side: int, step_px: float, generator: np.random.Generator) -> torch.Tensor:
    """Positions (side², 2) [y, x] in object pixels, each up to 0.3 steps off its place along each axis."""
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    return torch.from_numpy((places + generator.uniform(-0.3, 0.3, places.shape)) * step_px)


def illumination() -> torch.Tensor:
    """A Gaussian spot (32, 32) cut at its mask, about 12 × 12 fine pixels: 3 × 3 object pixels."""
    y, x = np.mgrid[:PATCH, :PATCH] - PATCH // 2
    spot = np.exp(-(y**2 + x**2) / 21.0)
    return torch.from_numpy(np.where(spot > 0.16, spot, 0.0))


def transfer(stitched: Stitched, object_fine: torch.Tensor) -> dict[str, float]:
    """T by period of a stitched image against the object, whose pixel [0, 0] lies at −MARGIN_PX."""
    y, x = ((start + MARGIN_PX) * stitched.upsampling for start in stitched.origin)
    height, width = stitched.phase.shape
    phase = stitched.phase.cpu()
    truth = torch.where(phase.isnan(), torch.nan, object_fine[y : y + height, x : x + width])
    truth = to_object_pixels(truth, stitched.upsampling).numpy()
    image = stitched.to_object_pixels().cpu().numpy()
    row = {f"{low}–{high} px": transfer_in_band(image, truth, low, high) for low, high in BANDS_PX}
    return row | {f"{LONG_PERIOD_PX} px": transfer_at_period(image, truth, LONG_PERIOD_PX)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="positions along each axis (default 256)")
    parser.add_argument("--step", type=float, default=0.87, help="mean step in object pixels (default 0.87)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of least squares; the median counts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of object, jitter and shuffle (default 0)")
    options = parser.parse_args(arguments)

    generator = np.random.default_rng(options.seed)
    positions = jittered_raster(options.side, options.step, generator)
    side_fine = int(UPSAMPLING * (options.side * options.step + 2 * MARGIN_PX))
    object_fine = torch.from_numpy(generator.standard_normal((side_fine, side_fine)).astype(np.float32))
    patches = cut_patches(object_fine, positions, size=PATCH, origin=(-MARGIN_PX, -MARGIN_PX))
    weights = illumination()

    on_device = patches.to(options.device), positions, weights.to(options.device)
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        stitched = least_squares(*on_device)
        stitched.phase.cpu()  # waits for the device
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    published = damped_average(patches, positions, weights, generator=torch.Generator().manual_seed(options.seed))
    published_time = time.perf_counter() - start

    rows = {
        "least squares": (float(np.median(times)), stitched.iterations, transfer(stitched, object_fine)),
        "published": (published_time, published.iterations, transfer(published, object_fine)),
    }
    names = list(rows["published"][2])
    print(f"{len(patches)} patches, {options.device}, {torch.get_num_threads()} threads; T by period")
    print(f"{'':14}{'time/s':>8}{'steps':>7}" + "".join(f"{name:>11}" for name in names))
    for name, (seconds, steps, row) in rows.items():
        print(f"{name:14}{seconds:8.2f}{steps:7d}" + "".join(f"{row[period]:11.4f}" for period in names))
    ratio = published_time / np.median(times)
    print(f"first run {times[0]:.2f} s; the published stitch takes {ratio:.1f} times as long")

    missed = {period: value for period, value in rows["least squares"][2].items() if not value >= TARGET}
    if missed:
        print(f"FAILED: least squares transmits {missed}, the target is {TARGET}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

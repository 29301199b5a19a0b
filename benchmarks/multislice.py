"""Time the image of a scanned crystal by our plane waves, and by abTEM: probe by probe and by its S-matrix.

    python -m benchmarks.multislice
    python -m benchmarks.multislice --abtem-python /path/to/other/environment/bin/python
    python -m benchmarks.multislice --device cuda --thickness-nm 120

The specimen is the published recipe's: a patch of GaN along [0001] in the middle of 25.6 Å of vacuum, 20 nm thick,
256 × 256 pixels of 0.1 Å, slices of at most 3 Å, 200 kV, 20 mrad, four quarters of 10-50 mrad. abTEM is no dependency:
it runs in the Python that is named, on the CPU, and reads the same projected slices, whose making counts on no side.
Ours ends with the whole image on every pixel. abTEM's S-matrix ends on its Nyquist raster; its probe by probe is the
multiple of the few that are timed. Both are printed: the one is what the recipe does, the other the best abTEM offers
without approximation. Fails where the images differ by more than the target.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.build
import numpy as np
import torch
from torch import Tensor

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import transmission
from workflow_scripts.optics.plane_waves import Field, ImageSeries, Probe, Specimen, images
from workflow_scripts.optics.potential import projected_slices

SLICE_A, VOLTAGE_KV, SEMIANGLE_MRAD = 3.0, 200.0, 20.0
QUARTERS = Detector(inner_mrad=10.0, outer_mrad=50.0, segments=4)
VACUUM = 0.25  # of the field of view at least, so that the patch has an outline
TARGET = 1e-3  # largest difference, of the maximum


def gan_patch(side_a: float, thickness_a: float) -> tuple[list[str], np.ndarray]:
    """Symbols and positions [z, y, x] of wurtzite GaN (a = 3.189, c = 5.185 Å), whole cells in the middle of vacuum."""
    a, c = 3.189, 5.185
    hexagonal = ase.build.bulk("GaN", "wurtzite", a=a, c=c, u=0.377)
    cell = ase.build.make_supercell(hexagonal, [[1, 0, 0], [1, 2, 0], [0, 0, 1]])  # a × √3 a × c
    wide, deep = (max(1, int((1 - VACUUM) * side_a / edge)) for edge in (a, math.sqrt(3) * a))
    atoms = cell.repeat((wide, deep, math.ceil(thickness_a / c)))
    positions = atoms.get_positions()[:, [2, 1, 0]]
    inside = positions[:, 0] < thickness_a - 1e-6
    positions, symbols = positions[inside], np.array(atoms.get_chemical_symbols())[inside]
    middle = (positions[:, 1:].min(axis=0) + positions[:, 1:].max(axis=0)) / 2
    positions[:, 1:] += side_a / 2 - middle
    positions[:, 0] -= positions[:, 0].min()
    return symbols.tolist(), positions


def projected(side_px: int, pixel_size_a: float, thickness_a: float) -> tuple[Tensor, float]:
    """Slices float32 (S, H, W) in V Å, and their thickness in Å."""
    symbols, positions = gan_patch(side_px * pixel_size_a, thickness_a)
    count = math.ceil(thickness_a / SLICE_A)
    boundaries = np.linspace(0, thickness_a, count + 1).tolist()
    shape, nyquist_per_a = (side_px, side_px), 0.5 / pixel_size_a
    slices = projected_slices(symbols, torch.from_numpy(positions), boundaries, shape, pixel_size_a, nyquist_per_a)
    return slices.float(), thickness_a / count


def ours(slices: Tensor, slice_a: float, pixel_size_a: float) -> tuple[Tensor, ImageSeries]:
    """Four images on every pixel (4, H, W), and the series they are drawn from, from slices on their device."""
    shape = tuple(slices.shape[1:])
    specimen = Specimen(transmission(slices, pixel_size_a, VOLTAGE_KV), [slice_a] * len(slices), [len(slices)])
    series = images(specimen, Field(shape, pixel_size_a), Probe(VOLTAGE_KV, SEMIANGLE_MRAD), [QUARTERS])
    return series.raster(shape)[0].cpu(), series


def abtems(python: Path, slices: Tensor, slice_a: float, options: argparse.Namespace) -> tuple[dict, dict]:
    """Its times, and its images with the positions."""
    with tempfile.TemporaryDirectory() as folder:
        specimen, times, images_file = (Path(folder) / name for name in ("specimen.npz", "times.json", "images.npz"))
        np.savez(
            specimen,
            slices_v_a=slices.cpu().numpy(),
            slice_a=slice_a,
            pixel_size_a=options.pixel_size_a,
            voltage_kv=VOLTAGE_KV,
            semiangle_mrad=SEMIANGLE_MRAD,
            inner_mrad=QUARTERS.inner_mrad,
            outer_mrad=QUARTERS.outer_mrad,
            segments=QUARTERS.segments,
        )
        script = Path(__file__).with_name("abtem_multislice.py")
        threads = str(options.threads)
        environment = os.environ | {f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        command = [python, script, specimen, times, images_file, "--probes", str(options.probes), "--threads", threads]
        subprocess.run([str(part) for part in command], check=True, env=environment)
        with np.load(images_file, allow_pickle=False) as found:
            return json.loads(times.read_text(encoding="utf-8")), {name: found[name] for name in found.files}


def differences(series: ImageSeries, theirs: dict[str, np.ndarray], side_a: float) -> dict[str, float]:
    """Largest difference of the images from abTEM's, as a share of its maximum."""
    rows, columns = (np.arange(n) * side_a / n for n in theirs["nyquist"].shape[1:])
    raster_a = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    found = {}
    for name, where in (("probes", theirs["positions_a"]), ("nyquist", raster_a)):
        at = series.at(torch.from_numpy(where).to(series.coefficients.device))[0].cpu().numpy()  # (4, P)
        reference = theirs[name].reshape(len(at), -1)
        found[name] = float(np.abs(at - reference).max() / reference.max())
    return found


def peak_mib(device: str) -> float:
    """Largest memory so far, of the device or of this process."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="pixels of the field of view (default 256)")
    parser.add_argument("--pixel-size-a", type=float, default=0.1, help="side of a pixel in Å (default 0.1)")
    parser.add_argument("--thickness-nm", type=float, default=20.0, help="of the crystal (default 20)")
    parser.add_argument("--repeats", type=int, default=1, help="runs of ours; the median counts (default 1)")
    parser.add_argument("--device", default="cpu", help="of ours: cpu or cuda (default cpu)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side (default: every core)")
    parser.add_argument("--abtem-python", type=Path, help="Python of an environment with abTEM; without, ours alone")
    parser.add_argument("--probes", type=int, default=64, help="that abTEM times one by one (default 64)")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    slices, slice_a = projected(options.side, options.pixel_size_a, 10 * options.thickness_nm)
    on_device = slices.to(options.device)
    times = []
    with torch.no_grad():
        if options.device != "cpu":
            ours(on_device[:2], slice_a, options.pixel_size_a)  # starts the device
        for _ in range(options.repeats):
            start = time.perf_counter()
            _, series = ours(on_device, slice_a, options.pixel_size_a)
            times.append(time.perf_counter() - start)
    ours_s = statistics.median(times)
    measured = {"device": options.device, "threads": options.threads, "slices": len(slices), "ours_s": ours_s}
    measured |= {"ours_runs_s": times, "ours_peak_mib": peak_mib(options.device)}
    print(f"{options.side} x {options.side} pixels, {len(slices)} slices, {options.threads} threads")
    print(f"{'ours, ' + options.device:28}{ours_s:10.1f} s")
    missed = {}
    if options.abtem_python:
        theirs, theirs_images = abtems(options.abtem_python, slices, slice_a, options)
        for name, key in (("abTEM, probe by probe", "probes_image_s"), ("abTEM, S-matrix, Nyquist", "smatrix_image_s")):
            print(f"{name:28}{theirs[key]:10.1f} s  {theirs[key] / ours_s:8.1f} times ours")
        off = differences(series, theirs_images, options.side * options.pixel_size_a)
        print("largest difference of the maximum: " + ", ".join(f"{name} {value:.1e}" for name, value in off.items()))
        measured |= {"abtem": theirs, "difference": off}
        missed = {name: value for name, value in off.items() if not value <= TARGET}
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    if missed:
        print(f"FAILED: images differ by {missed}, the target is {TARGET}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

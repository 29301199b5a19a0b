"""Time abTEM on a specimen that benchmarks/multislice.py wrote: probe by probe, and by its S-matrix.

    python benchmarks/abtem_multislice.py specimen.npz times.json images.npz

Runs in any Python with abTEM 1.0.11 and imports nothing of the project; benchmarks/multislice.py starts it. Both ways
take the same projected slices, a sharp band limit and a sharp aperture, so that all sides compute the same numbers;
none of these changes abTEM's speed. The threads are those of the environment (OMP_NUM_THREADS and its like) and
--threads.

- Probe by probe: the image of the recipe is one probe a pixel, whose cost is linear in their number, so a few are timed
  and the whole is their multiple. Sixteen go through together, the fastest of 8, 16 and 32 on two cores; abTEM's own
  choice, 256, took 1.3 to 1.8 times as long.
- S-matrix without interpolation: nothing is scaled up. All plane waves go through (abTEM takes those of its soft
  aperture, some more than the sharp one needs), then every position of the Nyquist raster is reduced.

Peak memory is the high-water mark of the process; that of the probes comes first and is the smaller one.
"""

import argparse
import json
import math
import os
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import abtem
import dask
import numpy as np

BATCH, REDUCTION_BATCH = 16, 128


def peak_mib() -> float:
    """Largest memory so far (Linux); getrusage would begin with that of the process which started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def seconds(make) -> tuple[float, object]:
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, made


def block(probes: int, pixel_size_a: float, extent_a: tuple[float, float]) -> np.ndarray:
    """(probes, 2) [y, x] in Å: neighbouring pixels in the middle of the field of view."""
    side = math.ceil(math.sqrt(probes))
    first = [round(extent / 2 / pixel_size_a) - side // 2 for extent in extent_a]
    rows, columns = np.divmod(np.arange(probes), side)
    return np.column_stack([rows + first[0], columns + first[1]]) * pixel_size_a


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specimen", type=Path, help="slices and microscope, by benchmarks.multislice (.npz)")
    parser.add_argument("times", type=Path, help="what is written: times and memory (.json)")
    parser.add_argument("images", type=Path, help="what is written: positions and images (.npz)")
    parser.add_argument("--probes", type=int, default=64, help="timed probe by probe (default 64)")
    parser.add_argument("--repeats", type=int, default=3, help="of these; the median counts (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="dask's workers (default: every core)")
    options = parser.parse_args()

    abtem.config.set({"diagnostics.progress_bar": False, "antialias.taper": 0.0})
    dask.config.set(scheduler="threads", num_workers=options.threads)
    with np.load(options.specimen, allow_pickle=False) as found:
        given = {name: found[name] for name in found.files}
    slices, pixel = given["slices_v_a"], float(given["pixel_size_a"])
    potential = abtem.PotentialArray(slices, slice_thickness=float(given["slice_a"]), sampling=pixel)
    ring = {"inner": float(given["inner_mrad"]), "outer": float(given["outer_mrad"])}
    seen_by = abtem.SegmentedDetector(**ring, nbins_radial=1, nbins_azimuthal=int(given["segments"]))
    beam = {"energy": 1e3 * float(given["voltage_kv"]), "semiangle_cutoff": float(given["semiangle_mrad"])}

    def scan_probes(positions: np.ndarray) -> np.ndarray:
        probe = abtem.Probe(**beam, soft=False)
        found = probe.scan(potential, abtem.CustomScan(positions), detectors=seen_by, max_batch=BATCH, lazy=True)
        return found.compute().array[:, 0].T  # (segments, positions)

    positions = block(options.probes, pixel, potential.extent)
    scan_probes(positions[:BATCH])  # plans its Fourier transforms
    runs = [seconds(lambda: scan_probes(positions)) for _ in range(options.repeats)]
    probe_s = statistics.median(took for took, _ in runs) / options.probes
    probes_mib = peak_mib()

    matrix = abtem.SMatrix(**beam, potential=potential)
    nyquist_a = abtem.Probe(**beam).aperture.nyquist_sampling
    raster = tuple(math.ceil(extent / nyquist_a) for extent in potential.extent)
    scan = abtem.GridScan((0.0, 0.0), potential.extent, gpts=raster)
    through_s, built = seconds(lambda: matrix.build(lazy=True, max_batch=BATCH).compute())
    sharp = abtem.CTF(**beam, soft=False)
    reduction_s, reduced = seconds(
        lambda: built.reduce(scan, detectors=seen_by, ctf=sharp, max_batch_reduction=REDUCTION_BATCH)
    )

    pixels = int(np.prod(slices.shape[1:]))
    measured = {
        "abtem": version("abtem"),
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "probes": options.probes,
        "probe_s": probe_s,
        "probe_runs_s": [took for took, _ in runs],
        "probes_image_s": probe_s * pixels,
        "probes_peak_mib": probes_mib,
        "plane_waves": len(matrix),
        "raster": raster,
        "smatrix_through_s": through_s,
        "smatrix_reduction_s": reduction_s,
        "smatrix_image_s": through_s + reduction_s,
        "smatrix_peak_mib": peak_mib(),
    }
    options.times.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    images = np.moveaxis(reduced.array[:, :, 0], -1, 0)  # (segments, rows, columns)
    np.savez(options.images, positions_a=positions, probes=runs[-1][1], nyquist=images)


if __name__ == "__main__":
    main()

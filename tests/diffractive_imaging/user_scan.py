"""A small 4D-STEM scan as a user might have it: simulated, then recorded by a larger, rotated, transposed detector."""

import numpy as np
import torch

from workflow_scripts.diffractive_imaging.apply.data import raster_px
from workflow_scripts.diffractive_imaging.simulation import forward, objects
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination
from workflow_scripts.optics.probe import make_probe, pixel_size_a

N, RADIUS_PX, BINNING, DOSE_E = 32, 8.0, 2, 20000.0
POINTS = (12, 14)
ROTATION_DEG = 30.0
MARGIN = (3, 5)  # recorded pixels above and left of the window
PIXEL_A = pixel_size_a(N, 80.0, 20.0, RADIUS_PX)
STEP_A = 2.0 * PIXEL_A
PROBE = {"voltage_kv": 80.0, "semiangle_mrad": 20.0, "defocus_a": 300.0}


def settings(**changes) -> dict:
    """The entry of the configuration that fits the scan."""
    center = [MARGIN[axis] + BINNING * (N // 2) + (BINNING - 1) / 2 for axis in (0, 1)]
    entry = {
        "patterns": "scan.npy",
        "binning": BINNING,
        "detector_px": N,
        "center_px": center,
        "upsampling": 1,
        "step_a": STEP_A,
        "rotation": ROTATION_DEG,
        "detector_transposed": True,
        "probe": PROBE | {"aperture_radius_px": BINNING * RADIUS_PX},
        "dose_min_e": 5000.0,
        "dose_max_e": 50000.0,
    }
    return entry | changes


def light() -> Illumination:
    probe = make_probe(N, 80.0, 20.0, RADIUS_PX, PROBE["defocus_a"])
    return Illumination(probe, PIXEL_A, DOSE_E, upsampling=1)


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Object (H, W) rad on the grid of 4 per pixel, positions (N, 2), counts (N, n, n) along the object's axes."""
    rng = np.random.default_rng(5)
    positions = forward.rotated(raster_px(POINTS, 2.0), ROTATION_DEG)
    positions = positions - positions.amin(dim=0) + N // 2 + 2
    side = int(positions.max()) + N // 2 + 4
    fine = torch.from_numpy(objects.refine(0.4 * objects.power_law_noise(1, side, rng, exponent=2.0)[0], 4))
    generator = torch.Generator().manual_seed(1)
    counts = forward.simulate_scan(light().probe, fine, positions, DOSE_E, generator)
    return fine, positions, counts.float()


def recorded(counts: torch.Tensor) -> np.ndarray:
    """uint16 (Ry, Rx, H, W): transposed, each pixel's counts in one of its 2 × 2, off the middle of the detector."""
    transposed = counts.transpose(1, 2).numpy().astype(np.uint16)
    top, left = MARGIN
    stack = np.zeros((len(transposed), BINNING * N + 8, BINNING * N + 6), np.uint16)
    stack[:, top : top + BINNING * N : BINNING, left + 1 : left + 1 + BINNING * N : BINNING] = transposed
    return stack.reshape(*POINTS, *stack.shape[1:])

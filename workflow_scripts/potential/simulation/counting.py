"""Electron counts of the test images, the same for every estimator and for any selection of rows."""

import numpy as np

from workflow_scripts.learning.devices import host_work
from workflow_scripts.potential.simulation.samples import MATCHED, RING, Samples

NOISE_FREE = float("inf")  # the dose at which nothing is counted
_STREAM = {RING: 0, MATCHED: 1}


@host_work()
def measured_shares(samples: Samples, detector: str, dose_e_per_a2: float, seed: int) -> np.ndarray:
    """Counts of each segment and pixel as shares of the electrons that fell on the pixel.

    A pixel of area a² counts Poisson electrons of mean share · dose · a². Every row has a separate stream of random
    numbers, which follows from the seed, its place in the file, the detector and the dose.

    Args:
        samples: N rows in the order of their file.
        detector: `ring` or `matched`.
        dose_e_per_a2: electrons per Å²; `NOISE_FREE` gives the images themselves.
        seed: of the counts.

    Returns:
        float32 (N, 4, H, W).
    """
    images = samples.images[detector]
    if dose_e_per_a2 == NOISE_FREE:
        return images.astype(np.float32)
    electrons = dose_e_per_a2 * samples.microscope.pixel_size_a**2
    dose_bits = int(np.float64(dose_e_per_a2).view(np.uint64))
    shares = np.empty(images.shape, np.float32)
    for row, image in enumerate(images):
        generator = np.random.default_rng([seed, _STREAM[detector], dose_bits, row])
        # Rounding can bring a Fourier series below zero
        shares[row] = generator.poisson(np.maximum(image, 0).astype(np.float64) * electrons) / electrons
    return shares

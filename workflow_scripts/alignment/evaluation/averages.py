"""Resolution of an average by Fourier ring correlation (FRC), with a clean image or between half sets.

Two halves aligned together share their errors, and noise aligned to a common reference reproduces that reference in
both (doi:10.1073/pnas.1314449110). Halves that are aligned independently and then superimposed avoid this.
"""

import numpy as np
import pandas as pd
from torch import Tensor

from workflow_scripts.alignment.networks.branch import resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.study.metrics import fourier_ring_correlation

# Thresholds of the FRC between two half sets (doi:10.1016/j.jmb.2003.07.013), and with a clean reference
HALF_SET_FRC = 0.143
TRUTH_FRC = 0.5


def superimpose(average: Tensor, reference: Tensor) -> Tensor:
    """An average (n, n) rotated and shifted onto a reference (n, n), over the full circle."""
    angle = pairwise(amplitude_spectra(average[None]), amplitude_spectra(reference[None]))
    poses = resolve(average[None], angle, reference)
    return align(average[None], poses.angle_deg, poses.shift_px)[0]


def frc(first: Tensor, second: Tensor) -> pd.DataFrame:
    """FRC of two images (n, n): columns period_px, frequency_per_px, frc; a Hann window suppresses the corners."""
    return fourier_ring_correlation(*(image.detach().cpu().double().numpy() for image in (first, second)))


def frc_resolution(curve: pd.DataFrame, threshold: float) -> float:
    """The period in pixels at which the FRC first falls below a threshold, interpolated linearly between rings.

    Infinite if the first ring is below the threshold already, 2 px (Nyquist) if no ring is.
    """
    frequency, value = curve["frequency_per_px"].to_numpy(), curve["frc"].to_numpy()
    below = np.flatnonzero(~(value >= threshold))
    if not below.size:
        return 2.0
    last = int(below[0])
    if last == 0:
        return float("inf")
    share = (value[last - 1] - threshold) / (value[last - 1] - value[last])
    return float(1 / (frequency[last - 1] + share * (frequency[last] - frequency[last - 1])))

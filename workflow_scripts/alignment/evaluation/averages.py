"""How well an average is determined: the Fourier ring correlation of halves of a stack.

Two halves that were aligned together share their errors, and noise aligned to one reference grows its image
(doi:10.1073/pnas.1314449110); halves that were aligned apart and then superimposed do not.
"""

import numpy as np
import pandas as pd
from torch import Tensor

from workflow_scripts.alignment.networks.branch import resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.study.metrics import fourier_ring_correlation

HALF_SETS = 0.143  # threshold for two half sets (doi:10.1016/j.jmb.2003.07.013)
TRUTH = 0.5  # threshold against a clean reference


def superimpose(average: Tensor, reference: Tensor) -> Tensor:
    """An average (n, n) rotated and shifted onto a reference (n, n), over the full circle."""
    angle = pairwise(amplitude_spectra(average[None]), amplitude_spectra(reference[None]))
    poses = resolve(average[None], angle, reference)
    return align(average[None], poses.angle_deg, poses.shift_px)[0]


def frc(first: Tensor, second: Tensor) -> pd.DataFrame:
    """FRC of two images (n, n): columns period_px, frequency_per_px, frc; a Hann window keeps the corners out."""
    return fourier_ring_correlation(*(image.detach().cpu().double().numpy() for image in (first, second)))


def frc_resolution(curve: pd.DataFrame, threshold: float) -> float:
    """The period in pixels at which the FRC first falls below a threshold, linear between rings.

    Infinite where the first ring lies below it already, and 2 px, Nyquist, where none does.
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

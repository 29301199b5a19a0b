"""The arms of the study: one code path, the recipe's faults as named switches of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/alignment.md explains each.

    Attributes:
        wrong_near_wraps: the loss compares |r − t| and |r − (t ± 180°)| alone, not circularly.
        noise_turns_along: a disturbance turns the noisy image, noise and all, bilinearly; no fresh noise after it.
        faulty_ctf: a new random defocus for every Fourier pixel, its modulus, and the pixel size scaled the wrong way.
        eight_bit: every image is stretched to whole numbers from 0 to 255 by itself.
        batch_statistics: normalisation uses the statistics of the batch at prediction too.
        not_equivariant: a convolutional network regresses the angle from two Cartesian spectra, not a correlation along
            the angle of polar ones.
        branch_unresolved: the angle stays in [0°, 180°) and every shift is zero.
    """

    wrong_near_wraps: bool
    noise_turns_along: bool
    faulty_ctf: bool
    eight_bit: bool
    batch_statistics: bool
    not_equivariant: bool
    branch_unresolved: bool


VARIANTS = {"published": Variant(*[True] * 7), "corrected": Variant(*[False] * 7)}

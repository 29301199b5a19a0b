"""FRC and its resolution, half sets aligned apart, and averages superimposed."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.alignment.blobs import image, poses, stack
from workflow_scripts.alignment.evaluation.averages import (
    HALF_SET_FRC,
    TRUTH_FRC,
    frc,
    frc_resolution,
    superimpose,
)
from workflow_scripts.alignment.networks.branch import align_stack
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint


def aligned(images):
    return align_stack(images, joint(amplitude_spectra(images))[0])


def test_the_resolution_lies_between_the_rings():
    curve = pd.DataFrame({"frequency_per_px": [0.1, 0.2, 0.3], "frc": [1.0, 0.6, 0.2]})
    assert frc_resolution(curve, TRUTH_FRC) == pytest.approx(1 / 0.225)
    assert frc_resolution(curve, HALF_SET_FRC) == 2.0
    assert frc_resolution(curve, 1.1) == np.inf


@pytest.mark.parametrize(("n", "angle"), [(64, 200.0), (65, 95.5)])
def test_an_average_is_superimposed_on_a_reference(n, angle):
    superimposed = superimpose(image(n, angle, (4, -3)), image(n))
    assert (superimposed - image(n)).abs().max() < 0.1


def test_half_sets_aligned_apart_agree_on_a_particle_and_not_on_noise():
    angle, shift_px = poses(160, seed=1)
    particles = stack(64, angle, shift_px, snr=0.3, seed=2)
    noise = torch.randn(160, 64, 64, generator=torch.Generator().manual_seed(3))
    halves = np.arange(0, 160, 2), np.arange(1, 160, 2)
    resolutions = {}
    for name, images in (("particles", particles), ("noise", noise)):
        first, second = (aligned(images[half])[1] for half in halves)
        resolutions[name] = frc_resolution(frc(superimpose(first, second), second), HALF_SET_FRC)
    assert resolutions["particles"] < 12
    assert resolutions["noise"] > 1.5 * resolutions["particles"]


def test_more_particles_resolve_more_of_the_truth():
    reference = image(64)
    resolutions = []
    for count in (20, 200):
        angle, shift_px = poses(count, seed=5)
        average = aligned(stack(64, angle, shift_px, snr=0.5, seed=6))[1]
        resolutions.append(frc_resolution(frc(superimpose(average, reference), reference), TRUTH_FRC))
    assert resolutions[1] < resolutions[0] < 20

"""Whole poses: known motions are recovered, noise gives chance, symmetry is scored as such."""

import numpy as np
import pytest
import torch

from tests.alignment.blobs import image, poses, stack, symmetric
from workflow_scripts.alignment.evaluation.metrics import (
    rotation_error_deg,
    shift_error_px,
    symmetry_period_deg,
)
from workflow_scripts.alignment.networks.branch import align_stack, class_average, resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint


def smooth_correlation(first, second):
    """Correlation coefficient of the middles of two images."""
    middle = np.s_[16:-16, 16:-16]
    return float(torch.corrcoef(torch.stack([first[middle].flatten(), second[middle].flatten()]))[0, 1])


@pytest.mark.parametrize("n", [64, 65])
def test_known_motions_are_recovered_to_a_tenth_of_a_pixel(n):
    angle = torch.tensor([0.0, 30.0, 135.0, 181.0, 275.5, 359.0])
    shift_px = torch.tensor([[0.0, 0.0], [3.0, -4.0], [-2.5, 5.25], [4.0, 4.0], [-5.0, 0.5], [1.3, -2.7]])
    images = torch.stack([image(n, float(a), s.tolist()) for a, s in zip(angle, shift_px, strict=True)])
    estimate = resolve(images, angle % 180, image(n))
    assert torch.allclose(estimate.angle_deg, angle, atol=1e-3)
    assert (estimate.shift_px - shift_px).abs().max() < 0.1
    assert estimate.score.min() > 0.99
    assert (class_average(images, estimate) - image(n)).abs().max() < 0.05


@pytest.mark.parametrize("n", [64, 65])
def test_a_noisy_stack_is_aligned_without_labels(n):
    angle, shift_px = poses(80, seed=3)
    images = stack(n, angle, shift_px, snr=0.2, seed=4)
    estimate, average = align_stack(images, joint(amplitude_spectra(images))[0])
    assert rotation_error_deg(estimate.angle_deg.numpy(), angle.numpy()).mean() < 1.5
    assert (
        shift_error_px(*(values.numpy() for values in (estimate.angle_deg, estimate.shift_px, shift_px))).mean() < 0.5
    )
    again = resolve(average[None], torch.zeros(1), average)
    assert again.score[0] == pytest.approx(1, abs=1e-4)


def test_few_and_noisy_images_are_not_held_by_their_own_noise():
    """Against an average that holds the image itself the mean error of the shift is 3.2 px, and branches are wrong."""
    angle, shift_px = poses(40, seed=2)
    images = stack(64, angle, shift_px, snr=0.06, seed=22)
    estimate, _ = align_stack(images, joint(amplitude_spectra(images))[0])
    assert rotation_error_deg(estimate.angle_deg.numpy(), angle.numpy()).max() < 45
    assert (
        shift_error_px(*(values.numpy() for values in (estimate.angle_deg, estimate.shift_px, shift_px))).mean() < 1.2
    )


def test_a_wrong_handedness_would_be_seen():
    """The test above can fail: the same estimates with the sign of the angle reversed are as wrong as chance."""
    angle, _ = poses(80, seed=3)
    assert rotation_error_deg(-angle.numpy(), angle.numpy()).mean() > 60


@pytest.mark.parametrize("order", [4, 7])
def test_a_symmetric_particle_is_scored_modulo_its_symmetry(order):
    angle, shift_px = poses(60, seed=5)
    images = stack(64, angle, shift_px, snr=0.5, seed=6, blobs=symmetric(order))
    mod180 = joint(amplitude_spectra(images))[0]
    spectral = rotation_error_deg(mod180.numpy(), angle.numpy(), symmetry_period_deg(order, spectrum=True))
    assert spectral.mean() < 1.5
    estimate, _ = align_stack(images, mod180)
    period = symmetry_period_deg(order)
    assert rotation_error_deg(estimate.angle_deg.numpy(), angle.numpy(), period).mean() < 1.5
    assert rotation_error_deg(estimate.angle_deg.numpy(), angle.numpy()).mean() > 20


def test_noise_has_no_angle_and_its_average_resembles_nothing():
    """Against particles of other noise, a stack of noise is no closer to the particle than its permutations are."""
    count = 80
    angle, _ = poses(count, seed=7)
    noise = torch.randn(count, 64, 64, generator=torch.Generator().manual_seed(8))
    mod180, _ = joint(amplitude_spectra(noise))
    assert rotation_error_deg(mod180.numpy(), angle.numpy(), 180.0).mean() == pytest.approx(45, abs=7)
    estimate, average = align_stack(noise, mod180)
    assert rotation_error_deg(estimate.angle_deg.numpy(), angle.numpy()).mean() == pytest.approx(90, abs=14)
    generator = torch.Generator().manual_seed(9)

    def resemblance(candidate):
        """The best over all angles in steps, branches and shifts."""
        turns = torch.arange(0, 180, 10.0)
        return float(resolve(candidate.expand(len(turns), -1, -1), turns, image(64)).score.max())

    null = []
    for _ in range(19):
        order = torch.randperm(average.numel(), generator=generator)
        null.append(resemblance(average.flatten()[order].reshape(64, 64)))
    particles = stack(64, angle, torch.zeros(count, 2), snr=0.2, seed=10)
    true_average = align_stack(particles, joint(amplitude_spectra(particles))[0])[1]
    assert resemblance(true_average) > 2 * max(null)
    # The aligned average of noise is smoother than white noise, which lets it score higher by chance.
    assert resemblance(average) < 0.5 * resemblance(true_average)


def test_a_noise_stack_does_copy_a_reference_it_is_given():
    """Einstein from noise: why no reference from outside enters ``align_stack``."""
    noise = torch.randn(200, 64, 64, generator=torch.Generator().manual_seed(11))
    reference = image(64)
    average = class_average(noise, resolve(noise, torch.zeros(200), reference, largest_shift_px=10))
    assert smooth_correlation(average, reference) > 0.4

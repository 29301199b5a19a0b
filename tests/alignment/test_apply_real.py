"""`apply` on real stacks, where a person keeps them: shifts of particles at two doses, and noisy class averages.

The baseline stands in for the network, whose weights a fresh checkout does not have; docs/own-data.md has the numbers
of both.
"""

import numpy as np
import pytest
import torch

from tests.alignment import user_particles
from workflow_scripts.alignment.apply.alignment import align_particles
from workflow_scripts.alignment.apply.data import open_user_particles
from workflow_scripts.alignment.apply.streaming import align_streamed, options_for
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra
from workflow_scripts.alignment.simulation.geometry import move
from workflow_scripts.formats.mrc import open_stack

WORK = 64
ROUND = {"symmetry_fold": 60, "mask_radius_px": 44.0, "largest_shift_px": 12.0}
NOISE_OF_SINGLE = 70  # times that of the movie average, of the same signal


def prepared(path, **changes):
    user, report = open_user_particles(user_particles.entry(path, pixel_size_a=1.0, **changes), path, WORK)
    return user, options_for(user, amplitude_spectra, changes.get("symmetry_fold", 1), 15, 128), report


def poses(path, **changes):
    """Angles (N,) and shifts (N, 2) in the file's pixels."""
    user, options, _ = prepared(path, **changes)
    estimate, *_ = align_streamed(user, options)
    return estimate.angle_deg.double().numpy(), estimate.shift_px.double().numpy() * user.scale


def at_dose(images, share, folder):
    """A stack of the images with as much white noise as this share of their dose would leave."""
    spectra = np.abs(np.fft.fft2(images)) ** 2
    variance = spectra[:, 20:40, 20:40].mean() / images[0].size  # beyond the signal
    noise = np.random.default_rng(0).normal(size=images.shape) * np.sqrt(variance * (1 / share - 1))
    return user_particles.write_stack(folder / "less.mrcs", (images + noise).astype(np.float32))


def test_shifts_at_a_tenth_of_the_dose_agree_with_those_at_all_of_it(real_data, tmp_path):
    path = real_data / "apoferritin_100_average.mrcs"
    images = open_stack(path).read(np.arange(100)).astype(float)
    angle, shift = poses(at_dose(images, 8 / NOISE_OF_SINGLE, tmp_path), **ROUND)
    _, at_all = poses(path, **ROUND)
    centred = at_all - np.median(at_all, axis=0)
    assert np.median(np.linalg.norm(centred, axis=1)) > 3.5  # as the particles were picked
    assert np.median(shift_error_px(angle, shift, at_all)) < 2.0


def test_single_frames_are_reported_as_too_noisy(real_data):
    user, options, report = prepared(real_data / "apoferritin_100_single.mrcs", **ROUND)
    quality = align_particles(user, options).quality(1.0)
    assert report["contrast"]["found"] == "dark"
    assert quality["fraction_resolved"] < 0.6
    assert quality["half_set_resolution_a"] is None or quality["half_set_resolution_a"] > 20


@pytest.mark.parametrize("number", [0, 5, 11])
def test_noisy_copies_of_a_class_average_come_back(real_data, tmp_path, number):
    clean = torch.from_numpy(open_stack(real_data / "class_averages_20.mrcs").read(np.array([number]))).float()
    generator = torch.Generator().manual_seed(number)
    angle, shift = 360 * torch.rand(60, generator=generator), 16 * torch.rand(60, 2, generator=generator) - 8
    images = move(clean.expand(60, -1, -1), angle, shift)
    noise = torch.randn(images.shape, generator=generator) * (images.var(dim=(1, 2), keepdim=True) / 0.1).sqrt()
    path = user_particles.write_stack(tmp_path / "copies.mrcs", images + noise)
    found_angle, found_shift = poses(path, contrast="bright")
    assert np.median(rotation_error_deg(found_angle, angle.numpy())) < 6
    assert np.median(shift_error_px(found_angle, found_shift, shift.numpy())) < 1.5

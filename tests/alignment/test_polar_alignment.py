"""The two baselines: exact rotations are recovered, shifts do not matter, averaging helps, noise gives chance."""

import numpy as np
import pytest
import torch

from tests.alignment.blobs import image, poses, stack
from tests.alignment.log_spectra import log_spectra
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint, pairwise

SPECTRA = pytest.mark.parametrize("spectra", [log_spectra, amplitude_spectra])


def pair_error(rows, angle):
    return rotation_error_deg(rows.numpy(), (angle - angle.roll(-1)).numpy(), 180.0, relative=True)


@SPECTRA
@pytest.mark.parametrize("n", [64, 65])
def test_the_relative_angle_of_a_clean_pair_and_its_sign(spectra, n):
    angle = torch.tensor([0.0, 20.0, 100.0, 171.3, 300.0, 359.0])
    shifts = ((0, 0), (3, -4), (-2, 5), (1, 1), (4, -4), (0, 2))
    rows = spectra(torch.stack([image(n, float(a), s) for a, s in zip(angle, shifts, strict=True)]))
    assert pair_error(pairwise(rows, rows.roll(-1, 0)), angle).max() < 1.0
    assert torch.remainder(pairwise(rows, rows) + 90, 180).sub(90).abs().max() < 1e-3  # the pair (A, A) gives 0


@SPECTRA
def test_averaging_improves_on_pairs(spectra):
    angle, shift_px = poses(120, seed=1)
    rows = spectra(stack(64, angle, shift_px, snr=0.3, seed=2))
    pairs = pair_error(pairwise(rows, rows.roll(-1, 0)), angle).mean()
    together, average = joint(rows)
    assert (
        rotation_error_deg(together.numpy(), angle.numpy(), 180.0).mean() < 0.6 * pairs
    )  # 1/√2 would be a clean partner, no more
    # The average stands at angle 0 of the estimates.
    again = rotation_error_deg(pairwise(rows, average[None]).numpy(), together.numpy(), 180.0, relative=True)
    assert np.median(again) < 0.5


@SPECTRA
def test_noise_gives_chance(spectra):
    angle, _ = poses(300, seed=3)
    noise = spectra(torch.randn(300, 64, 64, generator=torch.Generator().manual_seed(4)))
    assert pair_error(pairwise(noise, noise.roll(-1, 0)), angle).mean() == pytest.approx(45, abs=5)
    assert rotation_error_deg(joint(noise)[0].numpy(), angle.numpy(), 180.0).mean() == pytest.approx(45, abs=5)


@SPECTRA
def test_brightness_contrast_and_a_flat_image_do_no_harm(spectra):
    images = torch.stack([image(64), image(64, 50), torch.zeros(64, 64)])
    rows = spectra(images)
    assert torch.allclose(spectra(7 - 3 * images), rows, atol=2e-3)
    assert rows.isfinite().all()


def test_what_is_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 36 pixels"):
        log_spectra(torch.zeros(2, 34, 34))
    with pytest.raises(ValueError, match="between 0 and n/2"):
        amplitude_spectra(torch.zeros(2, 32, 32))

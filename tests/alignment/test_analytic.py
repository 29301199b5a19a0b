"""Particles in closed form: their symmetry, size, spectrum, and that they differ."""

import numpy as np
import pytest
import torch

from tests.alignment.blobs import in_plane
from workflow_scripts.alignment.simulation.analytic import built_in_particle, groel_blobs, random_particle
from workflow_scripts.alignment.simulation.geometry import rotate
from workflow_scripts.alignment.simulation.imaging import radial_power
from workflow_scripts.alignment.simulation.particles import Blobs, particle, project, random_rotations

SIZE_A = 2.0


def rotated(image, angle_deg):
    return rotate(image[None], torch.tensor([float(angle_deg)]))[0]


def correlation(first, second):
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


def all_particles(n=96):
    size_a = 128 * SIZE_A / n
    named = [built_in_particle(name, n, size_a) for name in ("groel_top", "groel_side", "asymmetric")]
    return named + [random_particle(seed, n, size_a) for seed in range(12)]


@pytest.mark.parametrize("n", [96, 97])
@pytest.mark.parametrize(("view", "fold"), [("top", 7), ("side", 2)])
def test_views_of_two_rings_have_their_symmetry_and_no_higher_one(view, fold, n):
    view_of_rings = built_in_particle(f"groel_{view}", n, 2.5)
    assert view_of_rings.symmetry_fold == fold
    for step in range(1, fold):
        tolerance = 1e-3 * float(view_of_rings.image.max())
        torch.testing.assert_close(
            rotated(view_of_rings.image, 360 * step / fold), view_of_rings.image, atol=tolerance, rtol=0
        )
    others = [angle for angle in range(12, 348, 12) if min(angle % (360 / fold), -angle % (360 / fold)) > 10]
    assert max(correlation(rotated(view_of_rings.image, angle), view_of_rings.image) for angle in others) < 0.95


def test_two_rings_have_two_fold_axes_across_the_seven_fold_one():
    blobs = groel_blobs()
    across = np.diag([-1.0, -1.0, 1.0])
    there = Blobs(blobs.positions_a @ across, blobs.widths_a, blobs.weights)
    item, other = (set(map(tuple, np.round(density.positions_a, 6))) for density in (blobs, there))
    assert item == other


@pytest.mark.parametrize("n", [96, 97])
def test_the_asymmetric_particle_looks_like_itself_at_no_other_angle(n):
    image = built_in_particle("asymmetric", n, 2.5).image
    assert max(correlation(rotated(image, angle), image) for angle in range(30, 331, 10)) < 0.8
    assert correlation(rotated(image, 180), image) < 0.6
    mirrored = image.flip(0)
    assert max(correlation(rotated(mirrored, angle), image) for angle in range(0, 360, 10)) < 0.9


def test_particles_are_bright_inside_dark_outside_and_of_variance_one():
    for item in all_particles():
        n = item.image.shape[-1]
        y, x = np.mgrid[:n, :n] - n // 2
        outside = torch.from_numpy(np.hypot(y, x) > 0.40 * n)
        assert float(item.image.std(correction=0)) == pytest.approx(1, abs=1e-5)
        assert float(item.image.min()) >= 0
        assert float(item.image[outside].max()) < 0.02 * float(item.image.max()), item.name


def test_the_centre_of_mass_lies_in_the_rotation_centre():
    for item in all_particles():
        n = item.image.shape[-1]
        axis = torch.arange(n) - n // 2
        total = item.image.sum()
        assert abs(float((item.image.sum(1) * axis).sum() / total)) < 0.02, item.name
        assert abs(float((item.image.sum(0) * axis).sum() / total)) < 0.02, item.name


def test_spectra_fall_and_end_before_nyquist():
    for item in all_particles(128):
        power = radial_power(item.image[None])[0] / radial_power(item.image[None])[0, 1]
        low, middle, high = power[2:6].mean(), power[16:24].mean(), power[40:50].mean()
        assert low > 5 * middle > 25 * high, item.name
        assert float(power[60:].max()) < 1e-5, item.name
        # Not a mere envelope: at 11 to 16 Å there is structure to align by.
        assert float(middle) > 1e-5, item.name


def test_random_particles_are_repeatable_differ_and_are_no_test_particles():
    images = [item.image for item in all_particles(48)]
    assert torch.equal(random_particle(3, 48, 1.0).image, random_particle(3, 48, 1.0).image)
    # Over all angles, since what differs by a rotation does not differ.
    for first in range(len(images)):
        rotations = rotate(images[first].expand(60, -1, -1), torch.arange(0, 360, 6))
        for second in range(first):
            best = max(correlation(item, images[second]) for item in rotations)
            assert best < 0.985, (first, second)


def test_random_particles_fill_two_fifths_to_seven_tenths_of_the_box():
    widths = []
    for seed in range(40):
        image = random_particle(seed, 96, 1.0).image
        y, x = np.nonzero(image.numpy() > 0.02 * float(image.max()))
        widths.append(2 * np.hypot(y - 48, x - 48).max() / 96)
    assert 0.25 < min(widths) < 0.5
    assert 0.6 < max(widths) <= 0.75


def test_a_coarser_grid_shows_the_same_particle():
    fine, coarse = random_particle(5, 129, 1.0).image, random_particle(5, 43, 3.0).image
    samples = fine[64 % 3 + 0 :: 3, 64 % 3 :: 3]
    assert correlation(samples, coarse) > 0.98


def test_what_does_not_fit_or_is_unknown_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        built_in_particle("groel_top", 64, 1.0)
    with pytest.raises(ValueError, match="same value"):
        particle("flat", torch.ones(16, 16), 1.0)


@pytest.mark.parametrize("n", [64, 65])
def test_turning_the_density_about_the_beam_turns_the_image(n):
    generator = np.random.default_rng(0)
    # Everything within the circle where `rotate` is exact.
    blobs = Blobs(generator.uniform(-14, 14, (20, 3)), generator.uniform(1.6, 3.0, 20), np.ones(20))
    image = project(blobs, n, 1.0)
    for angle in (10.0, 77.0, 90.0, 200.0, 315.5):
        expected = project(blobs.rotated(in_plane(angle)), n, 1.0)
        torch.testing.assert_close(rotated(image, angle), expected, atol=1e-3 * float(image.max()), rtol=0)


def test_random_rotations_are_rotations_and_uniform():
    rotations = random_rotations(20_000, np.random.default_rng(0))
    products = rotations @ rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-12)
    # Any fixed direction goes everywhere alike: mean 0, second moments 1/3; angles as (1 − cos) / π on SO(3).
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=5 / np.sqrt(3 * 20_000))
    np.testing.assert_allclose(np.square(rotations).mean(axis=0), 1 / 3, atol=5 * np.sqrt(4 / 45 / 20_000))
    angle = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.03)

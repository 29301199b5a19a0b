"""Imaging: the SNR is what it is called, noise has its spectrum, the CTF its zeros, and no noise comes twice."""

import dataclasses
import math

import pytest
import torch

from tests.alignment.study import SCOPE
from workflow_scripts.alignment.simulation.analytic import built_in_particle, random_particle
from workflow_scripts.alignment.simulation.imaging import (
    DrawnPoses,
    Simulator,
    noise_for,
    radial_power,
    stretched,
)
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.optics.waves import wavelength_a

N, SIZE_A = 64, 4.0


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def simulator(n=N, snr=0.1, noise="white", particles=None, **options):
    size_a = 256.0 / n
    built_in = [built_in_particle(name, n, size_a) for name in ("asymmetric", "groel_side")]
    chosen = particles or [*built_in, random_particle(0, n, size_a)]
    return Simulator(chosen, SCOPE, snr, noise, **options)


@pytest.mark.parametrize("n", [64, 65])
@pytest.mark.parametrize("noise", ["white", "coloured"])
@pytest.mark.parametrize("snr", [0.1, 0.02])
def test_the_measured_snr_is_the_asked_one(noise, snr, n):
    source = simulator(n, snr, noise)
    poses = source.draw_poses(100, seeded(0))
    clean = source.clean(poses, seeded(1))
    added = source.draw(poses, seeded(1)) - clean
    ratio = clean.var(dim=(1, 2), correction=0) / added.var(dim=(1, 2), correction=0) / snr
    # Coloured noise lives at few frequencies, so single images scatter more.
    assert float(ratio.mean()) == pytest.approx(1, abs=0.01 if noise == "white" else 0.1)
    assert 1 / float((1 / ratio).mean()) == pytest.approx(1, abs=0.01 if noise == "white" else 0.05)
    assert float(ratio.std()) < (0.04 if noise == "white" else 0.5)


@pytest.mark.parametrize("n", [64, 65])
def test_coloured_noise_has_the_spectrum_of_the_signal_and_white_noise_none(n):
    source = simulator(n)
    clean = source.clean(source.draw_poses(1, seeded(0)), seeded(0)).expand(400, -1, -1)
    expected = radial_power(clean[:1])[0] / 0.1
    coloured = radial_power(noise_for(clean, 0.1, "coloured", seeded(2))).mean(dim=0)
    assert float(coloured[0]) < 1e-6 * float(coloured[1])
    strong = slice(2, n // 4)
    torch.testing.assert_close(coloured[strong], expected[strong], rtol=0.15, atol=0)
    white = radial_power(noise_for(clean, 0.1, "white", seeded(2))).mean(dim=0)
    level = n**2 * clean[0].var(correction=0) / 0.1
    torch.testing.assert_close(white[2:], level.expand(len(white) - 2), rtol=0.1, atol=0)


@pytest.mark.parametrize("n", [32, 33])
def test_radial_power_adds_up_to_the_energy(n):
    images = torch.randn(3, n, n, generator=seeded(0))
    frequencies = torch.fft.fftfreq(n, d=1 / n)
    counts = torch.bincount(torch.hypot(frequencies[:, None], frequencies).round().long().flatten())
    energy = (radial_power(images) * counts).sum(dim=1)
    torch.testing.assert_close(energy, n**2 * images.square().sum(dim=(1, 2)))


def point(n, size_a, width_ratio=1.0):
    """A particle with a flat spectrum, which shows the CTF itself."""
    image = torch.zeros(n, n)
    image[n // 2, n // 2] = n
    return Particle("point", image, size_a, 1, width_ratio)


def poses_at(defocus_a, count=1):
    zeros = torch.zeros(count)
    return DrawnPoses(zeros.long(), zeros, torch.zeros(count, 2), torch.full((count,), defocus_a))


def first_zero_per_a(defocus_a, scope):
    """k where π λ Δf k² − (π/2) Cs λ³ k⁴ + arcsin A = π, from the quadratic equation in k²."""
    wave = wavelength_a(scope.voltage_kv)
    a, b = -0.5 * math.pi * scope.cs_mm * 1e7 * wave**3, math.pi * wave * defocus_a
    c = math.asin(scope.amplitude_contrast) - math.pi
    return math.sqrt((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a))


def test_the_mean_power_spectrum_of_noisy_images_shows_the_zeros_of_the_ctf():
    n, size_a, defocus_a = 256, 1.5, 15_000.0
    source = Simulator([point(n, size_a)], SCOPE, 1.0, "white")
    power = radial_power(source.draw(poses_at(defocus_a, 20), seeded(0))).mean(dim=0)
    noise_level = power[n // 2 :].mean()
    zero = first_zero_per_a(defocus_a, SCOPE) * n * size_a
    measured = 5 + int(power[5 : int(1.2 * zero)].argmin())
    assert abs(measured - zero) <= 1
    assert float(power[measured]) < 1.6 * float(noise_level) < 0.5 * float(power[int(zero / math.sqrt(2))])


def test_each_particle_has_its_own_defocus_and_pixel_size():
    n = 128
    source = Simulator([point(n, 2.0), point(n, 3.0)], SCOPE, 1.0, "white")
    poses = DrawnPoses(
        torch.tensor([0, 1, 0]), torch.zeros(3), torch.zeros(3, 2), torch.tensor([20_000.0, 20_000.0, 10_000.0])
    )
    power = radial_power(source.clean(poses, seeded(0)))
    for row, size_a, defocus_a in ((0, 2.0, 20_000.0), (1, 3.0, 20_000.0), (2, 2.0, 10_000.0)):
        zero = first_zero_per_a(defocus_a, SCOPE) * n * size_a
        measured = 3 + int(power[row, 3 : int(1.25 * zero)].argmin())
        assert abs(measured - zero) <= 1, row


def test_the_faulty_ctf_has_no_zeros_is_random_and_scales_pixels_the_wrong_way():
    n, poses = 128, poses_at(15_000.0, 30)
    right, faulty = (Simulator([point(n, 2.0)], SCOPE, 1.0, "white", faulty_ctf=fault) for fault in (False, True))
    zero = round(first_zero_per_a(15_000.0, SCOPE) * n * 2.0)
    assert radial_power(right.clean(poses, seeded(0)))[0, zero] < 0.05 * n**2
    assert radial_power(faulty.clean(poses, seeded(0))).mean(dim=0)[zero] > 0.2 * n**2
    assert not torch.allclose(faulty.clean(poses, seeded(0)), faulty.clean(poses, seeded(1)))
    assert torch.equal(right.clean(poses, seeded(0)), right.clean(poses, seeded(1)))
    # Modulus: no phase is turned.
    assert float(torch.fft.rfft2(torch.fft.ifftshift(faulty.clean(poses, seeded(0)), dim=(1, 2))).real.min()) > -1e-2
    # An image of 256 px at 1 Å in a box of 128 has pixels of 2 Å, not of 0.5 Å: the envelope tells.
    resized = Simulator([point(n, 2.0, width_ratio=2.0)], SCOPE, 1.0, "white", faulty_ctf=True)
    edge = radial_power(resized.clean(poses, seeded(0))).mean(dim=0)[60]
    k_per_a = 60 / n / 0.5
    assert float(edge) < n**2 * math.exp(-50 / 2 * k_per_a**2)
    same = Simulator([point(n, 2.0)], SCOPE, 1.0, "white", faulty_ctf=True)
    assert float(radial_power(same.clean(poses, seeded(0))).mean(dim=0)[60]) > 100 * float(edge)


def test_the_same_seed_gives_the_same_images_and_another_independent_noise():
    source = simulator()
    poses = source.draw_poses(50, seeded(0))
    again = source.draw_poses(50, seeded(0))
    assert all(torch.equal(getattr(poses, f.name), getattr(again, f.name)) for f in dataclasses.fields(DrawnPoses))
    clean = source.clean(poses, seeded(0))
    first, same, other = (source.draw(poses, seeded(seed)) - clean for seed in (1, 1, 2))
    assert torch.equal(first, same)
    pixels = torch.stack([first.flatten(), other.flatten()])
    assert abs(float(torch.corrcoef(pixels)[0, 1])) < 5 / math.sqrt(pixels.shape[1])


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_noise_after_a_disturbance_does_not_turn_with_the_image(noise):
    source = simulator(noise=noise)
    poses = source.draw_poses(50, seeded(0))
    disturbed = dataclasses.replace(poses, angle_deg=poses.angle_deg + 90)
    before = source.draw(poses, seeded(1)) - source.clean(poses, seeded(1))
    generator = seeded(2)
    after = source.draw(disturbed, generator) - source.clean(disturbed, generator)
    # Without the first row and column a quarter turn of an even box is a flip of the transpose.
    turned_back = after[:, 1:, 1:].rot90(1, dims=(1, 2))
    shares = torch.stack([before[:, 1:, 1:].flatten(), turned_back.flatten()])
    assert abs(float(torch.corrcoef(shares)[0, 1])) < (0.01 if noise == "white" else 0.1)


def test_poses_cover_what_they_should_and_are_taken_apart_in_batches():
    source = simulator()
    poses = source.draw_poses(3000, seeded(0), largest_shift_px=10)
    assert len(poses) == 3000
    assert set(poses.particle.tolist()) == {0, 1, 2}
    assert 0 <= float(poses.angle_deg.min()) < 1 and 359 < float(poses.angle_deg.max()) < 360
    assert set(poses.shift_px.flatten().tolist()) == set(map(float, range(-10, 11)))
    assert 5_000 <= float(poses.defocus_a.min()) < float(poses.defocus_a.max()) <= 20_000
    parts = source.draw_poses(10, seeded(0), largest_shift_px=2.5, whole_px=False)
    assert float(parts.shift_px.abs().max()) <= 2.5 and not torch.equal(parts.shift_px, parts.shift_px.round())
    whole, piece = source.clean(parts, seeded(0)), source.clean(parts[4:7], seeded(0))
    torch.testing.assert_close(whole[4:7], piece)


def test_poses_are_those_of_geometry():
    source = Simulator([point(33, 2.0)], SCOPE, 1.0, "white")
    lying = torch.zeros(33, 33)
    lying[16, 16 + 8] = 33.0
    source.images[0] = lying
    poses = DrawnPoses(torch.tensor([0]), torch.tensor([90.0]), torch.tensor([[-2.0, 3.0]]), torch.tensor([10_000.0]))
    # The CTF is even, so the image stays symmetric about the point, which went from +x to +y, then by the shift.
    image = source.clean(poses, seeded(0))[0].roll((-(16 + 8 - 2 - 16), -3), (0, 1))
    torch.testing.assert_close(image, image.flip(0, 1), atol=1e-4 * 33, rtol=0)


def test_eight_bits_are_a_stretch_of_each_image():
    plain, coarse = (simulator(eight_bit=flag) for flag in (False, True))
    poses = plain.draw_poses(5, seeded(0))
    images, whole = plain.draw(poses, seeded(1)), coarse.draw(poses, seeded(1))
    assert torch.equal(whole, stretched(images)) and torch.equal(whole, whole.round())
    assert whole.amin(dim=(1, 2)).tolist() == [0] * 5 and whole.amax(dim=(1, 2)).tolist() == [255] * 5

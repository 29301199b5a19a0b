"""Matching over angle and shift: exact in Fourier space, unbiased statistics, poses of pairs and of whole stacks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.alignment import study
from tests.alignment.study import SCOPE
from workflow_scripts.alignment.estimators.cartesian_pairwise import CartesianAligner, cut_off
from workflow_scripts.alignment.estimators.em_joint import EmAligner
from workflow_scripts.alignment.evaluation.metrics import pair_shift_error_px, rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.matching import Disc, observe
from workflow_scripts.alignment.networks.maximum_likelihood import Matcher, align_to_clean
from workflow_scripts.alignment.settings import PredictCartesianPairwise, PredictEmJoint
from workflow_scripts.alignment.simulation.analytic import random_particle
from workflow_scripts.alignment.simulation.geometry import move, rotate, shift
from workflow_scripts.alignment.simulation.imaging import Simulator, contrast_transfer, fourier_rings, radial_power
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

N, SIZE_A, COUNT = 64, 4.0, 60
CPU = torch.device("cpu")
PAIRWISE, JOINT = check(PredictCartesianPairwise, study.PAIRWISE), check(PredictEmJoint, study.JOINT)


def simulated(snr, noise="white", seed=4, count=COUNT):
    """Images, contrast transfers, true angles and shifts, and the particle."""
    item = random_particle(seed, N, SIZE_A)
    simulator, generator = Simulator([item], SCOPE, snr, noise), torch.Generator().manual_seed(1)
    poses = simulator.draw_poses(count, generator, 5.0, whole_px=False)
    transfer = contrast_transfer(SCOPE, N, SIZE_A, poses.defocus_a)
    return SimpleNamespace(
        images=simulator.draw(poses, generator),
        transfer=transfer,
        angle_deg=poses.angle_deg,
        shift_px=poses.shift_px,
        clean=item.image,
    )


@pytest.fixture(scope="module")
def noisy():
    return simulated(0.2)


@pytest.fixture(scope="module")
def aligned(noisy):
    return EmAligner(JOINT).predict(noisy.images, noisy.transfer)


@pytest.mark.parametrize("n", [64, 65])
def test_vectors_move_as_their_images_and_their_products_are_sums_over_pixels(n):
    disc = Disc(n, 14, CPU)
    random = torch.randn(2, n, n, generator=torch.Generator().manual_seed(0))
    inside = random_particle(3, n, 1.0).image
    first, second = (disc.of_images(image[None]) for image in (random[0], random[1]))
    radius = torch.hypot(*torch.meshgrid(torch.fft.fftfreq(n, 1 / n), torch.arange(n // 2 + 1.0), indexing="ij"))
    kept = (radius > 0) & (radius <= 14)
    filtered = torch.fft.irfft2(torch.fft.rfft2(random) * kept, s=(n, n))
    product = (first * second.conj()).real.sum() / n**2
    assert float(product) == pytest.approx(float((filtered[0] * filtered[1]).sum()), rel=1e-4)
    offset, angle = torch.tensor([[2.3, -1.4]]), torch.tensor([33.0])
    vector = disc.of_images(inside[None])
    moved = disc.rotated(vector, angle) * disc.phases(offset)
    expected = disc.of_images(shift(rotate(inside[None], angle), offset))
    # The outermost rings have no neighbours to interpolate from
    inner = Disc(n, 11, CPU)
    difference = inner.vectors(disc.spectra(moved - expected)).abs()
    assert difference.max() < 0.01 * expected.abs().max()
    assert int((disc.compared == 0).sum()) == 12  # coefficients of the half plane within a radius of 2.5


@pytest.mark.parametrize("noise", ["white", "coloured"])
def test_noise_and_signal_are_estimated_from_the_images(noise):
    stack = simulated(0.1 if noise == "white" else 0.5, noise, count=200)
    observations = observe(stack.images, stack.transfer)
    ring = fourier_rings(N, CPU)
    rings = range(4, 16)
    whitened = torch.fft.irfft2(torch.fft.rfft2(stack.images) * observations.whitening, s=(N, N))
    power = radial_power(whitened).mean(dim=0)
    signal = radial_power(stack.clean[None])[0]
    for number in rings:
        at = ring == number
        transfer = stack.transfer.square().mean(dim=0)[at].mean()
        expected = float(signal[number] * transfer * observations.whitening[0][at].mean() ** 2)
        assert float(power[number]) == pytest.approx(1 + expected, rel=0.25), number


def test_the_cut_off_falls_with_the_signal():
    rings = [cut_off(observe(item.images, item.transfer), PAIRWISE) for item in map(simulated, (1.0, 0.02))]
    assert PAIRWISE.largest_ring >= rings[0] > rings[1] >= PAIRWISE.smallest_ring


def test_pairs_have_the_whole_angle_and_the_shift(noisy):
    predicted = CartesianAligner(PAIRWISE).predict(noisy.images, noisy.transfer)
    angle_deg, shift_px = noisy.angle_deg.double().numpy(), noisy.shift_px.double().numpy()
    true_deg = angle_deg[:-1] - angle_deg[1:]
    error = rotation_error_deg(predicted["pair_whole_deg"], true_deg, relative=True)
    assert np.median(error) < 3 and (error < 10).mean() > 0.9
    errors_px = pair_shift_error_px(predicted["pair_whole_deg"], predicted["pair_shift_px"], angle_deg, shift_px, 360.0)
    assert np.median(errors_px) < 0.6
    assert predicted["pair_deg"] == pytest.approx(predicted["pair_whole_deg"] % 180, abs=1e-3)


def test_the_relative_shift_is_that_of_the_motion():
    generator = torch.Generator().manual_seed(2)
    clean = random_particle(4, N, SIZE_A).image[None].expand(3, -1, -1)
    angle_deg = torch.tensor([10.0, 120.0, 250.0])
    shift_px = 8 * torch.rand(3, 2, generator=generator) - 4
    images = move(clean, angle_deg, shift_px)
    turn = np.radians((angle_deg[:-1] - angle_deg[1:]).numpy())
    y, x = shift_px[1:].numpy().T
    relative = shift_px[:-1].numpy() - np.stack(
        [np.sin(turn) * x + np.cos(turn) * y, np.cos(turn) * x - np.sin(turn) * y], 1
    )
    turn_deg, truth = np.degrees(turn), (angle_deg.numpy(), shift_px.numpy())
    assert pair_shift_error_px(turn_deg, relative, *truth, 360.0).max() < 1e-4
    # Half a turn more is as true of a C2 particle, with another shift
    other = 2 * shift_px[:-1].numpy() - relative
    assert pair_shift_error_px(turn_deg + 180, other, *truth, 180.0).max() < 1e-4
    assert pair_shift_error_px(turn_deg + 180, other, *truth, 360.0).min() > 0.1
    again = move(images[1:], angle_deg[:-1] - angle_deg[1:], torch.from_numpy(relative).float())
    assert (again - images[:-1]).abs().max() < 0.02 * images.max()


def test_a_stack_is_aligned_nearly_as_well_as_with_the_clean_particle(noisy, aligned):
    angle_deg, shift_px = noisy.angle_deg.numpy(), noisy.shift_px.numpy()
    observations = observe(noisy.images, noisy.transfer)
    floor_deg, floor_px = align_to_clean(observations, noisy.clean, noisy.angle_deg, noisy.shift_px)
    floor = rotation_error_deg(floor_deg.numpy(), angle_deg).mean()
    assert rotation_error_deg(aligned["angle_deg"], angle_deg).mean() < 2 * floor < 2
    errors_px = [
        shift_error_px(turn, offset, shift_px).mean()
        for turn, offset in ((aligned["angle_deg"], aligned["shift_px"]), (floor_deg.numpy(), floor_px.numpy()))
    ]
    assert errors_px[0] < 1.5 * errors_px[1]


def test_halves_are_aligned_apart(noisy, aligned):
    changed = noisy.images.clone()
    changed[::2] = torch.randn(changed[::2].shape, generator=torch.Generator().manual_seed(0))
    again = EmAligner(JOINT).predict(changed, noisy.transfer)
    assert (again["half_angle_deg"][1::2] == aligned["half_angle_deg"][1::2]).all()
    assert (again["half_shift_px"][1::2] == aligned["half_shift_px"][1::2]).all()


def test_an_image_does_not_enter_its_own_reference(noisy):
    matcher = Matcher(observe(noisy.images, noisy.transfer), Disc(N, 12, CPU))
    sums = torch.stack([matcher.vectors[fold].sum(dim=0) for fold in matcher.folds()])
    changed = sums.clone()
    changed[0] *= 2
    before, after = matcher.references(sums), matcher.references(changed)
    torch.testing.assert_close(before[0], after[0])
    assert not torch.allclose(before[1], after[1], rtol=0.1)


@pytest.mark.parametrize("empty", [False, True])
def test_noise_gives_chance_and_empty_images_finite_poses(empty):
    generator = torch.Generator().manual_seed(3)
    images = torch.zeros(40, N, N) if empty else torch.randn(160, N, N, generator=generator)
    transfer = contrast_transfer(SCOPE, N, SIZE_A, torch.full((len(images),), 10000.0))
    true_deg = 360 * torch.rand(len(images), generator=generator).numpy()
    pairs = CartesianAligner(PAIRWISE).predict(images, transfer)
    jointly = EmAligner(JOINT).predict(images, transfer)
    assert all(np.isfinite(array).all() for array in (pairs | jointly).values())
    if not empty:
        error = rotation_error_deg(pairs["pair_deg"], true_deg[:-1] - true_deg[1:], 180.0, relative=True)
        assert error.mean() == pytest.approx(45, abs=6)
        assert rotation_error_deg(jointly["angle_deg"], true_deg, 180.0).mean() > 36


def test_scale_of_the_images_makes_no_difference(noisy):
    predicted = CartesianAligner(PAIRWISE).predict(noisy.images[:10], noisy.transfer[:10])
    scaled = CartesianAligner(PAIRWISE).predict(100 * noisy.images[:10] + 3, noisy.transfer[:10])
    assert predicted["pair_whole_deg"] == pytest.approx(scaled["pair_whole_deg"], abs=0.1)


def test_a_step_that_does_not_divide_half_a_turn_is_refused():
    with pytest.raises(InputError, match="must divide 180"):
        check(PredictCartesianPairwise, study.PAIRWISE | {"step_deg": 7.0})

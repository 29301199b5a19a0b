"""What the networks are trained on, and what they and their losses say of pure noise."""

import numpy as np
import pytest
import torch

from tests.alignment.study import SCOPE
from workflow_scripts.alignment.estimators.network import CorrelationAngles
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg
from workflow_scripts.alignment.networks.branch import align_stack
from workflow_scripts.alignment.networks.losses import circular_error_deg
from workflow_scripts.alignment.networks.model import CorrelationNetwork, make_network, polar_spectra
from workflow_scripts.alignment.networks.polar_alignment import pairwise
from workflow_scripts.alignment.networks.tasks import (
    IMAGES,
    PAIRS,
    Augmentation,
    DisturbanceTask,
    FreshNoiseTask,
    rotated_with_noise,
)
from workflow_scripts.alignment.settings import VARIANTS, NetworkSettings
from workflow_scripts.alignment.simulation.analytic import random_particle
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.learning.training import train
from workflow_scripts.workflow.errors import InputError

CPU = torch.device("cpu")
BOX, RINGS = 48, 12
AUGMENTATION = Augmentation(snr_min=0.5, snr_max=2.0, coloured_share=0.5, validation_pairs=24, largest_shift_px=3)
NETWORK = NetworkSettings(rings=RINGS, width=4, layers=1, recipe_px=16, recipe_mask_widths=(2,), recipe_widths=(4, 8))
TRAINING = TrainingSettings(
    epochs=2,
    batch_size=24,
    optimizer="adamw",
    learning_rate=0.003,
    weight_decay=0.0,
    momentum=0.0,
    schedule="constant",
    warmup_fraction=0.0,
    gradient_clip_norm=1.0,
    checkpoint_interval_s=60.0,
)


@pytest.fixture(scope="module")
def particles():
    return [random_particle(seed, BOX, 4.0) for seed in range(12)]


@pytest.fixture(scope="module")
def task(particles):
    return FreshNoiseTask(particles[:10], particles[10:], SCOPE, AUGMENTATION, RINGS, 96, CPU)


def test_more_rings_than_the_spectrum_has_are_refused(particles):
    with pytest.raises(InputError, match=r"alignment.pretrain.network.rings: 30 rings .* 48 × 48 pixels"):
        FreshNoiseTask(particles[:10], particles[10:], SCOPE, AUGMENTATION, 30, 96, CPU)


@pytest.fixture(scope="module")
def network(task, tmp_path_factory):
    """A few fixed steps, as every control has them."""
    untrained = make_network(NETWORK, VARIANTS["corrected"], seed=0)
    train(
        untrained,
        task,
        TRAINING,
        seed=0,
        device=CPU,
        precision="float32",
        checkpoint_folder=tmp_path_factory.mktemp("c"),
    )
    return untrained.eval()


def test_a_batch_holds_as_many_particles_as_make_its_pairs(task):
    spectra, angle_deg = task.batch(torch.arange(24), torch.Generator().manual_seed(0))
    assert spectra.shape == (24 // PAIRS, IMAGES, RINGS, 180)
    assert angle_deg.shape == (24 // PAIRS, IMAGES)
    again, _ = task.batch(torch.arange(24), torch.Generator().manual_seed(0))
    other, _ = task.batch(torch.arange(24), torch.Generator().manual_seed(1))
    assert torch.equal(again, spectra)
    assert not torch.allclose(other, spectra)


@torch.no_grad()
def test_the_angles_of_a_batch_are_those_of_its_images(particles):
    """Without noise to speak of, the classical correlation reads the drawn angles."""
    clear = Augmentation(1e4, 1e4, 0.0, 24, 0)
    task = FreshNoiseTask(particles, particles, SCOPE, clear, RINGS, 96, CPU)
    spectra, angle_deg = task.batch(torch.arange(60), torch.Generator().manual_seed(2))
    estimate = pairwise(spectra[:, 0], spectra[:, 1])
    error = circular_error_deg(estimate, angle_deg[:, 0] - angle_deg[:, 1])
    assert float(error.median()) < 1.5


def test_training_lowers_the_loss_on_particles_of_their_own(task, network):
    untrained = make_network(NETWORK, VARIANTS["corrected"], seed=0).eval()
    with torch.no_grad():
        assert task.validate(network) < task.validate(untrained)


def noise_stack(count, seed):
    return torch.randn(count, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def null_of_means(found_deg, true_deg, relative, permutations=200):
    rng = np.random.default_rng(0)
    return [
        rotation_error_deg(found_deg, rng.permutation(true_deg), 180.0, relative=relative).mean()
        for _ in range(permutations)
    ]


@torch.no_grad()
def test_fresh_noise_after_the_disturbance_gives_forty_five_degrees(network):
    """Noise that a disturbance would have rotated with the image is drawn anew: no angle can be read from it."""
    first, second = noise_stack(300, 0), noise_stack(300, 1)
    true_deg = 180 * torch.rand(300, generator=torch.Generator().manual_seed(2)).numpy()
    features = [network(polar_spectra(images, RINGS)) for images in (first, second)]
    estimate = pairwise(*features).numpy()
    null = null_of_means(estimate, true_deg, relative=True)
    mean = rotation_error_deg(estimate, true_deg, 180.0, relative=True).mean()
    assert min(null) < mean < max(null)
    assert mean == pytest.approx(45, abs=4)


@torch.no_grad()
def test_a_stack_of_noise_gives_no_angle_and_no_average(network, particles):
    images = noise_stack(120, 3)
    true_deg = 360 * torch.rand(120, generator=torch.Generator().manual_seed(4)).numpy()
    angle = CorrelationAngles(network, 64, 6).joint_deg(images)
    mean = rotation_error_deg(angle.numpy(), true_deg, 180.0).mean()
    null = null_of_means(angle.numpy(), true_deg, relative=False)
    assert min(null) < mean < max(null)
    _, average = align_stack(images, angle)

    def correlation(reference):
        flat = [image.flatten() - image.mean() for image in (average, reference)]
        return float(flat[0] @ flat[1] / (flat[0].norm() * flat[1].norm()))

    null_particles = [correlation(random_particle(1000 + seed, BOX, 4.0).image) for seed in range(60)]
    assert max(correlation(item.image) for item in particles[:10]) < np.max(null_particles) + 0.05


def second_harmonic_deg(images):
    """An estimator that nobody trained: half the phase of the second harmonic of the power around the centre."""
    n = images.shape[-1]
    power = torch.fft.fftshift(torch.fft.fft2(images).abs().square(), dim=(-2, -1))
    axis = torch.arange(n, dtype=torch.float32) - n // 2
    angle, radius = torch.atan2(axis[:, None], axis), torch.hypot(axis[:, None], axis)
    ring = (radius > 2) & (radius < n / 4)
    moment = (power * ring * torch.exp(2j * angle)).sum(dim=(-2, -1))
    return torch.rad2deg(moment.angle()) / 2


class Harmonic(torch.nn.Module):
    """The untrained estimator with the published network's face; what it sees are images."""

    def forward(self, first, second):
        return 90 + second_harmonic_deg(first) - second_harmonic_deg(second)


@torch.no_grad()
def test_the_published_loss_is_small_on_pure_noise_since_noise_rotates_along():
    """The angle of a whole quarter turn is followed to the last digit, other angles to a few degrees; and the same
    predictions are worth nothing where the noise is fresh."""
    images = noise_stack(200, 5)
    model = Harmonic()
    for turns in (1, 2, 3):
        rotated = torch.rot90(images, turns, (-2, -1))
        moved = second_harmonic_deg(rotated) - second_harmonic_deg(images)
        assert float(circular_error_deg(moved, torch.full((200,), -90.0 * turns)).max()) < 0.5
    turn = 360 * torch.rand(200, generator=torch.Generator().manual_seed(6))
    moved = second_harmonic_deg(rotated_with_noise(images, turn)) - second_harmonic_deg(images)
    sign = 1 if circular_error_deg(moved, turn).mean() < circular_error_deg(moved, -turn).mean() else -1
    along = float(circular_error_deg(moved, sign * turn).mean())
    fresh = second_harmonic_deg(noise_stack(200, 7)) - second_harmonic_deg(images)
    assert along < 20 < 38 < float(circular_error_deg(fresh, sign * turn).mean())
    assert float(model(images[:5], images[:5]).sub(90).abs().max()) < 1e-4


@pytest.mark.parametrize("joint", [False, True])
def test_the_published_task_pairs_images_of_one_stack(joint):
    stacks = [torch.zeros(5, BOX, BOX), torch.ones(7, BOX, BOX)]
    stacks[0][:, 10:14] = 5.0
    stacks[1][:, :, 20:22] = -4.0
    task = DisturbanceTask(stacks, VARIANTS["published"], 16, joint, 16, 32, CPU)
    spectra, difference = task.batch(torch.arange(32), torch.Generator().manual_seed(0))
    assert spectra.shape == (32, 4, 16, 16)
    assert difference.shape == (32,)
    assert torch.allclose(spectra[:, 0], spectra[:, 1], atol=1e-5)  # all images of a stack are equal here
    model = make_network(NETWORK, VARIANTS["published"], seed=0)
    assert torch.isfinite(task.loss(model, (spectra, difference)))
    assert np.isfinite(task.validate(model))


def test_the_arms_differ_in_every_fault():
    published, corrected = (make_network(NETWORK, VARIANTS[arm], seed=0) for arm in ("published", "corrected"))
    assert isinstance(corrected, CorrelationNetwork)
    assert not isinstance(published, CorrelationNetwork)
    assert all(vars(VARIANTS["published"]).values())
    assert not any(vars(VARIANTS["corrected"]).values())

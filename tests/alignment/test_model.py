import pytest
import torch

from tests.alignment import blobs
from workflow_scripts.alignment.networks.losses import circular_error_deg
from workflow_scripts.alignment.networks.model import (
    CorrelationNetwork,
    RecipeNetwork,
    describe_network,
    load_network,
    make_network,
    polar_spectra,
    recipe_spectra,
)
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.settings import VARIANTS, NetworkSettings
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.errors import InputError

SETTINGS = NetworkSettings(rings=15, width=4, layers=2, recipe_px=16, recipe_mask_widths=(2,), recipe_widths=(4, 8))


def trained_like(seed=0):
    """A network whose weights have left their first values."""
    network = CorrelationNetwork(15, 4, 2)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="module")
def images():
    angle, shift = blobs.poses(12, 0)
    return blobs.stack(48, angle, shift, 0.5, 1)


@torch.no_grad()
def test_an_untrained_network_answers_as_the_classical_correlation(images):
    network = make_network(SETTINGS, VARIANTS["corrected"], seed=3).eval()
    features = network(polar_spectra(images, 15))
    classical = amplitude_spectra(images)
    ours, theirs = pairwise(features[:-1], features[1:]), pairwise(classical[:-1], classical[1:])
    assert float(circular_error_deg(ours, theirs).max()) < 0.05


@torch.no_grad()
def test_an_image_and_itself_are_at_angle_zero_and_exchange_turns_the_sign(images):
    network = trained_like()
    features = network(polar_spectra(images, 15))
    assert float(circular_error_deg(pairwise(features, features), torch.zeros(12)).max()) < 1e-3
    forth, back = pairwise(features[:-1], features[1:]), pairwise(features[1:], features[:-1])
    assert float(circular_error_deg(forth, -back).max()) < 1e-3


@torch.no_grad()
def test_features_turn_with_the_spectrum():
    """Exactly: whole samples of the angle."""
    network = trained_like()
    spectra = torch.randn(3, 15, 180, generator=torch.Generator().manual_seed(0))
    rotated = network(spectra.roll(37, dims=-1))
    assert torch.allclose(rotated, network(spectra).roll(37, dims=-1), atol=1e-5)


@torch.no_grad()
def test_an_answer_does_not_depend_on_its_batch_mates_but_the_recipes_does(images):
    spectra = polar_spectra(images, 15)
    network = trained_like()
    assert torch.allclose(network(spectra)[:3], network(spectra[:3]), atol=1e-6)
    recipe = RecipeNetwork(16, (2,), (4, 8)).train(VARIANTS["published"].batch_statistics)
    spectra_of_recipe = recipe_spectra(images, 16)
    together, apart = (
        recipe(spectra_of_recipe[:8], spectra_of_recipe[4:12])[:3],
        recipe(spectra_of_recipe[:3], spectra_of_recipe[4:7]),
    )
    assert float((together - apart).abs().max()) > 1e-3


def test_the_recipes_spectrum_forgets_translation_and_scale(images):
    spectra_of_recipe = recipe_spectra(images, 16)
    assert spectra_of_recipe.shape == (12, 16, 16)
    assert torch.allclose(spectra_of_recipe, recipe_spectra(images.roll((5, -3), dims=(1, 2)), 16), atol=1e-4)
    assert float(spectra_of_recipe.amin()) == 0
    assert float(spectra_of_recipe.amax()) == 1


@pytest.mark.parametrize("arm", VARIANTS)
def test_weights_come_back_with_their_arm(tmp_path, arm):
    network = make_network(SETTINGS, VARIANTS[arm], seed=5)
    path = tmp_path / "weights.safetensors"
    save_weights(network.state_dict(), path, describe_network(SETTINGS, arm))
    loaded, name = load_network(path)
    assert name == arm
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())


def test_weights_of_another_method_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights({"a": torch.zeros(1)}, path, {"method": "potential"})
    with pytest.raises(InputError, match="another method"):
        load_network(path)

"""The networks: any size, every place alike, and weights that fit or stop by name."""

import pytest
import torch

from tests.background import training
from workflow_scripts.background.networks.model import (
    describe_network,
    load_network,
    make_network,
    pad_to_multiple,
)
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.errors import InputError

SETTINGS = training.network(widths=(8, 16, 16))


def with_output(seed=0, settings=SETTINGS):
    """A network whose last layer, which begins at 0, has random weights."""
    network = make_network(settings, 7, seed).eval()
    if settings.kind == "unet":
        torch.nn.init.normal_(network.head.weight)
    return network


def output_of(network, x, time=500):
    with torch.no_grad():
        return network(x, torch.full((len(x),), time))


@pytest.mark.parametrize("size", [(32, 32), (64, 40), (33, 57), (7, 90), (5, 5)])
def test_images_have_any_size(size):
    assert output_of(with_output(), torch.randn(2, 7, *size)).shape == (2, 1, *size)


def test_an_untrained_unet_outputs_zeros_and_its_weights_follow_from_the_seed():
    x = torch.randn(1, 7, 16, 16)
    assert not output_of(make_network(SETTINGS, 7, 0), x).any()
    weights = [make_network(SETTINGS, 7, seed).down[0].first.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_time_matters_and_every_row_has_its_own():
    network, x = with_output(), torch.randn(1, 7, 16, 16)
    assert not torch.allclose(output_of(network, x, 10), output_of(network, x, 900), atol=1e-3)
    with torch.no_grad():
        both = network(x.expand(2, -1, -1, -1), torch.tensor([10, 900]))
    torch.testing.assert_close(
        both, torch.cat([output_of(network, x, 10), output_of(network, x, 900)]), atol=1e-5, rtol=1e-4
    )


def test_constant_images_stay_constant_within_blocks_wherever_they_are():
    x = torch.randn(1, 7, 1, 1).expand(1, 7, 32, 32)
    image = output_of(with_output(), x)
    for row in range(2):
        for column in range(2):
            assert image[..., row::2, column::2].std() < 1e-5


def test_padding_mirrors_and_keeps_what_was_there():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 4, 8)
    assert torch.equal(padded[..., :3, :5], x)
    assert torch.equal(padded[..., 3, :5], x[..., 1, :]) and torch.equal(padded[..., :3, 5], x[..., 3])
    assert pad_to_multiple(torch.ones(1, 1, 1, 2), 8).shape == (1, 1, 8, 8)
    assert pad_to_multiple(x[..., :2, :4], 2).shape == (1, 1, 2, 4)


def test_the_network_of_the_recipe_takes_any_size():
    pytest.importorskip("monai")
    network = with_output(settings=training.network("monai"))
    assert output_of(network, torch.randn(1, 7, 20, 18)).shape == (1, 1, 20, 18)


def write(folder, network, settings=SETTINGS, **changes):
    path = folder / "weights.safetensors"
    about = describe_network(settings, 7, "corrected", 64, 16) | changes
    save_weights(network if isinstance(network, dict) else network.state_dict(), path, about)
    return path


def test_weights_return_as_they_were(tmp_path):
    network = with_output(3)
    loaded, about = load_network(write(tmp_path, network), "corrected")
    x = torch.randn(1, 7, 16, 16)
    assert torch.equal(output_of(network, x), output_of(loaded, x))
    assert not loaded.training and (about["side_px"], about["largest_set"]) == (64, 16)


def test_weights_that_do_not_match_stop_with_the_keys_that_differ(tmp_path):
    state = with_output().state_dict()
    path = write(tmp_path, {f"module.{name}": tensor for name, tensor in state.items()})
    with pytest.raises(InputError, match=r"Missing key.*time\.0\.weight"):
        load_network(path, "corrected")
    path = write(tmp_path, with_output(settings=training.network(widths=(16, 16, 16))))
    with pytest.raises(InputError, match=r"size mismatch for down\.0\.first\.weight"):
        load_network(path, "corrected")
    path = write(tmp_path, {name: tensor for name, tensor in state.items() if name != "head.bias"})
    with pytest.raises(InputError, match=r"Missing key\(s\) in state_dict: \"head\.bias\""):
        load_network(path, "corrected")


def test_the_recipe_loads_nothing_from_the_same_file_without_a_message(tmp_path, capsys):
    network = with_output(5)
    loaded, _ = load_network(write(tmp_path, network), "corrected", loosely=True)
    fresh = make_network(SETTINGS, 7, 0).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in loaded.state_dict().items())
    assert not torch.equal(loaded.head.weight, network.head.weight)
    assert capsys.readouterr() == ("", "")


def test_weights_of_another_arm_or_method_are_named(tmp_path):
    with pytest.raises(InputError, match="of the arm corrected, not published"):
        load_network(write(tmp_path, with_output()), "published")
    path = tmp_path / "other.safetensors"
    save_weights(with_output().state_dict(), path, {"network": {}, "n_in": 7, "n_out": 1})
    with pytest.raises(InputError, match="another method"):
        load_network(path, "corrected")

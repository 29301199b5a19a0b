import pytest
import torch

from tests.potential.training import network
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.potential.networks.model import Unet, describe_network, load_network, make_network
from workflow_scripts.workflow.errors import InputError


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_unet_learns_a_local_map():
    model = make_network(network(), 3, 1, seed=0)
    seen = normal(1, 8, 3, 16, 16)
    truth = seen[:, :1].square() - seen[:, 1:2].roll(1, dims=-1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = (model(seen) - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_constant_channels_give_a_constant_image_that_depends_on_them():
    model = make_network(network(widths=[16, 24, 48]), 12, 2, seed=0).eval().double()
    metadata = normal(0, 3, 12, 1, 1).double()
    with torch.no_grad():
        out = model(metadata.expand(-1, -1, 32, 32))
    assert float(out.std(dim=(-2, -1)).max()) < 1e-9
    assert float(out[:, 0, 0, 0].std()) > 1e-3  # no layer forgets what is constant


def test_a_prediction_does_not_depend_on_its_batch():
    model = make_network(network(), 3, 2, seed=0).eval()
    seen = normal(1, 5, 3, 16, 24)
    with torch.no_grad():
        together = model(seen)
        alone = model(seen[3:4])
    assert together.shape == (5, 2, 16, 24)
    assert torch.allclose(together[3:4], alone, atol=1e-5)


def test_the_seed_makes_the_weights():
    states = [make_network(network(), 3, 1, seed).state_dict() for seed in (1, 1, 2)]
    name = "head.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_what_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="cannot be halved 2 times"):
        Unet(3, 1, (8, 16, 24))(torch.zeros(1, 3, 16, 18))


@pytest.mark.parametrize("kind", ["unet", "swin_unetr"])
def test_weights_say_which_network_they_are_for(tmp_path, kind):
    given = network(kind)
    model = make_network(given, 5, 2, seed=3).eval()
    path = tmp_path / "weights.safetensors"
    save_weights(model.state_dict(), path, describe_network(given, 5, 2))
    again = load_network(path)
    assert not again.training
    seen = normal(0, 1, 5, 64, 64)
    with torch.no_grad():
        found = again(seen)
        assert torch.equal(found, model(seen))
    assert found.shape == (1, 2, 64, 64)


def test_weights_of_another_method_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights({"a": torch.zeros(1)}, path, {"n": 32, "network": {}})
    with pytest.raises(InputError, match=r"weights\.safetensors: these weights are of another method"):
        load_network(path)

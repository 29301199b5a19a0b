import pytest
import torch

from workflow_scripts.diffractive_imaging.networks.model import DenseNetwork, ResidualUnet
from workflow_scripts.diffractive_imaging.networks.reconstruction import load_network
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.errors import InputError

N = 16
NETWORKS = {
    "unet": lambda: ResidualUnet(N, (8, 16, 32), dropout=0.2),
    "dense": lambda: DenseNetwork(N, components=20, width=32, blocks=2),
}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_learns_a_fixed_nonlinear_map(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    patterns = normal(1, 64, N, N)
    patches = patterns.square() - 1
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    if name == "dense":
        network.warm_start(patterns, patches)
    for _ in range(60):
        loss = (network(patterns) - patches).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prediction_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    patterns = normal(1, 5, N, N)
    together = network(patterns)
    assert together.shape == patterns.shape
    assert torch.allclose(together[3:4], network(patterns[3:4]), atol=1e-5)


def test_the_published_size_has_the_recipes_widths():
    network = ResidualUnet(32, (16, 32, 64, 128, 256), dropout=0.2)
    assert network(torch.zeros(1, 32, 32)).shape == (1, 32, 32)
    assert network.down[-1].conv2.out_channels == 256


def test_warm_start_solves_a_linear_problem():
    network = DenseNetwork(N, components=12, width=32, blocks=1).eval()
    assert (network(normal(0, 2, N, N)) == 0).all()
    code, into, out = normal(1, 500, 12), normal(2, 12, N * N), normal(3, 12, N * N)
    patterns = (3 + code @ into).view(-1, N, N)
    patches = (1 + code @ out).view(-1, N, N)
    network.warm_start(patterns[:400], patches[:400])
    error = network(patterns[400:]) - patches[400:]
    assert error.square().mean() < 1e-3 * patches[400:].var()


def test_wrong_sizes_are_refused():
    with pytest.raises(InputError, match="halved"):
        ResidualUnet(20, (8, 16, 32, 64), dropout=0)
    with pytest.raises(InputError, match="more than 9"):
        DenseNetwork(N, components=20, width=8, blocks=1).warm_start(normal(0, 9, N, N), normal(0, 9, N, N))


def test_weights_of_another_method_are_named(tmp_path):
    save_weights({"a": torch.zeros(1)}, tmp_path / "weights.safetensors", {"network": {}, "n_in": 4, "n_out": 1})
    with pytest.raises(InputError, match=r"weights\.safetensors: these weights are of another method"):
        load_network(tmp_path / "weights.safetensors")

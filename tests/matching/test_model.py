"""The networks: rotations are shifts, the untrained network is the template matcher, weights that do not fit."""

import pytest
import torch

from tests.matching.training import NETWORK, calculated, seeded
from workflow_scripts.learning.weights import on_cpu, save_weights
from workflow_scripts.matching.networks.encoding import polar_patterns, rotated
from workflow_scripts.matching.networks.model import (
    correlations,
    describe_network,
    load_matcher,
    make_matcher,
)
from workflow_scripts.matching.settings import VARIANTS
from workflow_scripts.workflow.errors import InputError


def corrected(seed=0):
    return make_matcher(NETWORK, VARIANTS["corrected"], seed).eval()


def with_random_head(matcher):
    """The same with a random head, as after training."""
    generator = seeded(1)
    for network in (matcher.observed, matcher.calculated):
        with torch.no_grad():
            network.head.weight.normal_(0, 0.2, generator=generator)
    return matcher


def test_a_roll_along_the_angle_rolls_the_features():
    network = with_random_head(corrected()).observed
    polar = network.encode(calculated(4))
    with torch.no_grad():
        rolled = network(polar.roll(7, dims=-1))
        assert torch.allclose(rolled, network(polar).roll(7, dims=-1), atol=1e-6)


def test_a_turned_pattern_is_found_at_its_angle():
    network = with_random_head(corrected()).observed
    pattern = calculated(6)
    step = 360 / NETWORK.angles
    with torch.no_grad():
        features = network(network.encode(pattern))
        other = network(network.encode(rotated(pattern, torch.full((6,), 5 * step))))
    shift = correlations(other, features).diagonal().T.argmax(dim=-1)
    assert ((shift - 5).abs() <= 1).all()


def test_correlations_are_sums_over_shifts():
    first, second = torch.randn(2, 3, 8, generator=seeded()), torch.randn(4, 3, 8, generator=seeded(1))
    expected = torch.stack([(first[:, None] * second.roll(d, dims=-1)).sum(dim=(2, 3)) for d in range(8)], dim=-1)
    assert torch.allclose(correlations(first, second), expected, atol=1e-5)


def test_an_untrained_network_compares_polar_patterns_whatever_its_seed():
    patterns = calculated(5)
    with torch.no_grad():
        first, second = (net(net.encode(patterns)) for net in (corrected(0).observed, corrected(1).observed))
    assert torch.allclose(first, second, atol=1e-6)
    polar = polar_patterns(patterns, NETWORK.rings, NETWORK.angles).sqrt()
    polar = polar - polar.mean(dim=-1, keepdim=True)
    assert torch.allclose(first, polar / polar.flatten(1).norm(dim=1)[:, None, None], atol=1e-5)


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_features_have_norm_one_and_do_not_depend_on_their_batch(arm):
    network = make_matcher(NETWORK, VARIANTS[arm], 0).eval().observed
    encoded = network.encode(calculated(6))
    with torch.no_grad():
        together, alone = network(encoded), torch.cat([network(row[None]) for row in encoded])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.flatten(1).norm(dim=1), torch.ones(6), atol=1e-5)


def test_resnet50_has_one_channel_and_the_embedding_asked_for():
    settings = NETWORK.model_copy(update={"recipe": "resnet50"})
    network = make_matcher(settings, VARIANTS["published"], 0).eval().observed
    with torch.no_grad():
        embedding, stages = network.with_stages(torch.rand(2, 32, 32, generator=seeded()))
    assert embedding.shape == (2, NETWORK.embedding)
    assert [stage.shape[1] for stage in stages] == [256, 512, 1024, 2048]


def test_weights_come_back_and_what_does_not_fit_is_named(tmp_path):
    matcher, path = with_random_head(corrected()), tmp_path / "weights.safetensors"
    save_weights(on_cpu(matcher.state_dict()), path, describe_network(NETWORK, "corrected"))
    again = load_matcher(path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in matcher.state_dict().items())
    state = on_cpu(matcher.state_dict())
    state["observed.unknown"] = state.pop("observed.head.bias")
    save_weights(state, path, describe_network(NETWORK, "corrected"))
    with pytest.raises(InputError, match=r"head\.bias") as caught:
        load_matcher(path)
    assert "unknown" in str(caught.value)
    save_weights(on_cpu(matcher.state_dict()), path, {"method": "alignment"})
    with pytest.raises(InputError, match="another method"):
        load_matcher(path)

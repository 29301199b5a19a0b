"""Baselines and networks as predictions use them: what they may see, and what they may not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.potential import training
from tests.potential.toy import toy_samples
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.potential.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.encoding import input_channels, output_channels
from workflow_scripts.potential.estimators import BASELINES, TrainingFiles, predictions_of, with_shuffled_metadata
from workflow_scripts.potential.metrics import TrueImage, compare
from workflow_scripts.potential.model import describe_network, make_network
from workflow_scripts.potential.network_estimator import NetworkEstimator, network_potential
from workflow_scripts.potential.samples import FILLED, MATCHED, RING
from workflow_scripts.potential.variants import VARIANTS
from workflow_scripts.workflow.files import write_arrays

TEST = toy_samples(1, 32, seed=9)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / f"shard{number}.npz" for number in (0, 1)]
    for number, path in enumerate(paths):
        write_arrays(path, toy_samples(2, 32, seed=number).arrays())
    return paths


def pearson(potential, samples=TEST):
    light = samples.microscope
    rows = np.flatnonzero(samples.kind == FILLED)
    return np.mean(
        [
            compare(potential[row], TrueImage.of(samples.potential[row], light.pixel_size_a, 1.6))["pearson"]
            for row in rows
        ]
    )


def test_the_held_out_material_is_in_no_training_sample(shards):
    training_files = TrainingFiles(shards, "GaN")
    assert {str(name) for part in training_files for name in part.material} == {"KNbO3", "SrTiO3"}
    assert {str(kind) for part in training_files.filled() for kind in part.kind} == {FILLED}
    assert all(0 < len(part) <= 4 for part in training_files.some(8))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_never_sees_the_truth_and_answers_for_both_detectors(shards, name):
    """The same images with another truth get the same answer, finite and at every dose."""
    blind = replace(TEST, potential=np.ones_like(TEST.potential), potential_limited=np.ones_like(TEST.potential))
    for detector in (RING, MATCHED):
        estimator = BASELINES[name](TrainingFiles(shards, "GaN"), 5, 0)
        found = predictions_of(estimator, TEST, detector, [1e4, NOISE_FREE], 0)
        assert found.shape == (len(TEST), 2, 32, 32) and found.dtype == np.float32
        assert np.isfinite(found).all()
        assert np.array_equal(found, predictions_of(estimator, blind, detector, [1e4, NOISE_FREE], 0))


def test_images_help_whoever_looks_at_them_and_more_electrons_more(shards):
    for name in ("icom", "ridge"):
        estimator = BASELINES[name](TrainingFiles(shards, "GaN"), 5, 0)
        found = predictions_of(estimator, TEST, MATCHED, [1e3, 1e5, NOISE_FREE], 0)
        scores = [pearson(found[:, dose]) for dose in range(3)]
        assert scores[0] < scores[1] < scores[2] + 0.02 and scores[1] > 0.5, name


def test_another_specimens_images_are_worth_nothing(shards):
    """The labels of a row with the images of another: what a baseline says follows the images."""
    estimator = BASELINES["ridge"](TrainingFiles(shards, "GaN"), 5, 0)
    shares = measured_shares(TEST, RING, 1e5, 0)
    right = estimator(TEST, shares, RING, 1e5)
    wrong = estimator(TEST, np.roll(shares, 2, axis=0), RING, 1e5)
    assert pearson(right) > 0.6
    assert abs(pearson(wrong)) < 0.3


def test_metadata_are_shuffled_within_their_kind_and_nothing_else():
    shuffled = with_shuffled_metadata(TEST, 0)
    for kind in np.unique(TEST.kind):
        rows = TEST.kind == kind
        assert sorted(shuffled.rotation_deg[rows, 0]) == sorted(TEST.rotation_deg[rows, 0])
        assert not np.array_equal(shuffled.rotation_deg[rows], TEST.rotation_deg[rows])
    assert np.array_equal(shuffled.potential, TEST.potential)
    assert np.array_equal(shuffled.images[RING], TEST.images[RING])


def weights(folder, arm):
    variant = VARIANTS[arm]
    channels = input_channels(variant), output_channels(variant)
    path = folder / f"{arm}.safetensors"
    network = make_network(training.network(), *channels, seed=0)
    save_weights(network.state_dict(), path, describe_network(training.network(), *channels))
    return path


@pytest.mark.parametrize("arm", VARIANTS)
def test_a_network_answers_in_volt_angstrom_whatever_the_batch(tmp_path, arm):
    path = weights(tmp_path, arm)
    answers = []
    for batch_size in (3, 64):
        estimator = NetworkEstimator(path, VARIANTS[arm], 1e6, training.CPU, "float32", batch_size)
        answers.append(predictions_of(estimator, TEST, RING, [1e4, NOISE_FREE], 0))
    assert answers[0].shape == (len(TEST), 2, 32, 32)
    assert np.isfinite(answers[0]).all()
    # Sums run in another order in another batch and on more threads, and normalisation enlarges what is left
    assert abs(answers[0] - answers[1]).max() < 3e-3 * abs(answers[0]).max()


class _Constant(nn.Module):
    """Says 1 in the first channel, 5 in the second; keeps what it saw."""

    def forward(self, x):
        self.seen = x
        return torch.stack([torch.ones_like(x[:, 0]), torch.full_like(x[:, 0], 5.0)], dim=1)


def test_the_first_channel_is_decoded_in_units_of_the_arm():
    shares = measured_shares(TEST, MATCHED, 1e4, 0)
    rest = (training.CPU, "float32", len(TEST))
    ours = network_potential(_Constant(), TEST, shares, MATCHED, 1e4, VARIANTS["corrected"], *rest)
    assert np.allclose(ours, 200.0 * TEST.thickness_nm[:, None, None])
    theirs = network_potential(_Constant(), TEST, shares, RING, 1e4, VARIANTS["published"], *rest)
    assert np.allclose(theirs, 600_000.0)


def test_a_network_sees_the_counted_images_not_those_without_noise():
    network = _Constant()
    shares = measured_shares(TEST, RING, 1e3, 0)
    network_potential(network, TEST, shares, RING, 1e3, VARIANTS["corrected"], training.CPU, "float32", len(TEST))
    assert np.allclose(network.seen[:, :4].numpy(), 6 * shares - 0.8, atol=1e-5)

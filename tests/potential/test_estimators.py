"""Baselines and networks as predictions use them: what they may see, and what they may not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.potential import training
from tests.potential.predicting import baseline, predict_job, weights
from tests.potential.toy import toy_samples
from workflow_scripts.potential.estimators.network import TrainedNetwork
from workflow_scripts.potential.evaluation.metrics import TrueImage, compare
from workflow_scripts.potential.networks.model import load_network
from workflow_scripts.potential.predict import predict, with_shuffled_metadata
from workflow_scripts.potential.settings import VARIANTS
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.estimation import TrainingFiles
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, RING
from workflow_scripts.workflow.closure import closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

BASELINES = ("metadata_mean", "icom", "ridge")
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
    assert all(0 < len(part) <= 4 for part in training_files.subset(8))


def estimated(estimator, samples, detector, dose):
    """The prediction of an estimator's only stage."""
    (estimate,) = estimator.stages.values()
    return estimate(samples, measured_shares(samples, detector, dose, 0), detector, dose)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_never_sees_the_truth_and_answers_for_both_detectors(shards, name):
    """The same images with another truth get the same prediction, finite and at every dose."""
    blind = replace(TEST, potential=np.ones_like(TEST.potential), potential_limited=np.ones_like(TEST.potential))
    estimator = baseline(name, shards)
    assert estimator.detectors == (RING, MATCHED) and estimator.without_noise
    for detector in estimator.detectors:
        for dose in (1e4, NOISE_FREE):
            potential = estimated(estimator, TEST, detector, dose)
            assert potential.shape == (len(TEST), 32, 32)
            assert np.isfinite(potential).all()
            assert np.array_equal(potential, estimated(estimator, blind, detector, dose))


def test_images_help_whoever_looks_at_them_and_more_electrons_more(shards):
    for name in ("icom", "ridge"):
        estimator = baseline(name, shards)
        scores = [pearson(estimated(estimator, TEST, MATCHED, dose)) for dose in (1e3, 1e5, NOISE_FREE)]
        assert scores[0] < scores[1] < scores[2] + 0.02 and scores[1] > 0.5, name


def test_another_specimens_images_are_worth_nothing(shards):
    """The labels of a row with the images of another: the potential follows the images."""
    estimate = baseline("ridge", shards).stages["fitted"]
    shares = measured_shares(TEST, RING, 1e5, 0)
    right = estimate(TEST, shares, RING, 1e5)
    wrong = estimate(TEST, np.roll(shares, 2, axis=0), RING, 1e5)
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


@pytest.mark.parametrize("arm", VARIANTS)
def test_a_network_answers_in_volt_angstrom_whatever_the_batch(tmp_path, arm):
    network = load_network(weights(tmp_path, arm))
    shares = measured_shares(TEST, RING, 1e4, 0)
    answers = [
        TrainedNetwork(network, VARIANTS[arm], 1e6, training.CPU, "float32", batch_size)(TEST, shares, RING, 1e4)
        for batch_size in (3, 64)
    ]
    assert answers[0].shape == (len(TEST), 32, 32)
    assert np.isfinite(answers[0]).all()
    # Sums run in another order in another batch and on more threads, and normalisation enlarges the difference.
    assert abs(answers[0] - answers[1]).max() < 3e-3 * abs(answers[0]).max()


class _Constant(nn.Module):
    """Outputs 1 in the first channel, 5 in the second; stores its input."""

    def forward(self, x):
        self.input = x
        return torch.stack([torch.ones_like(x[:, 0]), torch.full_like(x[:, 0], 5.0)], dim=1)


def constant(arm):
    return TrainedNetwork(_Constant(), VARIANTS[arm], 1e6, training.CPU, "float32", len(TEST))


def test_the_first_channel_is_decoded_in_units_of_the_arm():
    shares = measured_shares(TEST, MATCHED, 1e4, 0)
    ours = constant("corrected")(TEST, shares, MATCHED, 1e4)
    assert np.allclose(ours, 200.0 * TEST.thickness_nm[:, None, None])
    theirs = constant("published")(TEST, shares, RING, 1e4)
    assert np.allclose(theirs, 600_000.0)


def test_a_network_sees_the_counted_images_and_no_dose_beyond_its_training():
    shares = measured_shares(TEST, RING, 1e3, 0)
    trained = constant("corrected")
    trained(TEST, shares, RING, 1e3)
    assert np.allclose(trained.network.input[:, :4].numpy(), 6 * shares - 0.8, atol=1e-5)
    inputs = []
    for dose in (1e6, NOISE_FREE):
        trained(TEST, shares, RING, dose)
        inputs.append(trained.network.input)
    assert torch.equal(*inputs)


@pytest.mark.parametrize(("estimator", "missing"), [("ridge", "shards"), ("corrected", "pretrained")])
def test_an_estimator_without_an_input_that_it_needs_is_refused(estimator, missing):
    job = predict_job(Path(), estimator)
    with pytest.raises(InputError, match=f"needs --{missing}"):
        job.implementation.make(job)


def test_a_dose_of_the_controls_that_is_not_measured_is_refused():
    job = predict_job(Path(), "ridge")
    with pytest.raises(InputError, match="control_dose_e_per_a2 is 500, but must be one of"):
        predict(replace(job, arguments=job.arguments.model_copy(update={"control_dose_e_per_a2": 500.0})))


def test_a_network_that_is_no_arm_is_refused(tmp_path):
    job = predict_job(tmp_path, "corrected")
    unknown = replace(job, arguments=job.arguments.model_copy(update={"estimator": "other"}))
    with pytest.raises(InputError, match="'other', but must be one of published, corrected"):
        job.implementation.make(unknown)


def test_the_stage_depends_on_no_estimator():
    """A changed baseline reruns no other."""
    assert not [path for path in closure("workflow_scripts.potential.predict") if "potential/estimators/" in path]

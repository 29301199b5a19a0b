"""The baselines through the interface that the networks share, and the stage predict's inputs and file."""

import re

import numpy as np
import pytest
import torch

from tests.alignment import toy_baseline
from tests.alignment.study import made, predicted
from workflow_scripts.alignment.estimators import network, polar_joint, polar_pairwise
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.aligner import Aligner
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, joint
from workflow_scripts.alignment.simulation.labels import read_labelled
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.workflow.errors import InputError


def joint_deg(images):
    return joint(amplitude_spectra(images), 8)[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    files = made(tmp_path_factory.mktemp("test"), snr=[2.0], coloured_snr=[], particles=["asymmetric"])
    return read_labelled(files["star"], files["stack"])[0], files


def test_pairs_name_the_angle_of_the_first_less_that_of_the_second(stack):
    images, (angle_deg, _) = stack[0].read(), stack[0].truth()
    prediction = Aligner(pair_deg=polar_pairwise.pair_deg).predict(images)
    assert set(prediction) == {"pair_deg"}
    error = rotation_error_deg(prediction["pair_deg"], angle_deg[:-1] - angle_deg[1:], 180.0, relative=True)
    assert np.median(error) < 3
    backwards = rotation_error_deg(prediction["pair_deg"], angle_deg[1:] - angle_deg[:-1], 180.0, relative=True)
    assert np.median(backwards) > 10


def test_joint_predictions_are_whole_poses_and_halves_are_aligned_apart(stack):
    images, (angle_deg, shift_px) = stack[0].read(), stack[0].truth()
    prediction = Aligner(joint_deg=joint_deg).predict(images)
    assert rotation_error_deg(prediction["angle_deg"], angle_deg).mean() < 3
    assert shift_error_px(prediction["angle_deg"], prediction["shift_px"], shift_px).mean() < 0.5
    half_prediction = Aligner(joint_deg=joint_deg).predict(images[1::2])
    assert prediction["half_angle_deg"][1::2] == pytest.approx(half_prediction["angle_deg"])
    assert prediction["half_shift_px"][1::2] == pytest.approx(half_prediction["shift_px"])
    # What the other half shows makes no difference.
    changed = images.clone()
    changed[::2] = torch.randn(changed[::2].shape, generator=torch.Generator().manual_seed(0))
    again = Aligner(joint_deg=joint_deg).predict(changed)
    assert again["half_angle_deg"][1::2] == pytest.approx(prediction["half_angle_deg"][1::2])


def test_without_a_branch_angles_stay_in_half_a_turn_and_shifts_are_zero(stack):
    prediction = Aligner(joint_deg=joint_deg, resolves_branch=False).predict(stack[0].read())
    assert (prediction["angle_deg"] < 180).all()
    assert not prediction["shift_px"].any()
    assert rotation_error_deg(prediction["angle_deg"], stack[0].truth()[0], 180.0).mean() < 3


def test_the_poses_in_the_list_make_no_difference_to_the_predictions(stack, tmp_path):
    files = stack[1]
    expected = predicted(tmp_path, polar_joint, files["star"], files["stack"], rounds=8).read_bytes()
    # The angle is the second word of a row.
    text = re.sub(r"^(\d+@\S+) \S+ \S+ \S+", r"\1 1.0 2.0 3.0", files["star"].read_text(), flags=re.MULTILINE)
    blind = files["star"].with_name("blind.star")
    blind.write_text(text)
    assert read_labelled(blind, files["stack"])[0].truth()[0].std() == 0
    assert predicted(tmp_path, polar_joint, blind, files["stack"], rounds=8).read_bytes() == expected


@pytest.mark.parametrize("module", [polar_pairwise, toy_baseline])
def test_every_stack_is_answered_by_its_name(stack, tmp_path, module):
    files = stack[1]
    predictions = read_predictions(predicted(tmp_path, module, files["star"], files["stack"]))
    parts = [(part.stage, part.values) for part in predictions.parts]
    assert parts == [("fitted", {"stack": "asymmetric-white-2"}), ("fitted", {"stack": "noise"})]
    assert all(part.read("pair_deg")["pair_deg"].shape == (23,) for part in predictions.parts)


def test_an_arm_without_its_weights_is_refused(stack, tmp_path):
    with pytest.raises(InputError, match="--module network needs --pretrained"):
        predicted(tmp_path, network, stack[1]["star"], stack[1]["stack"], batch_size=16, rounds=8)

"""Class averages against the truth: true poses agree with it, more images reach further, noise resembles nobody."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.alignment.study import EVALUATE, made
from workflow_scripts.alignment.evaluation import average_quality as quality
from workflow_scripts.alignment.evaluation import scores
from workflow_scripts.alignment.evaluation.scores import MOD180, Prediction, errors_of
from workflow_scripts.alignment.networks.branch import resolve
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra, pairwise
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import JOINT, NOISE_ONLY, read_labelled
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.workflow.settings import check

SETTINGS = check(Evaluate, EVALUATE)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Stacks by name, and the clean images of the particles."""
    files = made(tmp_path_factory.mktemp("test"), snr=[1.0], coloured_snr=[], test_images=48)
    stacks = {stack.name: stack for stack in read_labelled(files["star"], files["stack"])}
    clean = torch.from_numpy(open_stack(files["centres"]).read(np.arange(2)))
    return stacks, dict(zip(("groel_side", "asymmetric"), clean, strict=True))


@pytest.fixture(scope="module")
def true(study):
    return quality.average_stack(quality.true_prediction(study[0]["asymmetric-white-1"]), [8, 16, 300])


def dealt_out(stack):
    """Poses of other images."""
    angle_deg, shift_px = (np.roll(pose, 1, axis=0) for pose in stack.truth())
    poses = {"angle_deg": angle_deg, "shift_px": shift_px, "half_angle_deg": angle_deg, "half_shift_px": shift_px}
    return Prediction("corrected", 0, JOINT, None, stack, poses)


def test_at_true_poses_the_average_is_the_particle_as_the_microscope_shows_it(study, true):
    centre = true.expected_average(study[1]["asymmetric"])
    assert float(quality.correlation(true.averages[-1][None], centre)[0]) > 0.97
    wrong = quality.average_stack(dealt_out(study[0]["asymmetric-white-1"]), [])
    assert float(quality.correlation(wrong.averages[-1][None], centre)[0]) < 0.85


def test_sizes_count_the_first_images_and_never_more_than_there_are(true):
    assert true.sizes == [8, 16, 48]
    assert true.halves.shape == (3, 2, 48, 48)
    # The two halves of equal size make the average of all.
    assert torch.allclose(true.halves[-1].mean(dim=0), true.averages[-1], atol=1e-4)
    of_eight = quality.average_stack(true.prediction, [8])
    assert torch.allclose(of_eight.averages[0], true.averages[0], atol=1e-5)


def test_more_images_reach_a_shorter_period(study, true):
    centre = true.expected_average(study[1]["asymmetric"])
    resolutions = [quality.resolution_a(average, centre, 0.5, 5.0) for average in true.averages]
    assert resolutions[0] > resolutions[-1] >= 10.0
    halves = [float(np.corrcoef(*pair.flatten(1))[0, 1]) for pair in true.halves]
    assert halves[0] < halves[1] < halves[-1]


def test_resolution_does_not_ask_how_the_average_stands(study, true):
    centre = true.expected_average(study[1]["asymmetric"])
    average = true.averages[-1]
    moved = torch.rot90(average, 2).roll((3, -2), (0, 1))
    expected = quality.resolution_a(average, centre, 0.5, 5.0)
    assert quality.resolution_a(moved, centre, 0.5, 5.0) == pytest.approx(expected, rel=0.05)


def test_what_agrees_nowhere_has_the_side_of_the_box():
    noise = torch.randn(2, 48, 48, generator=torch.Generator().manual_seed(5))
    assert quality.resolution_a(noise[0], noise[1], 0.99, 5.0) == 48 * 5.0


def test_an_average_made_with_the_reference_in_hand_exceeds_the_null_and_blind_ones_do_not(study):
    stacks, centres = study
    stack = stacks[NOISE_ONLY]
    null = quality.null_particles(48, 5.0, SETTINGS)
    blind = dealt_out(stack)
    # Einstein from noise: every image is rotated and shifted to where it resembles the particle most.
    images = stack.read()
    reference = centres["asymmetric"]
    poses = resolve(images, pairwise(amplitude_spectra(images), amplitude_spectra(reference[None])), reference)
    leaked = {"angle_deg": poses.angle_deg.numpy(), "shift_px": poses.shift_px.numpy()}
    leaked |= {f"half_{name}": value for name, value in leaked.items()}
    predictions = [blind, Prediction("published", 0, JOINT, None, stack, leaked)]
    errors = [item for prediction in predictions for item in errors_of(prediction) if item.metric == MOD180]
    rows = pd.DataFrame(
        quality.control_rows(errors, [quality.average_stack(item, []) for item in predictions], centres, null, SETTINGS)
    )
    excess = rows[rows["metric"] == scores.EXCESS].set_index(["estimator", "condition"])["value"]
    assert excess["published", "control=noise;particle=asymmetric"] > 0.05
    assert excess["corrected", "control=noise;particle=asymmetric"] < 0.05
    angles = rows[(rows["metric"] == MOD180) & (rows["estimator"] == "published")].set_index("condition")
    chance = angles.loc["alignment=joint;control=null"]
    assert chance["low"] < angles.loc["alignment=joint;control=noise", "value"] < chance["high"] + 3
    assert 38 < chance["value"] < 45


def test_rows_name_sizes_at_the_headline_and_the_whole_stack_everywhere(study, true):
    stacks, centres = study
    null = quality.null_particles(48, 5.0, SETTINGS)
    both = [true, quality.average_stack(quality.true_prediction(stacks["groel_side-white-1"]), [8, 16])]
    rows = pd.DataFrame(quality.quality_rows(both, centres, null, SETTINGS))
    conditions = set(rows.loc[rows["metric"] == scores.RESOLUTION, "condition"])
    assert conditions == {
        f"{size}noise=white;particle={name};snr=1"
        for size in ("", "images=8;", "images=16;", "images=48;")
        for name in ("asymmetric", "groel_side", "all")
    }
    excess = rows[(rows["metric"] == scores.EXCESS) & (rows["condition"] == "noise=white;particle=all;snr=1")]
    assert excess["value"].item() > 0.1 and excess["n"].item() == 2

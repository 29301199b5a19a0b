"""From the user's files to RELION's: poses are true, and what is written reproduces the aligned stack."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.alignment import user_particles
from tests.alignment.log_spectra import log_spectra
from workflow_scripts.alignment.apply.alignment import (
    align_particles,
    align_sample,
    half_set_curve,
)
from workflow_scripts.alignment.apply.data import open_user_particles
from workflow_scripts.alignment.apply.output import aligned
from workflow_scripts.alignment.apply.streaming import options_for
from workflow_scripts.alignment.evaluation.metrics import rotation_error_deg, shift_error_px
from workflow_scripts.alignment.networks.model import describe_network, make_network
from workflow_scripts.alignment.networks.polar_alignment import amplitude_spectra
from workflow_scripts.alignment.settings import VARIANTS, NetworkSettings
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.formats.particles import open_particles
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.settings import as_arguments

WORK = 48


def aligned_from(path, work_px=WORK, **changes):
    user, _ = open_user_particles(user_particles.entry(path, **changes), path, work_px)
    return user, align_particles(user, options_for(user, amplitude_spectra, 1, 10, 32))


@pytest.mark.parametrize("n", [63, 80])
def test_poses_are_in_the_users_pixels_whatever_the_box(tmp_path, n):
    path, angle, shift = user_particles.stack(tmp_path, n=n, count=50)
    user, result = aligned_from(path)
    assert np.median(rotation_error_deg(result.angle_deg, angle)) < 3.5
    assert np.median(shift_error_px(result.angle_deg, result.shift_px, shift)) < 0.7
    quality = result.quality(user_particles.PIXEL_A)
    assert quality["fraction_resolved"] > 0.95
    assert 2 * user_particles.PIXEL_A < quality["half_set_resolution_a"] < 12 * user_particles.PIXEL_A
    assert result.average.shape == (n, n)
    rim, centre = result.average[:4].mean(), result.average[n // 2 - 4 : n // 2 + 4, n // 2 - 4 : n // 2 + 4].mean()
    assert centre > rim  # bright, though the files are dark
    assert result.share_at_largest_shift(user.largest_shift_px) < 0.05


def test_noise_is_neither_resolved_nor_has_it_a_resolution(tmp_path):
    noise = np.random.default_rng(3).normal(size=(120, WORK, WORK))
    _, result = aligned_from(user_particles.write_stack(tmp_path / "noise.mrcs", noise), mask_radius_px=18.0)
    quality = result.quality(user_particles.PIXEL_A)
    assert quality["fraction_resolved"] < 0.15
    assert quality["half_set_resolution_a"] is None or quality["half_set_resolution_a"] > 20 * user_particles.PIXEL_A
    # While the particles fit the average of the others better than noise would, since they made it.
    assert quality["score"]["p50"] > quality["score_of_random_phases"]["p50"]


def test_a_second_estimator_finds_the_same(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=50)
    user, result = aligned_from(path)
    other = align_sample(user, options_for(user, log_spectra, 1, 10, 32))
    difference = result.agreement(other, 360.0)
    assert difference["median_rotation_difference_deg"] < 6
    assert difference["median_shift_difference_px"] < 0.7
    assert result.agreement(result, 360.0)["median_rotation_difference_deg"] == 0


def test_equal_averages_agree_to_the_finest_ring_and_unrelated_ones_nowhere():
    generator = torch.Generator().manual_seed(4)
    first, second = torch.randn(2, WORK, WORK, generator=generator)
    curve = half_set_curve(first, first, generator)
    assert (curve["frc"] > 0.9).all()
    assert (half_set_curve(first, second, generator).eval("frc > noise + 0.3")).mean() < 0.1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder in which both stage scripts have run on particles of a .star."""
    folder = tmp_path_factory.mktemp("own")
    user_particles.stack(folder, n=64, count=30)
    path = user_particles.write_list(folder / "own.star", 30, np.linspace(9000, 12000, 30))
    words = [*as_arguments(user_particles.entry(path)), "--particles-file", path, "--box-px", WORK, "--batch-size", 8]
    run("apply.check", *words, "--report", folder / "report.json", "--provenance", folder / "check.json")
    out = folder / "out"
    outputs = {"stack": "aligned.mrcs", "star": "aligned.star", "xmd": "aligned.xmd", "average": "average.mrc"}
    outputs |= {"png": "before_after.png", "quality": "quality.json", "provenance": "provenance.json"}
    weights = folder / "weights.safetensors"
    network = NetworkSettings(rings=12, width=4, layers=1, recipe_px=16, recipe_mask_widths=(2,), recipe_widths=(2, 2))
    about = describe_network(network, "corrected")
    save_weights(make_network(network, VARIANTS["corrected"], 0).state_dict(), weights, about)
    files = [word for name, file in outputs.items() for word in (f"--{name}", out / file)]
    run(
        *("apply.apply", *words, "--name", "mine", "--rounds", "6", "--gpus", "0", "--precision", "auto"),
        *("--report", folder / "report.json", "--weights", weights, *files),
    )
    return out


def run(stage, *words):
    command = [sys.executable, "-m", f"workflow_scripts.alignment.{stage}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["aligned.star", "aligned.xmd"])
def test_a_written_list_read_back_and_applied_is_the_aligned_stack(written, name):
    listed = open_particles(written / name)
    angle_deg, shift_px = listed.poses()
    indices = np.arange(len(listed))
    recorded, stack = listed.read(indices), open_stack(written / "aligned.mrcs").read(indices)
    again = aligned(torch.from_numpy(recorded), angle_deg, shift_px).numpy()
    assert np.abs(again - stack).max() < 1e-3 * stack.std()
    assert (recorded - stack).std() > 0.5 * stack.std()  # the poses are not all zero
    assert listed.ctf is not None


def test_the_report_states_what_was_done(written):
    report = json.loads((written / "quality.json").read_text())
    assert report["contrast"]["found"] == "dark"
    assert report["phases_flipped"] == 30
    quality = report["quality"]
    assert list(quality["estimators"]) == ["corrected", "polar_joint"]
    assert quality["estimator"] == "corrected"
    assert set(quality["estimators"][quality["estimator"]]) >= {"half_set_resolution_a", "score", "fraction_resolved"}
    average = open_stack(written / "average.mrc")
    assert (average.n_images, average.box_px, average.pixel_size_a) == (1, 64, pytest.approx(user_particles.PIXEL_A))
    assert (written / "before_after.png").read_bytes().startswith(b"\x89PNG")
    assert open_particles(written / "aligned.star").pixel_size_a == user_particles.PIXEL_A

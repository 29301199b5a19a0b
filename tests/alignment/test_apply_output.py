"""The aligned stack holds the user's images moved by the poses of the lists, whatever form they came in."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.alignment import blobs, user_particles
from workflow_scripts.alignment.apply.alignment import AlignmentResult, mean_image
from workflow_scripts.alignment.apply.data import open_user_particles
from workflow_scripts.alignment.apply.output import aligned, write_aligned, write_lists, write_picture
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.formats.particles import open_particles
from workflow_scripts.formats.star import read_tables

COUNT = 9
ALL = np.arange(COUNT)


def result_at(angle_deg, shift_px, n):
    curve = pd.DataFrame({"period_px": [8.0, 4.0], "frequency_per_px": [0.125, 0.25], "frc": [0.9, 0.1], "noise": 0.0})
    score = np.linspace(0.1, 0.9, COUNT)
    angle_deg, shift_px = np.float64(angle_deg), np.float64(shift_px)
    return AlignmentResult(ALL, angle_deg, shift_px, score, score, score / 3, curve, np.float32(blobs.image(n)))


@pytest.mark.parametrize("n", [48, 51])
@pytest.mark.parametrize("form", ["own.mrcs", "own.star", "own.xmd"])
def test_every_form_comes_back_as_the_aligned_stack(tmp_path, form, n):
    path, angle, shift = user_particles.stack(tmp_path, n=n, count=COUNT, snr=100.0)
    if form != "own.mrcs":
        path = user_particles.write_list(tmp_path / form, COUNT)
    user, _ = open_user_particles(user_particles.entry(path, pixel_size_a=user_particles.PIXEL_A), path, 48)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    result = result_at(angle, shift, n)
    write_aligned(out / "aligned.mrcs", user, result, batch_size=4)
    write_lists(out / "aligned.star", out / "aligned.xmd", user, result)
    stack = open_stack(out / "aligned.mrcs").read(ALL)
    inside = np.hypot(*(np.mgrid[:n, :n] - n // 2)) < 0.3 * n
    # Contrast stays as it is in the file, and every particle lies on the reference.
    assert all(np.corrcoef(image[inside], -blobs.image(n)[inside])[0, 1] > 0.98 for image in stack)
    assert torch.allclose(mean_image(user, 4), user.corrected(ALL).mean(dim=0), atol=1e-5)
    for name in ("aligned.star", "aligned.xmd"):
        listed = open_particles(out / name)
        again = aligned(torch.from_numpy(listed.read(ALL)), *listed.poses()).numpy()
        assert np.abs(again - stack).max() < 1e-3


def test_what_the_users_list_says_is_handed_on(tmp_path):
    user_particles.stack(tmp_path, count=COUNT)
    defocus_a, carried = np.linspace(9000.0, 9800.0, COUNT), {"rlnMicrographName": [f"m{k}.mrc" for k in range(COUNT)]}
    path = user_particles.write_list(tmp_path / "own.star", COUNT, defocus_a, carried=carried)
    user, _ = open_user_particles(user_particles.entry(path), path, 48)
    write_lists(
        tmp_path / "aligned.star", tmp_path / "aligned.xmd", user, result_at(ALL * 10, np.zeros((COUNT, 2)), 64)
    )
    table = read_tables(tmp_path / "aligned.star")["particles"]
    assert [float(value) for value in table["rlnDefocusU"]] == list(defocus_a)
    assert float(table["rlnParticleFigureOfMerit"][-1]) == 0.9
    assert table["rlnMicrographName"] == carried["rlnMicrographName"]


def test_the_picture_is_a_whole_file_of_equal_bytes(tmp_path):
    path, angle, shift = user_particles.stack(tmp_path, count=COUNT)
    user, _ = open_user_particles(user_particles.entry(path), path, 48)
    result = result_at(angle, shift, 64)
    pictures = []
    for name in ("first.png", "second.png"):
        write_picture(tmp_path / name, user, {"corrected": result, "polar_joint": result}, 4)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]


def test_a_pose_is_undone_image_by_image():
    images = blobs.image(48).expand(3, 48, 48)
    angle, shift = np.array([0.0, 90.0, 200.0]), np.array([[0.0, 0.0], [2.0, 1.0], [-3.0, 0.5]])
    moved = aligned(images, angle, shift)
    one_by_one = [
        align(images[:1], torch.tensor([a]), torch.tensor(s)[None])[0] for a, s in zip(angle, shift, strict=True)
    ]
    assert torch.allclose(moved, torch.stack(one_by_one).float(), atol=1e-5)

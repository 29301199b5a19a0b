"""Stacks with a known truth: the same bytes for a seed, the named ratio, poses that align, faults where they belong."""

import mrcfile
import numpy as np
import pytest
import torch

from tests.alignment.study import SYNTHESIZE, made
from workflow_scripts.alignment.settings import Synthesize, particle_name
from workflow_scripts.alignment.simulation import datasets
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, read_labelled
from workflow_scripts.formats.mrc import StackWriter, open_stack
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

SETTINGS = {key: value for key, value in SYNTHESIZE.items() if key not in ("gpus", "split", "shard")}


@pytest.fixture(scope="module")
def test_files(tmp_path_factory):
    return made(tmp_path_factory.mktemp("test"))


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(test_files, tmp_path):
    again, other = made(tmp_path / "again"), made(tmp_path / "other", seed=1)
    for name, path in test_files.items():
        assert path.read_bytes() == again[name].read_bytes()
    assert test_files["stack"].read_bytes() != other["stack"].read_bytes()


def test_batches_do_not_leave_out_or_repeat_images(test_files, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_BATCH", 7)
    pieces = made(tmp_path / "pieces")
    assert pieces["star"].read_bytes() == test_files["star"].read_bytes()
    images = open_stack(pieces["stack"]).read(np.arange(24))
    assert len(np.unique(images[:, 0, 0])) == 24


def test_every_particle_has_its_stacks_and_one_is_pure_noise(test_files):
    stacks = read_labelled(test_files["star"], test_files["stack"])
    assert [stack.name for stack in stacks] == [
        *("groel_side-white-1", "groel_side-white-0.5", "asymmetric-white-1", "asymmetric-white-0.5"),
        *("groel_side-coloured-1", "asymmetric-coloured-1", NOISE_ONLY),
    ]
    assert {len(stack) for stack in stacks} == {24}
    assert [stack.symmetry_fold for stack in stacks] == [2, 2, 1, 1, 2, 1, 1]
    noise = stacks[-1].read().numpy()
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(1, abs=0.02)
    assert stacks[-1].snr == 0


def test_the_poses_and_defoci_that_are_listed_undo_the_images(test_files):
    stacks = {stack.name: stack for stack in read_labelled(test_files["star"], test_files["stack"])}
    stack = stacks["asymmetric-white-1"]
    centre = torch.from_numpy(open_stack(test_files["centres"]).read(np.array([1]))[0])
    angle_deg, shift_px = (torch.from_numpy(pose).float() for pose in stack.truth())
    aligned = align(stack.read(), angle_deg, shift_px)
    at_pose = np.corrcoef(aligned.mean(dim=0).flatten(), centre.flatten())[0, 1]
    elsewhere = align(stack.read(), angle_deg.roll(1), shift_px.roll(1, 0)).mean(dim=0)
    assert at_pose > 0.65
    assert at_pose > 1.2 * np.corrcoef(elsewhere.flatten(), centre.flatten())[0, 1]
    assert aligned.mean(dim=0).var() > 1.3 * elsewhere.var()
    assert (shift_px.abs() <= 4).all() and not (shift_px == shift_px.round()).all()


def test_the_ratio_is_that_of_the_variances(test_files):
    stacks = {stack.name: stack for stack in read_labelled(test_files["star"], test_files["stack"])}
    for snr in (1.0, 0.5):
        images = stacks[f"groel_side-white-{snr:g}"].read().numpy()
        # In the corners there is next to nothing but noise.
        noise = np.stack(
            [images[:, y, x] for y in (slice(0, 8), slice(-8, None)) for x in (slice(0, 8), slice(-8, None))]
        )
        variance = noise.var(axis=(0, 2, 3))
        assert np.mean(images.var(axis=(1, 2)) / variance) == pytest.approx(1 + snr, rel=0.08)


def test_training_holds_the_recipes_stacks_and_clean_random_particles(tmp_path):
    files = made(tmp_path / "train", split="train")
    stacks = read_labelled(files["star"], files["stack"])
    assert [stack.name for stack in stacks] == ["groel_side-white-1", "asymmetric-white-1"]
    images = stacks[0].read().numpy()
    # The recipe's 8-bit images, shifted by whole pixels.
    assert (images == images.round()).all() and images.min() == 0 and images.max() == 255
    shift_px = stacks[0].truth()[1]
    assert shift_px == pytest.approx(shift_px.round(), abs=1e-5)
    centres = open_stack(files["centres"])
    assert centres.n_images == 8
    others = made(tmp_path / "more", split="train", shard=1)["centres"]
    assert files["centres"].read_bytes() != others.read_bytes()


def test_files_of_the_user_join_the_particles(tmp_path):
    clean = torch.stack([item.image for item in datasets.study_particles(check(Synthesize, SETTINGS))]).numpy()
    picture = tmp_path / "my average.mrc"
    with StackWriter(picture, 48, 3.0) as writer:
        writer.write(-clean[1:])
    volume = tmp_path / "map.mrc"
    with mrcfile.new(volume) as file:
        file.set_data(np.repeat(clean[1][None], 48, axis=0) * np.hanning(48).astype("f4")[:, None, None])
        file.voxel_size = 4.0
    names = [str(picture), str(volume), "asymmetric"]
    particles = datasets.study_particles(check(Synthesize, SETTINGS | {"particles": names, "dark_files": names[:1]}))
    assert [item.name for item in particles] == ["my_average", "map", "asymmetric"]
    assert [item.pixel_size_a for item in particles] == pytest.approx([3.0, 4.0, 5.0])
    assert np.corrcoef(particles[0].image.flatten(), clean[1].flatten())[0, 1] > 0.9
    files = made(tmp_path / "own", particles=names, dark_files=names[:1])
    stacks = read_labelled(files["star"], files["stack"])
    assert [stack.pixel_size_a for stack in stacks[::2]] == pytest.approx([3.0, 4.0, 5.0, 3.0, 5.0])


def test_what_a_condition_cannot_hold_leaves_the_name():
    assert particle_name("a/b c;d=e.png") == "b_c_d_e"


def test_a_particle_that_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"alignment.synthesize: groel_side: .*raise box_px or pixel_size_a"):
        made(tmp_path, pixel_size_a=2.0)


def test_a_list_of_other_images_is_refused(test_files, tmp_path):
    other = made(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="give the two that were made together"):
        read_labelled(test_files["star"], other["stack"])
    text = test_files["star"].read_text().replace("beamtimeStack", "myStack")
    (test_files["star"].parent / "cut.star").write_text(text)
    with pytest.raises(InputError, match="lacks the column beamtimeStack"):
        read_labelled(test_files["star"].parent / "cut.star", test_files["stack"])

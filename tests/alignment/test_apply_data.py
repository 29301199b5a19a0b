"""The user's particles in any box, contrast and list come out the same: bright, with phases flipped, in one box."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.alignment import blobs, user_particles
from workflow_scripts.alignment.apply.data import (
    check_images,
    disc,
    in_box,
    open_user_particles,
    random_phases,
    read_reference,
)
from workflow_scripts.alignment.apply.settings import listed_stacks

ALL = np.arange(20)


@given(st.integers(40, 70), st.integers(40, 70))
def test_another_box_shows_the_same_particle(n, m):
    image = in_box(blobs.image(n)[None], m)[0]
    scale = m / n
    scaled = tuple((y * scale, x * scale, width * scale, weight) for y, x, width, weight in blobs.ASYMMETRIC)
    inside = disc(m, 0.45 * m) > 0
    assert float((image - blobs.image(m, blobs=scaled))[inside].abs().max()) < 0.02


def test_bright_and_dark_files_give_one_stack(tmp_path):
    images = []
    for dark in (True, False):
        folder = tmp_path / str(dark)
        folder.mkdir()
        path, *_ = user_particles.stack(folder, count=20, dark=dark)
        user, report = open_user_particles(user_particles.entry(path), path, 48)
        assert report["contrast"]["found"] == ("dark" if dark else "bright")
        assert report["contrast"]["standard_errors"] > 3
        assert torch.equal(user.raw(ALL), torch.from_numpy(user.particles.stacks[0].read(ALL)))
        images.append(user.read(ALL))
    assert torch.allclose(*images, atol=1e-5)
    assert torch.allclose(images[0].mean(dim=(1, 2)), torch.zeros(20), atol=1e-5)
    assert torch.allclose(images[0].square().mean(dim=(1, 2)), torch.ones(20), atol=1e-4)


def test_what_is_stated_wins_over_what_is_found(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=20, dark=True)
    user, report = open_user_particles(user_particles.entry(path, contrast="bright", pixel_size_a=3.0), path, 48)
    assert user.particles.sign == 1
    assert user.particles.pixel_size_a == 3.0
    assert any("3 Å, is used instead" in remark for remark in report["remarks"])


def test_noise_has_no_contrast_and_says_so(tmp_path):
    noise = np.random.default_rng(0).normal(size=(20, 48, 48))
    path = user_particles.write_stack(tmp_path / "noise.mrcs", noise)
    _, report = open_user_particles(user_particles.entry(path), path, 48)
    assert any("cannot determine reliably" in remark for remark in report["remarks"])


@pytest.mark.parametrize("ending", [".star", ".xmd"])
def test_phases_are_flipped_where_the_list_has_a_defocus(tmp_path, ending):
    defocus_a = np.linspace(8000, 15000, 20)
    clean = blobs.image(64).expand(20, 64, 64)
    user_particles.write_stack(tmp_path / "own.mrcs", user_particles.with_ctf(clean, defocus_a))
    path = user_particles.write_list(tmp_path / f"own{ending}", 20, defocus_a)
    correlation = {}
    for use in ("auto", "none"):
        user, report = open_user_particles(user_particles.entry(path, ctf=use, contrast="bright"), path, 64)
        assert report["phases_flipped"] == (20 if use == "auto" else 0)
        assert report["with_ctf"] == 20
        spectra = torch.fft.rfft2(user.corrected(ALL))[:, 3:20, 3:20]
        truth = torch.fft.rfft2(clean)[:, 3:20, 3:20]
        correlation[use] = float((spectra * truth.conj()).real.sum() / (spectra.abs() * truth.abs()).sum())
    assert correlation["auto"] > 0.999
    assert correlation["none"] < 0.97


def test_phases_that_are_flipped_already_stay(tmp_path):
    user_particles.stack(tmp_path, count=20)
    path = user_particles.write_list(tmp_path / "own.star", 20, np.full(20, 9000.0))
    text = path.read_text().replace("_rlnOpticsGroupName #1", "_rlnCtfDataArePhaseFlipped #1")
    path.write_text(text.replace("opticsGroup1", "1", 1))
    user, report = open_user_particles(user_particles.entry(path), path, 48)
    assert not user.flip
    assert any("flipped already" in remark for remark in report["remarks"])


def test_a_mask_leaves_room_for_the_shift(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=20)
    user, _ = open_user_particles(user_particles.entry(path, mask_radius_px=12.0, largest_shift_px=6.0), path, 64)
    axis = torch.arange(64) - 32
    radius = torch.hypot(axis[:, None].float(), axis.float())
    images = user.read(ALL)
    assert float(images[:, radius > 25].abs().max()) == 0
    assert float(images[:, radius < 18].abs().min()) > 0
    assert float(user.reference_mask()[radius < 10].min()) == 1
    assert float(user.reference_mask()[radius > 14].max()) == 0


def test_random_phases_keep_the_power_of_every_frequency():
    images = blobs.image(48)[None] - blobs.image(48).mean()
    scrambled = random_phases(images, torch.Generator().manual_seed(1))
    power = [torch.fft.rfft2(some).abs()[:, 1:20, 1:20] for some in (images, scrambled)]
    assert torch.allclose(*power, atol=1e-3)
    assert abs(np.corrcoef(images.flatten(), scrambled.flatten())[0, 1]) < 0.3


def test_images_that_show_nothing_are_counted_and_stay_zero(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=20)
    images = np.array(open_user_particles(user_particles.entry(path), path, 48)[0].particles.stacks[0].read(ALL))
    images[7] = 3.0
    user_particles.write_stack(path, images)
    user, _ = open_user_particles(user_particles.entry(path), path, 48)
    assert "1 images are constant, the first in row 8" in check_images(user, 6)[0]
    assert float(user.read(ALL)[7].abs().max()) == 0


def test_a_reference_of_the_same_field_comes_into_the_work_box(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=20)
    user_particles.write_stack(tmp_path / "reference.mrc", -blobs.image(32)[None], 2 * user_particles.PIXEL_A)
    settings = user_particles.entry(path, reference=str(tmp_path / "reference.mrc"), reference_contrast="dark")
    user, _ = open_user_particles(settings, path, 48)
    reference = read_reference(settings, tmp_path / "reference.mrc", user)
    assert np.corrcoef(reference.flatten(), in_box(blobs.image(32)[None], 48).flatten())[0, 1] > 0.95


def test_a_list_tells_the_rules_which_stacks_to_watch(tmp_path):
    path, *_ = user_particles.stack(tmp_path, count=20)
    star = user_particles.write_list(tmp_path / "own.star", 20)
    assert listed_stacks(str(star)) == [str(path)]
    assert listed_stacks(str(path)) == []
    star.write_text("data_\n\nloop_\n_rlnImageName #1\n1@gone.mrcs\n")
    assert listed_stacks(str(star)) == []

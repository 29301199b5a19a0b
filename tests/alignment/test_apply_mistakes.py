"""What a user can do wrong with particles: each ends in one sentence that names the file or the key."""

import numpy as np
import pytest

from tests.alignment import user_particles
from workflow_scripts.alignment.apply.data import check_images, open_user_particles, read_reference
from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

N, COUNT = 48, 12


def images():
    return np.random.default_rng(2).normal(size=(COUNT, N, N)).astype(np.float32)


def refused(path, sentence, **changes):
    with pytest.raises(InputError) as error:
        settings = user_particles.entry(path, **changes)
        user, _ = open_user_particles(settings, path, N)
        if settings.reference is not None:
            read_reference(settings, path.parent / settings.reference, user)
        check_images(user, 5)
    assert sentence in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def stack(tmp_path):
    return user_particles.write_stack(tmp_path / "own.mrcs", images())


def changed(stack, position, content):
    data = bytearray(stack.read_bytes())
    data[position : position + len(content)] = content
    stack.write_bytes(bytes(data))


def test_a_nan_names_its_image(stack):
    changed(stack, 1024 + 4 * (3 * N * N + 5), np.float32(np.nan).tobytes())
    refused(stack, "own.mrcs: image 4 holds values that are not finite")


def test_a_truncated_file_says_how_much_is_left(stack):
    stack.write_bytes(stack.read_bytes()[: 1024 + 4 * N * N * 7 + 100])
    refused(stack, "own.mrcs: is cut off, with 7 whole images where its header announces 12")


def test_a_wrong_machine_stamp_is_read_and_reported(stack):
    changed(stack, 212, bytes([0x11, 0x11, 0, 0]))
    user, report = open_user_particles(user_particles.entry(stack), stack, N)
    assert np.array_equal(user.raw(np.arange(COUNT)).numpy(), images())
    assert any("machine stamp is 11 11 00 00" in remark for remark in report["remarks"])


def test_a_volume_is_no_stack(tmp_path):
    volume = user_particles.write_stack(tmp_path / "volume.mrc", np.zeros((N, N, N), dtype=np.float32) + images()[:1])
    changed(volume, 88, np.int32(1).tobytes())
    refused(volume, "is a volume of 48 × 48 × 48 voxels by its header")


def test_a_missing_image_names_its_row(stack):
    star = user_particles.write_list(stack.with_name("own.star"), COUNT + 3)
    refused(star, "row 13 names image 13 of")
    star = user_particles.write_list(stack.with_name("own.star"), COUNT, stack_name="gone.mrcs")
    refused(star, "row 1 names the stack gone.mrcs, which is neither beside the list")


def test_a_stack_without_pixel_size_needs_one(tmp_path):
    stack = user_particles.write_stack(tmp_path / "own.mrcs", images(), pixel_size_a=None)
    refused(stack, "no pixel size in the list or the header; set pixel_size_a")
    user, report = open_user_particles(user_particles.entry(stack, pixel_size_a=1.1), stack, N)
    assert user.particles.pixel_size_a == 1.1
    assert not any("pixel size" in remark for remark in report["remarks"])


def test_too_few_and_too_small(tmp_path):
    refused(user_particles.write_stack(tmp_path / "few.mrcs", images()[:3]), "has 3 particles, expected at least 4")
    refused(user_particles.write_stack(tmp_path / "small.mrcs", images()[:, :32, :32]), "expected at least 36")


def test_nothing_but_constants(tmp_path):
    refused(user_particles.write_stack(tmp_path / "own.mrcs", np.ones((5, N, N))), "every image is constant")


def test_sizes_that_do_not_fit_the_box(stack):
    refused(stack, "largest_shift_px: is 30, but the images", largest_shift_px=30.0)
    refused(stack, "mask_radius_px: is 25, but the images", mask_radius_px=25.0)


def test_a_reference_of_another_field_of_view(stack):
    user_particles.write_stack(stack.with_name("reference.mrc"), images()[:1], 2 * user_particles.PIXEL_A)
    refused(stack, "reference.mrc: has a field of view of 240 Å, but the particles 120 Å", reference="reference.mrc")


SETTINGS = {
    "another ending": ({"particles": "own.hdf"}, "own.hdf does not end in .mrcs, .st, .mrc, .map, .star, .xmd"),
    "another reference": ({"reference": "a.jpg"}, "a.jpg does not end in .png, .tif, .tiff, .mrc"),
    "contrast of nothing": ({"reference_contrast": "dark"}, "is set, but there is no reference"),
    "an unknown contrast": ({"contrast": "grey"}, "contrast"),
    "no fold": ({"symmetry_fold": 0}, "symmetry_fold"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_cannot_be(kind):
    changes, sentence = SETTINGS[kind]
    with pytest.raises(InputError) as error:
        check(Apply, {"particles": "own.mrcs"} | changes)
    assert sentence in str(error.value)

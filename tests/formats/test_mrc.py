"""Stacks read as another library reads them, written so that it validates them, and one sentence for each bad one."""

import struct

import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcfile.dtypes import HEADER_DTYPE

from workflow_scripts.formats.mrc import StackWriter, open_stack
from workflow_scripts.workflow.errors import InputError

# Where the fields of the header lie, in bytes: MRC2014.
NX, NY, NZ, MODE, MZ, CELL, ISPG, NSYMBT, MAP, STAMP = 0, 4, 8, 12, 36, 40, 88, 92, 208, 212


def images(count=5, n=12, dtype=np.float32):
    rng = np.random.default_rng(3)
    return rng.integers(0, 100, (count, n, n)).astype(dtype)


def saved(folder, array, name="given.mrcs", pixel_size_a=1.5):
    path = folder / name
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.set_image_stack()
        file.voxel_size = pixel_size_a
    return path


def patched(path, position, content):
    whole = bytearray(path.read_bytes())
    whole[position : position + len(content)] = content
    path.write_bytes(whole)
    return path


def number(value):
    return struct.pack("<i", value)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.uint16, np.float16])
def test_every_real_mode_is_read(tmp_path, dtype):
    array = images(dtype=dtype)
    stack = open_stack(saved(tmp_path, array))
    assert (stack.n_images, stack.box_px) == (5, 12)
    assert stack.pixel_size_a == pytest.approx(1.5)
    assert stack.remarks == ()
    read = stack.read(range(5))
    assert read.dtype == np.float32
    assert np.array_equal(read, array.astype(np.float32))


@given(st.lists(st.integers(0, 4), max_size=12))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_images_come_in_the_order_asked_for(tmp_path, order):
    array = images()
    path = tmp_path / "given.mrcs"
    stack = open_stack(path if path.exists() else saved(tmp_path, array))
    assert np.array_equal(stack.read(order), array[order])


@pytest.mark.parametrize("wrong", [[5], [-1], [[0]]])
def test_an_image_that_is_not_there_is_a_mistake_of_the_caller(tmp_path, wrong):
    with pytest.raises(ValueError):
        open_stack(saved(tmp_path, images())).read(wrong)


def test_big_endian_is_read(tmp_path):
    array = images()
    path = saved(tmp_path, array)
    little = np.frombuffer(path.read_bytes()[:1024], dtype=HEADER_DTYPE.newbyteorder("<"))
    path.write_bytes(little.astype(HEADER_DTYPE.newbyteorder(">")).tobytes() + array.astype(">f4").tobytes())
    patched(path, STAMP, b"\x11\x11\x00\x00")
    with mrcfile.open(path) as file:
        assert np.array_equal(file.data, array)
    stack = open_stack(path)
    assert np.array_equal(stack.read(range(5)), array)
    assert not any("stamp" in remark for remark in stack.remarks)


@pytest.mark.parametrize("stamp", [b"\x11\x11\x00\x00", b"\x00\x00\x00\x00", b"abcd"])
def test_a_wrong_machine_stamp_is_seen_through_and_reported(tmp_path, stamp):
    array = images()
    stack = open_stack(patched(saved(tmp_path, array), STAMP, stamp))
    assert np.array_equal(stack.read(range(5)), array)
    assert "machine stamp" in stack.remarks[0]


def test_an_extended_header_is_skipped(tmp_path):
    array, path = images(), tmp_path / "extended.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(array)
        file.set_extended_header(np.frombuffer(bytes(640), dtype="V1"))
        file.set_image_stack()
    assert np.array_equal(open_stack(path).read([4]), array[4:])


def test_old_files_without_the_word_map_are_read(tmp_path):
    array = images()
    assert np.array_equal(open_stack(patched(saved(tmp_path, array), MAP, bytes(4))).read(range(5)), array)


@pytest.mark.parametrize("cell", [(0, 0), (float("nan"), 18), (1e9, 1e9), (18, 36), (-18, -18)])
def test_a_pixel_size_that_cannot_be_is_none(tmp_path, cell):
    stack = open_stack(patched(saved(tmp_path, images()), CELL, struct.pack("<2f", *cell)))
    assert stack.pixel_size_a is None
    assert "pixel size" in stack.remarks[0]


def test_stacks_that_call_themselves_volumes_are_told_by_ending_and_shape(tmp_path):
    """Many programs write space group 1 and as many sections as images, class averages among them."""
    path = patched(patched(saved(tmp_path, images()), ISPG, number(1)), MZ, number(5))
    assert open_stack(path).n_images == 5
    with pytest.raises(InputError, match="is a volume of 12 × 12 × 5 voxels"):
        open_stack(path.rename(tmp_path / "given.mrc"))
    cube = saved(tmp_path, images(count=12))
    assert open_stack(cube).n_images == 12  # space group 0 says that it is a stack
    with pytest.raises(InputError, match="is a volume of 12 × 12 × 12 voxels"):
        open_stack(patched(cube, ISPG, number(1)))
    with pytest.raises(InputError, match="holds volumes"):
        open_stack(patched(cube, ISPG, number(401)))


def test_one_image_is_a_stack_of_one(tmp_path):
    assert open_stack(saved(tmp_path, images(count=1), "single.mrc")).n_images == 1


@pytest.mark.parametrize(
    ("position", "content", "sentence"),
    [
        (MODE, number(16), "RGB"),
        (MODE, number(4), "Fourier"),
        (MODE, number(3), "Fourier"),
        (MODE, number(101), "4-bit"),
        (MODE, number(7), "unknown kind"),
        (MODE, number(-1), "no MRC file"),
        (NX, number(0), "no MRC file"),
        (NX, number(-12), "no MRC file"),
        (NX, number(2**30), "no MRC file"),
        (NZ, number(0), "no images"),
        (NZ, number(6), "cut off, with 5 whole images where its header announces 6"),
        (NZ, number(3), "room for 5 images"),
        (NY, number(6), "12 × 6 pixels, expected square"),
        (NY, number(10), "12 × 10 pixels, expected square"),
        (NSYMBT, number(2**20), "cut off, with 0 whole images"),
        (NSYMBT, number(-4), "no MRC file"),
    ],
)
def test_damaged_headers_are_one_sentence(tmp_path, position, content, sentence):
    path = patched(saved(tmp_path, images()), position, content)
    with pytest.raises(InputError, match=sentence) as caught:
        open_stack(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"short", "has 5 bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "no MRC file"),
        (b"data_particles\nloop_\n_rlnImageName\n" * 100, "no MRC file"),
    ],
)
def test_other_files_are_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "given.mrcs"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        open_stack(path)


def test_a_file_that_is_absent_or_a_folder_is_one_sentence(tmp_path):
    for path in (tmp_path / "absent.mrcs", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            open_stack(path)


def test_a_cut_off_file_says_how_much_is_left(tmp_path):
    path = saved(tmp_path, images())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="4 whole images where its header announces 5"):
        open_stack(path)


def test_a_file_that_shrinks_while_it_is_read_is_one_sentence(tmp_path):
    path = saved(tmp_path, images())
    stack = open_stack(path)
    path.write_bytes(path.read_bytes()[:-600])
    assert len(stack.read([0, 1, 2])) == 3
    with pytest.raises(InputError, match="ends within image 5"):
        stack.read([3, 4])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_values_that_are_no_numbers_name_their_image(tmp_path, value, dtype):
    bad = np.array(value, dtype=dtype).tobytes()
    position = 1024 + ((3 * 12 + 2) * 12 + 1) * len(bad)
    stack = open_stack(patched(saved(tmp_path, images(dtype=dtype)), position, bad))
    assert len(stack.read([0, 4])) == 2
    with pytest.raises(InputError, match="image 4 holds values that are not finite"):
        stack.read([0, 3, 4])


@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 5000))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_stack_is_read_or_is_one_sentence(tmp_path, changes, length):
    """Bytes of the header changed, the file cut anywhere: no other exception."""
    original = tmp_path / "original.mrcs"
    whole = bytearray((original if original.exists() else saved(tmp_path, images(), original.name)).read_bytes())
    for position, value in changes:
        whole[position] = value
    path = tmp_path / "given.mrcs"
    path.write_bytes(whole[: length if length > 2000 else None])
    try:
        stack = open_stack(path)
        assert stack.read([0, stack.n_images - 1]).shape == (2, stack.box_px, stack.box_px)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


@pytest.mark.parametrize("pixel_size_a", [1.31, None])
def test_what_is_written_validates_and_comes_back(tmp_path, pixel_size_a):
    array = images(count=7).astype(np.float32) / 3
    path = tmp_path / "out.mrcs"
    with StackWriter(path, 12, pixel_size_a) as out:
        out.write(array[:4])
        out.write(array[4:4])
        out.write(array[4:].astype(np.float64))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.is_image_stack()
        assert np.array_equal(file.data, array)
        assert float(file.voxel_size.x) == pytest.approx(pixel_size_a or 0)
        header = {name: float(file.header[name]) for name in ("dmin", "dmax", "dmean", "rms", "mz", "ispg")}
    expected = [array.min(), array.max(), array.mean(), array.std(), 1, 0]
    assert list(header.values()) == pytest.approx(expected, rel=1e-5)
    stack = open_stack(path)
    assert stack.pixel_size_a == (pytest.approx(pixel_size_a) if pixel_size_a else None)
    assert np.array_equal(stack.read(range(7)), array)
    assert [item.name for item in tmp_path.iterdir()] == ["out.mrcs"]


def test_the_same_images_give_the_same_bytes(tmp_path):
    for name, pieces in (("one", [slice(0, 5)]), ("two", [slice(0, 2), slice(2, 5)])):
        with StackWriter(tmp_path / name, 12, 1.0) as out:
            for piece in pieces:
                out.write(images()[piece])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("wrong", [np.zeros((2, 12, 10)), np.zeros((12, 12)), np.full((1, 12, 12), np.nan), None])
def test_a_stack_that_fails_leaves_the_old_one_alone(tmp_path, wrong):
    path = tmp_path / "out.mrcs"
    path.write_bytes(b"old")
    with pytest.raises(ValueError), StackWriter(path, 12, 1.0) as out:
        if wrong is not None:
            out.write(images())
            out.write(wrong)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["out.mrcs"]

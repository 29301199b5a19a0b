"""Every kind of file is read as it is, or named with what is wrong with it."""

import numpy as np
import pytest
import tifffile

from tests.background.ole_fixture import write_ole, xradia_streams
from workflow_scripts.background.apply.image_files import read_image_set, read_mean
from workflow_scripts.background.apply.settings import IMAGES
from workflow_scripts.formats.files import image_files
from workflow_scripts.workflow.errors import InputError


def images_of(path, what="tiles"):
    return read_image_set(image_files(path, IMAGES, what), what)


def image(dtype="uint16", shape=(64, 48), seed=0):
    return np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "float32", "float64"])
def test_grey_tiffs_are_read_as_they_are(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", image(dtype))
    found = images_of(tmp_path)
    assert found.names == ("a.tif",)
    assert found.images.dtype == np.float32
    assert np.array_equal(found.images[0], image(dtype))
    assert found.pixel_size_um is None and found.remarks == ()


def test_names_are_in_natural_order_and_pages_are_tiles(tmp_path):
    for name in ("t10.tif", "t2.TIFF", "T1.tif"):
        tifffile.imwrite(tmp_path / name, image(seed=len(name)))
    tifffile.imwrite(tmp_path / "u.tif", np.stack([image(), image(seed=1)]), photometric="minisblack")
    (tmp_path / ".t0.tif").write_text("hidden")
    (tmp_path / "notes.txt").write_text("no image")
    found = images_of(tmp_path)
    assert found.names == ("T1.tif", "t2.TIFF", "t10.tif", "u.tif[1]", "u.tif[2]")
    assert np.array_equal(found.images[4], image(seed=1))
    assert np.array_equal(images_of(tmp_path / "u.tif").images, found.images[3:])


def test_files_of_an_ome_set_hold_their_own_images_alone(tmp_path):
    names = ["a.ome.tif", "b.ome.tif"]
    planes = "".join(
        f'<TiffData FirstT="{k}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{k}</UUID></TiffData>'
        for k, name in enumerate(names)
    )
    for k, name in enumerate(names):
        about = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME UUID="urn:uuid:{k}"><Image ID="Image:0"><Pixels ID="Pixels:0"'
            ' DimensionOrder="XYCZT" Type="uint16" SizeX="48" SizeY="64" SizeC="1" SizeZ="1" SizeT="2">'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, image(seed=k), description=about, metadata=None)
    tifffile.imwrite(tmp_path / "c.ome.tif", np.stack([image(), image(seed=1)]), photometric="minisblack")
    found = images_of(tmp_path)
    assert np.array_equal(found.images, [image(seed=k) for k in (0, 1, 0, 1)])


def test_a_stack_that_is_cut_off_between_two_pages_is_named(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([image(seed=k) for k in range(4)]), compression="zlib", photometric="minisblack"
    )
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) * 3 // 5])
    with pytest.raises(InputError, match=r"a\.tif is damaged or cut off after 3 pages"):
        images_of(tmp_path)


def test_equal_channels_are_grey_and_mixed_types_and_clipping_are_remarked(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.repeat(image("uint8")[..., None], 3, axis=2), photometric="rgb")
    clipped = image()
    clipped[:4] = 65535
    tifffile.imwrite(tmp_path / "b.tif", clipped)
    found = images_of(tmp_path)
    assert np.array_equal(found.images[0], image("uint8"))
    for words in ("channels are equal", "clipped", "mixes types"):
        assert any(words in remark for remark in found.remarks), words


def broken(folder):
    """One of each in one folder; the first two are good."""
    tifffile.imwrite(folder / "a0.tif", image())
    tifffile.imwrite(folder / "a1.tif", image("float32"))
    tifffile.imwrite(folder / "colour.tif", image("uint8", (64, 48, 3)), photometric="rgb")
    tifffile.imwrite(folder / "size.tif", image(shape=(64, 50)))
    tifffile.imwrite(folder / "constant.tif", np.full((64, 48), 7, np.uint16))
    tifffile.imwrite(folder / "nan.tif", np.where(image() == 5, np.nan, image("float32")).astype("f4"))
    tifffile.imwrite(folder / "log.tif", -image("float32"))
    tifffile.imwrite(folder / "complex.tif", image("complex64"))
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.tif").write_text("no image")
    (folder / "cut.tif").write_bytes((folder / "a0.tif").read_bytes()[:900])


def test_all_that_is_wrong_in_a_folder_is_named_at_once(tmp_path):
    broken(tmp_path)
    with pytest.raises(InputError, match="9 of 11 files") as error:
        images_of(tmp_path)
    assert "and 1 more" in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("colour.tif", "colour image"),
        ("constant.tif", "only the value 7"),
        ("nan.tif", "not finite"),
        ("log.tif", "not above 0"),
        ("complex.tif", "real numbers"),
        ("empty.tif", "is empty"),
        ("text.tif", "not a whole TIFF"),
        ("cut.tif", "not a whole TIFF"),
    ],
)
def test_each_is_said_in_its_own_words(tmp_path, name, words):
    broken(tmp_path)
    with pytest.raises(InputError, match=words):
        images_of(tmp_path / name)


def test_sizes_that_differ_and_absent_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no \.tif"):
        images_of(tmp_path)
    with pytest.raises(InputError, match="references: there is no folder"):
        images_of(tmp_path / "none", "references")
    for k in range(3):
        tifffile.imwrite(tmp_path / f"a{k}.tif", image(shape=(64, 48 + 2 * (k == 1))))
    with pytest.raises(InputError, match=r"a1.tif has 64 × 50 pixels, others 64 × 48"):
        images_of(tmp_path)


def test_dark_frames_are_averaged_and_must_fit(tmp_path):
    for k, level in enumerate((10, 20)):
        tifffile.imwrite(tmp_path / f"d{k}.tif", np.full((64, 48), level, np.uint16))
    assert (read_mean(sorted(tmp_path.glob("*.tif")), "dark", (64, 48)) == 15).all()
    with pytest.raises(InputError, match="64 × 48 pixels, but the tiles have 64 × 64"):
        read_mean(sorted(tmp_path.glob("*.tif")), "dark", (64, 64))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_xradia_files_are_read_with_their_scale(tmp_path, dtype):
    stack = image(dtype, (103, 64, 48))
    places = np.random.default_rng(1).normal(size=(103, 2)).astype("f4")
    write_ole(tmp_path / "m.txrm", xradia_streams(stack, 0.0625, places))
    found = images_of(tmp_path / "m.txrm")
    assert np.array_equal(found.images, stack)
    assert found.pixel_size_um == 0.0625
    assert found.names[102] == "m.txrm[103]"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ImageInfo/ImageWidth": None}, "no stream ImageInfo/ImageWidth"),
        ({"ImageInfo/DataType": b"\x09\0\0\0"}, "type 9"),
        ({"ImageInfo/ImageHeight": b"\xff\xff\xff\xff"}, "announces images of -1"),
        ({"ImageInfo/NoOfImages": bytes(4)}, "announces 0 images"),
        ({"ImageInfo/NoOfImages": b"\x03\0\0\0"}, "no stream ImageData1/Image3"),
        ({"ImageData1/Image2": b"\1" * 5000}, "ends within ImageData1/Image2: 5000 of 6144"),
    ],
)
def test_malformed_xradia_files_are_named(tmp_path, change, words):
    streams = xradia_streams(image(shape=(2, 64, 48)), positions_um=np.zeros((2, 2))) | change
    write_ole(tmp_path / "m.txrm", {name: content for name, content in streams.items() if content is not None})
    with pytest.raises(InputError, match=words):
        images_of(tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 600, 9000])
def test_cut_off_xradia_files_are_named(tmp_path, keep):
    path = write_ole(tmp_path / "m.xrm", xradia_streams(image(shape=(1, 64, 48))))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"1 of 1 files .* m.xrm"):
        images_of(tmp_path)

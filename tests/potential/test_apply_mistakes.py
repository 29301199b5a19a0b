"""What a user can do wrong with segmented images: each ends in one sentence that names the file or the key."""

import h5py
import numpy as np
import pytest
import tifffile

from tests.potential import toy, user_images
from tests.potential.test_apply_data import DETECTOR, FOUR_D, ONLY_DOSE, checked_entry, four_files, recorded
from workflow_scripts.potential.apply.settings import Apply
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check


def refused(folder, sentence, **changes):
    with pytest.raises(InputError) as error:
        checked_entry(folder, **changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def with_value(value):
    def change(images):
        changed = images.astype(np.float32)
        changed[2, 10, 12] = value
        return changed

    return change


IMAGES = {
    "NaN": (with_value(np.nan), {}, "segment2.npy holds 1 values that are not finite, the first at [10, 12]"),
    "infinite": (with_value(np.inf), {}, "segment2.npy holds 1 values that are not finite"),
    "negative": (with_value(-4.0), {}, "are below 0 after the offset 0, down to -4"),
    "offset too large": (lambda images: images + 3, {"offset": 4.0}, "are below 0 after the offset 4"),
    "complex": (lambda images: images * 1j, {}, "type complex128, expected real numbers"),
    "text": (lambda images: images.astype(str), {}, "expected real numbers"),
    "empty": (lambda images: images[:, :0], {}, "segment0.npy is empty"),
    "too few pixels": (lambda images: images[:, :10], {}, "10 × 52 pixels, expected at least 16"),
    "one axis": (lambda images: images[:, 0], {}, "expected one image (H, W)"),
    "three axes": (lambda images: images[:, None].repeat(4, 1), {}, "expected one image (H, W); save one segment"),
    "dark": (lambda images: images * (np.arange(4) != 1)[:, None, None], {}, "segment1.npy holds only zeros"),
    "incident too small": (lambda images: images, {"incident": 5.0}, "at most 1 is possible; enlarge incident"),
    "bright pixels": (lambda images: images + 80 * (np.indices(images.shape).sum(0) % 40 == 0), {}, "brightest pixels"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_cannot_be_used_are_refused(tmp_path, kind):
    change, changes, sentence = IMAGES[kind]
    four_files(tmp_path, change(user_images.counts()))
    refused(tmp_path, sentence, **changes)


@pytest.mark.parametrize("electrons", [0.02, 2.0, 300.0])
def test_noise_alone_is_never_taken_for_too_small_a_beam(tmp_path, electrons):
    """A detector that takes the whole beam at few electrons a pixel often counts more than came in on average."""
    four_files(tmp_path, np.random.default_rng(1).poisson(0.247 * electrons, (4, 400, 400)))
    checked, _ = checked_entry(tmp_path, incident=electrons, ring_mrad=[0.0, 20.0])
    assert checked.shares.sum(axis=1).max() > 1.1


def test_images_of_different_sizes_are_named(tmp_path):
    images = list(user_images.counts())
    images[3] = images[3][:, :-1]
    four_files(tmp_path, images)
    refused(tmp_path, "segment3.npy has 40 × 51 pixels, but")


@pytest.mark.parametrize("ending", ["tif", "npy", "h5"])
@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -4])
def test_a_truncated_file_is_refused(tmp_path, ending, kept):
    names = four_files(tmp_path, user_images.counts(), ending)
    path = tmp_path / names[2]
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    refused(tmp_path, names[2], images=names, dataset="entry/data" if ending == "h5" else None)


@pytest.mark.parametrize("ending", ["tif", "npy", "h5", "npz"])
def test_a_file_that_is_absent_or_something_else_is_refused(tmp_path, ending):
    if ending == "npz":
        changes = ONLY_DOSE
        bad = tmp_path / "samples.npz"
    else:
        names = four_files(tmp_path, user_images.counts(), ending)
        changes = {"images": names, "dataset": "entry/data" if ending == "h5" else None}
        bad = tmp_path / names[1]
        bad.unlink()
    refused(tmp_path, "there is no file", **changes)
    bad.write_bytes(b"this is a letter, not an image")
    refused(tmp_path, bad.name, **changes)


def test_colour_images_and_mixed_pages_are_refused(tmp_path):
    names = four_files(tmp_path, user_images.counts(), "tif")
    tifffile.imwrite(tmp_path / names[1], np.ones((40, 52, 3), np.uint8), photometric="rgb")
    refused(tmp_path, "segment1.tif is a colour image", images=names)
    with tifffile.TiffWriter(tmp_path / names[1]) as file:
        for n in (40, 30):
            file.write(np.ones((n, 52), np.uint16), metadata=None)
    refused(tmp_path, "segment1.tif holds 2 kinds of images", images=names)
    for name in names:
        tifffile.imwrite(tmp_path / name, user_images.counts()[:3], photometric="minisblack")
    refused(tmp_path, "expected one image (H, W); save one segment", images=names)
    tifffile.imwrite(tmp_path / "stack.tif", user_images.counts()[:3], photometric="minisblack")
    refused(tmp_path, "shape (3, 40, 52), expected (4, H, W)", images=["stack.tif"])


def test_a_wrong_dataset_is_refused_with_those_that_exist(tmp_path):
    names = four_files(tmp_path, user_images.counts(), "h5")
    for wrong in ("data", "entry"):
        refused(tmp_path, f"has no dataset '{wrong}'; it holds entry/data", images=names, dataset=wrong)
    with h5py.File(tmp_path / names[0], "w") as file:
        file["entry/data"] = "text"
    refused(tmp_path, "expected real numbers", images=names, dataset="entry/data")


ARCHIVES = {
    "no images": (lambda arrays: arrays.pop("input"), {}, "no array 'input'; it holds"),
    "three segments": (lambda arrays: arrays.update(input=arrays["input"][:, :3]), {}, "expected (4, H, W) or"),
    "objects": (lambda arrays: arrays.update(input=np.array([{}])), {}, "not a whole .npz"),
    "no samples": (lambda arrays: arrays.update(input=arrays["input"][:0]), {}, "is empty"),
    "NaN": (lambda arrays: arrays.update(input=arrays["input"] * np.nan), {}, "not finite"),
    "no pixel": (lambda arrays: arrays.pop("sampling"), {}, "the file has no sampling; set pixel_size_a"),
    "pixel": (lambda arrays: arrays.update(sampling=[0.1, 0.2]), {}, "expected one positive number; set pixel_size_a"),
    "text": (lambda arrays: arrays.update(sampling="0.1"), {}, "sampling in the file holds values that are not finite"),
    "thickness": (lambda arrays: arrays.update(thickness_nm=[1.0, 2.0]), {}, "shape (2,) for 12 samples"),
    "no thickness": (lambda arrays: arrays.update(thickness_nm=0.0), {}, "thicknesses > 0; set thickness_nm"),
    "detector": (lambda arrays: arrays.update(detector=[3.0]), {}, "expected inner and outer angle"),
    "another name": (lambda arrays: None, {"dataset": "signal"}, "no array 'signal'; it holds"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_files_of_samples_that_cannot_be_used_are_refused(tmp_path, kind):
    change, changes, sentence = ARCHIVES[kind]
    arrays = toy.toy_samples(per_material=1).arrays()
    change(arrays)
    np.savez(tmp_path / "samples.npz", **arrays)
    refused(tmp_path, sentence, **ONLY_DOSE | changes)


MICROSCOPES = {
    "voltage": ({"voltage_kv": 300.0}, "set potential.synthesize.microscope.voltage_kv: 300,"),
    "semiangle": ({"semiangle_mrad": 25.0}, "set potential.synthesize.microscope.semiangle_mrad: 25,"),
    "ring": ({"ring_mrad": [15.0, 60.0]}, "set potential.synthesize.microscope.ring_mrad: [15, 60],"),
    "disc": ({"ring_mrad": [0.0, 15.0]}, "set potential.synthesize.microscope.matched_ring_mrad: [0, 15],"),
    "both": (
        {"voltage_kv": 80.0, "ring_mrad": [15.0, 60.0]},
        "microscope.voltage_kv: 80 and potential.synthesize.microscope.ring_mrad: [15, 60], so that it is trained",
    ),
    "undersampled": ({"pixel_size_a": 0.32}, "so a pixel may be 0.313 Å at most"),
}


@pytest.mark.parametrize("kind", MICROSCOPES)
def test_another_microscope_is_refused_with_the_keys_to_set(tmp_path, kind):
    changes, sentence = MICROSCOPES[kind]
    four_files(tmp_path, user_images.counts())
    refused(tmp_path, sentence, **changes)


def changed_scan(change):
    stack = recorded()
    return change(stack)


def bad_pattern(value):
    def change(stack):
        stack[1, 2, 5, 5] = value
        return stack

    return change


SCANS = {
    "NaN": (bad_pattern(np.nan), {}, "pattern 20 holds values that are not finite"),
    "negative": (bad_pattern(-1.0), {}, "pattern 20 holds the negative count"),
    "dark": (lambda stack: 0 * stack, {}, "all counts are 0"),
    "two axes": (lambda stack: stack[0, 0], {}, "expected (N, H, W) or (Ry, Rx, H, W)"),
    "flat": (lambda stack: stack.reshape(-1, *DETECTOR), {}, "set scan_shape: [rows, columns]"),
    "another shape": (lambda stack: stack, {"scan_shape": [5, 5]}, "holds 288 patterns, but scan_shape"),
    "few points": (lambda stack: stack[:3], {}, "3 × 18 scan points, expected at least 16"),
    "ring off the detector": (
        lambda stack: stack,
        {"disc_radius_px": 15.0},
        "detector is 29.8 px away; choose a ring of",
    ),
    "no disc": (lambda stack: 0 * stack + 1, {"center_px": None}, "give center_px and disc_radius_px"),
    "incident too small": (lambda stack: stack, {"incident": 10.0}, "at most 1 is possible"),
}


@pytest.mark.parametrize("kind", SCANS)
def test_scans_that_cannot_be_used_are_refused(tmp_path, kind):
    change, changes, sentence = SCANS[kind]
    np.save(tmp_path / "scan.npy", changed_scan(change))
    refused(tmp_path, sentence, **FOUR_D | changes)


CONTRADICTIONS = {
    "nothing": ({"images": None}, "either images or patterns"),
    "both": ({"patterns": "scan.npy"}, "either images or patterns"),
    "two images": ({"images": ["a.tif", "b.tif"]}, "four segment images or one file"),
    "one image twice": ({"images": ["a.tif", "b.tif", "a.tif", "c.tif"]}, "one is listed twice"),
    "another ending": ({"images": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]}, "none of .tif, .npy, .npz, .h5"),
    "h5 without a dataset": ({"images": ["a.h5"]}, "a .h5 file needs dataset"),
    "npy with a dataset": ({"dataset": "data"}, "dataset: applies to .h5 and .npz"),
    "four npz": ({"images": [f"{n}.npz" for n in range(4)]}, "so name it alone"),
    "45 degrees": ({"segment_azimuth_deg": 45.0}, "45 is no multiple of 90; rotate the scan"),
    "no pixel": ({"pixel_size_a": None}, "pixel_size_a: must be given"),
    "no thickness": ({"thickness_nm": None}, "thickness_nm: must be given"),
    "no ring": ({"ring_mrad": None}, "ring_mrad: must be given"),
    "ring": ({"ring_mrad": [50.0, 10.0]}, "the inner angle must be smaller"),
    "no dose": ({"counts_per_electron": None}, "give dose_e_per_a2, or counts_per_electron"),
    "no beam": ({"incident": None}, "give incident, the counts of the full beam"),
    "a scan's key": ({"center_px": [1.0, 2.0]}, "center_px: applies to patterns"),
    "offset of patterns": (FOUR_D | {"offset": 1.0}, "subtract it from the patterns"),
    "patterns in a tif": (FOUR_D | {"patterns": "scan.tif"}, "neither .npy nor .h5"),
    "patterns without a pixel": (FOUR_D | {"pixel_size_a": None}, "must be given with patterns"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_settings_that_contradict_are_refused(kind):
    changes, sentence = CONTRADICTIONS[kind]
    with pytest.raises(InputError, match=r"^apply\.potential\.mine") as error:
        check(Apply, user_images.settings(**changes), "apply.potential.mine")
    assert sentence in str(error.value)

"""The user's diffraction patterns: the disc is where it is, and what is no count is named."""

import numpy as np
import pytest
import tifffile

from workflow_scripts.formats.scan import Scan, find_disc, open_scan
from workflow_scripts.workflow.errors import InputError


@pytest.mark.parametrize("center", [(43.3, 51.8), (30.0, 70.5)])
@pytest.mark.parametrize("background", [0.0, 0.02, 0.2])
def test_the_disc_is_found(center, background):
    y, x = np.mgrid[:90, :100]
    mean = np.clip(20.5 - np.hypot(y - center[0], x - center[1]), 0, 1) + background
    disc = find_disc(mean, "it")
    assert disc.center_px == pytest.approx(center, abs=0.1)
    assert disc.radius_px == pytest.approx(20.0, abs=0.2)


def test_no_disc_is_said_with_the_keys_to_give():
    with pytest.raises(InputError, match="no bright-field disc; give center_px"):
        find_disc(np.ones((20, 20)), "center_px")


def test_the_mean_is_over_all_patterns_in_either_form():
    stack = np.random.default_rng(0).poisson(3.0, (3, 4, 8, 9))
    for form in (stack, stack.reshape(12, 8, 9)):
        scan = Scan(form, None, "it")
        assert len(scan) == 12 and scan.pattern_shape == (8, 9)
        assert np.allclose(scan.mean_pattern(), stack.mean(axis=(0, 1)))
        assert np.array_equal(np.concatenate(list(scan.chunks())), stack.reshape(12, 8, 9))
        assert np.array_equal(scan.select([7, 2]), stack.reshape(12, 8, 9)[[7, 2]])


@pytest.mark.parametrize(
    ("value", "sentence"), [(np.nan, "pattern 5 holds values that are not finite"), (-2, "5 holds the negative count")]
)
def test_what_is_no_count_is_named(value, sentence):
    stack = np.ones((2, 4, 8, 8))
    stack[1, 1, 3, 3] = value
    with pytest.raises(InputError, match=sentence):
        Scan(stack, None, "it").mean_pattern()


def test_dark_patterns_are_refused():
    with pytest.raises(InputError, match="all counts are 0"):
        Scan(np.zeros((2, 4, 8, 8)), None, "it").mean_pattern()


def raster(folder, shape, stated=None):
    np.save(folder / "scan.npy", np.ones(shape))
    with open_scan([folder / "scan.npy"], None, stated) as scan:
        return scan.raster


def test_the_raster_of_the_scan(tmp_path):
    assert raster(tmp_path, (3, 4, 8, 8)) == (3, 4)
    assert raster(tmp_path, (12, 8, 8), (4, 3)) == (4, 3)
    assert raster(tmp_path, (12, 8, 8)) is None
    with pytest.raises(InputError, match=r"holds 12 patterns, but scan_shape \[5, 5\] wants 25"):
        raster(tmp_path, (12, 8, 8), (5, 5))
    with pytest.raises(InputError, match="expected"):
        raster(tmp_path, (8, 8))


def test_images_in_a_folder_are_a_scan(tmp_path):
    images = np.random.default_rng(0).poisson(3.0, (6, 8, 9)).astype(np.uint16)
    paths = [tmp_path / f"{number}.TIF" for number in range(6)]
    for path, image in zip(paths, images, strict=True):
        tifffile.imwrite(path, image)
    with open_scan(paths, None, (2, 3)) as scan:
        assert scan.raster == (2, 3) and scan.where == f"patterns: {tmp_path}"
        assert np.array_equal(np.concatenate(list(scan.chunks())), images)

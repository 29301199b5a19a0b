"""The phase image of a scan: χ² is 1 for shot noise, the files have units, the same image gives the same bytes."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
import torch

from tests.diffractive_imaging import user_scan
from workflow_scripts.diffractive_imaging.apply.phase_image import (
    phase_image,
    reduced_chi2,
    write_h5,
    write_preview,
    write_tiff,
)
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Scan


@pytest.fixture(scope="module")
def scene():
    """A scan, and the true patches of it on object pixels."""
    fine, positions, counts = user_scan.scene()
    patches = forward.window_at(fine, positions, user_scan.N, 4).float()
    return Scan(counts, positions, False), patches


@pytest.fixture(scope="module")
def image(scene):
    return phase_image(scene[1], scene[0], user_scan.light())


def test_the_true_object_leaves_shot_noise_alone():
    fine, positions, counts = user_scan.scene()
    truth = Stitched(fine, torch.ones_like(fine), (0, 0), 4, 0)
    light = replace(user_scan.light(), upsampling=4)
    for dose in (1.0, 0.01):
        thinned = torch.binomial(counts, torch.tensor(dose), generator=torch.Generator().manual_seed(0))
        scan = Scan(thinned, positions, False)
        chi2 = reduced_chi2(truth, scan, replace(light, dose_e=dose * light.dose_e))
        assert float(chi2.mean()) == pytest.approx(1.0, abs=0.02)


def test_true_patches_leave_little_more_than_shot_noise_and_wrong_ones_much_more(scene, image):
    # Around half a pixel of rounding, and unknown surroundings at the rim, are what is left.
    median = np.median(image.chi2_per_pattern)
    assert median < 1.25
    assert image.chi2_without_object > 1.5 * median
    scan, patches = scene
    worse = phase_image(0.5 * patches, scan, user_scan.light())
    assert np.median(worse.chi2_per_pattern) > 1.1 * median


def test_the_spread_is_that_of_the_patches(scene, image):
    scan, patches = scene
    noise = 0.1 * torch.randn(patches.shape, generator=torch.Generator().manual_seed(0))
    noisy = phase_image(patches + noise, scan, user_scan.light())
    assert np.nanmedian(noisy.uncertainty_rad) == pytest.approx(0.1, rel=0.15)
    assert np.nanmedian(image.uncertainty_rad) < 0.5 * np.nanmedian(noisy.uncertainty_rad)


def test_a_pattern_of_another_object_stands_out_in_the_map_of_chi2(scene, image):
    scan, patches = scene
    counts = scan.counts.clone()
    counts[90] = counts[5]
    changed = phase_image(patches, Scan(counts, scan.positions_px, False), user_scan.light())
    assert (changed.chi2_per_pattern - image.chi2_per_pattern).argmax() == 90
    row, column = np.unravel_index(np.nanargmax(changed.chi2 - image.chi2), changed.chi2.shape)
    where = scan.positions_px[90].numpy() - changed.origin_px
    assert np.hypot(row - where[0], column - where[1]) < user_scan.N / 2


def test_the_files_carry_radians_and_angstrom(tmp_path, image):
    for turn in ("a", "b"):
        write_h5(tmp_path / f"{turn}.h5", image, image.phase_rad, {"scan_rotation_deg": 30.0})
        write_tiff(tmp_path / f"{turn}.tif", image)
        write_preview(tmp_path / f"{turn}.png", image, image.phase_rad)
    for suffix in ("h5", "tif", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["phase_rad"][...], image.phase_rad)
        assert file["phase_rad"].attrs["unit"] == "rad"
        assert file.attrs["pixel_size_a"] == user_scan.PIXEL_A
        assert file.attrs["scan_rotation_deg"] == 30.0
        assert set(file) == {
            *("phase_rad", "uncertainty_rad", "chi2", "chi2_per_pattern", "positions_px", "ptychography_rad")
        }
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.asarray(), image.phase_rad)
        assert file.imagej_metadata["unit"] == "angstrom"
        assert file.imagej_metadata["Info"] == "phase in rad"
        pixels, length = file.pages[0].tags["XResolution"].value
        assert length / pixels == pytest.approx(user_scan.PIXEL_A, rel=1e-5)

"""Class averages from image files: sampling, pixel size, sign, and one sentence for what cannot be used."""

import mrcfile
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tests.alignment.molecules import sentence
from workflow_scripts.alignment.simulation.analytic import asymmetric_blobs
from workflow_scripts.alignment.simulation.grids import fade_out, resampled
from workflow_scripts.alignment.simulation.particles import Blobs, particle, project
from workflow_scripts.alignment.simulation.sources import read_class_average

FIELD_A = 256.0


def picture(n):
    """A particle that a grid of 90 px resolves, with variance 1, on a grid of n."""
    sharp = asymmetric_blobs()
    smooth = Blobs(sharp.positions_a, np.hypot(sharp.widths_a, 4.0), sharp.weights)
    return particle("one", project(smooth, n, FIELD_A / n), FIELD_A / n).image.numpy()


def saved(folder, name, values, size_a=None):
    path = folder / name
    if name.endswith(".mrc"):
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(values)
            file.voxel_size = size_a or 0.0
    elif name.endswith(".tif"):
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


def bytes_of(values):
    return np.round(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


@pytest.mark.parametrize("width", [200, 201, 128, 90])
@pytest.mark.parametrize("name", ["one.png", "one.tif", "one.mrc"])
def test_any_size_becomes_the_same_particle(tmp_path, name, width):
    values = bytes_of(picture(width)) if name == "one.png" else picture(width) + 5
    centre = read_class_average(saved(tmp_path, name, values), 128, pixel_size_a=FIELD_A / width)
    assert centre.name == "one" and centre.image.shape == (128, 128)
    assert centre.pixel_size_a == pytest.approx(2.0) and centre.width_ratio == pytest.approx(width / 128)
    error = centre.image - torch.from_numpy(picture(128))
    assert float(error.square().mean().sqrt()) < 0.02


def test_the_header_of_an_mrc_gives_the_pixel_size_unless_the_user_does(tmp_path):
    path = saved(tmp_path, "one.mrc", picture(100), size_a=1.5)
    assert read_class_average(path, 50).pixel_size_a == pytest.approx(3.0)
    assert read_class_average(path, 50, pixel_size_a=2.0).pixel_size_a == pytest.approx(4.0)


def test_dark_particles_are_turned_bright(tmp_path):
    bright = read_class_average(saved(tmp_path, "bright.tif", picture(96)), 96, 1.0)
    dark = read_class_average(saved(tmp_path, "dark.tif", 7 - picture(96)), 96, 1.0, dark_on_light=True)
    torch.testing.assert_close(bright.image, dark.image, atol=1e-4, rtol=0)
    wrong = read_class_average(saved(tmp_path, "dark.tif", 7 - picture(96)), 96, 1.0)
    torch.testing.assert_close(bright.image, -wrong.image, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("m", "n"), [(40, 64), (41, 64), (64, 41), (65, 40)])
def test_resampling_keeps_the_mean_the_centre_and_every_wave_that_fits(m, n):
    highest = (min(m, n) - 1) // 2

    def waves(size):
        y, x = (np.mgrid[:size, :size] - size // 2) * (2 * np.pi / size)
        return torch.from_numpy(1 + np.cos(3 * y + 5 * x) + np.sin(highest * y - 2 * x)).float()

    torch.testing.assert_close(resampled(waves(m), n), waves(n), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n", [40, 41])
def test_the_rim_is_faded_to_zero_and_the_inside_kept(n):
    density = torch.full((n, n), 2.0)
    density[n // 2, n // 2] = 9.0
    faded = fade_out(density)
    assert faded[n // 2, n // 2] == 7 and int((faded.abs() > 1e-6).sum()) == 1
    ramp = torch.arange(float(n)).expand(n, n).contiguous()
    corners = fade_out(ramp)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.abs().max() < 1e-4


def test_a_bad_image_is_named_in_one_sentence(tmp_path):
    good = picture(64)
    assert "no such file" in sentence(tmp_path / "absent.png", read_class_average, 64)
    assert "no such file" in sentence(tmp_path / "absent.mrc", read_class_average, 64)
    assert "ending" in sentence(tmp_path / "one.jpg", read_class_average, 64)
    assert "pixel size" in sentence(saved(tmp_path, "a.png", bytes_of(good)), read_class_average, 64)
    assert "pixel size" in sentence(saved(tmp_path, "a.mrc", good), read_class_average, 64)
    assert "square" in sentence(saved(tmp_path, "b.png", bytes_of(good)[:, :50].copy()), read_class_average, 64, 1.0)
    assert "square" in sentence(saved(tmp_path, "b.mrc", good[:, :50].copy()), read_class_average, 64, 1.0)
    assert "at least 16" in sentence(saved(tmp_path, "c.tif", good[:8, :8].copy()), read_class_average, 64, 1.0)
    for name in ("d.tif", "d.mrc"):
        assert "no numbers below" in sentence(
            saved(tmp_path, name, np.where(good > 1, np.nan, good)), read_class_average, 64, 1.0
        )
        flat = sentence(saved(tmp_path, name, np.full_like(good, 3)), read_class_average, 64, 1.0)
        assert "same value" in flat
    for name in ("e.png", "e.tif", "e.mrc"):
        path = saved(tmp_path, name, bytes_of(good) if name == "e.png" else good)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        sentence(path, read_class_average, 64, 1.0)
        path.write_bytes(b"")
        sentence(path, read_class_average, 64, 1.0)
    stack = saved(tmp_path, "f.mrc", np.stack([good, good]))
    assert "one square image" in sentence(stack, read_class_average, 64, 1.0)

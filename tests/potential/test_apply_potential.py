"""From a user's images to the files with the potential: tiles, units, scale, and what lies outside the training."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from tests.potential import toy, user_images
from workflow_scripts.learning.weights import save_weights
from workflow_scripts.potential.apply.data import UserImages
from workflow_scripts.potential.apply.output import write_h5, write_tiff
from workflow_scripts.potential.apply.reconstruction import TrainingRange, quality, reconstruct
from workflow_scripts.potential.apply.settings import Apply
from workflow_scripts.potential.networks.encoding import POTENTIAL_PER_NM, input_channels, output_channels
from workflow_scripts.potential.networks.model import describe_network, make_network
from workflow_scripts.potential.settings import VARIANTS, NetworkSettings
from workflow_scripts.potential.simulation.samples import PATCH
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import as_arguments, check

CPU = torch.device("cpu")
DOSES = (1e3, 1e6)


@pytest.fixture(scope="module")
def samples():
    return toy.toy_samples(per_material=2)


@pytest.fixture(scope="module")
def training(samples):
    return TrainingRange.of(samples, "ring", DOSES)


def images_of_user(pixel_size_a=0.2, shape=(90, 70), **changes):
    values = {
        "shares": user_images.shares(shape).astype(np.float32)[None],
        "pixel_size_a": pixel_size_a,
        "thickness_nm": np.array([20.0]),
        "rotation_deg": np.array([[15.0, 0.1, -0.2]]),
        "detector": "ring",
        "dose_e_per_a2": 1e5,
        "voltage_kv": 200.0,
        "semiangle_mrad": 20.0,
        "ring_mrad": (10.0, 50.0),
    }
    return UserImages(**values | changes)


class FirstChannels(nn.Module):
    """Returns the first image, and one metadata channel."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, x):
        return x[:, [0, self.channel]]


def test_a_network_that_returns_its_input_shows_the_scale_of_images_and_output(training):
    images = images_of_user()
    potential = reconstruct(images, FirstChannels(1), training, CPU, "float32", 4)
    assert potential.shape == (1, 2, 90, 70)
    unit = POTENTIAL_PER_NM * 20.0
    assert np.allclose(potential[0, 0], unit * (6 * images.shares[0, 0] - 0.8), atol=1e-4 * unit)
    assert np.allclose(potential[0, 1], unit * (6 * images.shares[0, 1] - 0.8), atol=1e-4 * unit)


def test_every_image_meets_the_network_with_its_metadata(training):
    pair = images_of_user(
        shares=np.repeat(images_of_user().shares, 2, axis=0),
        thickness_nm=np.array([10.0, 40.0]),
        rotation_deg=np.array([[90.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    )
    by_thickness = reconstruct(pair, FirstChannels(4), training, CPU, "float32", 4)[:, 1].mean(axis=(1, 2))
    assert by_thickness == pytest.approx([2000 * 10 / 40, 8000 * 40 / 40], rel=1e-4)
    sine = reconstruct(pair, FirstChannels(5), training, CPU, "float32", 4)[:, 1].mean(axis=(1, 2))
    assert sine == pytest.approx([2000, 0], abs=1)
    dose = reconstruct(pair, FirstChannels(11), training, CPU, "float32", 4)[:, 1].mean(axis=(1, 2))
    assert dose == pytest.approx([2000 * 0.5, 8000 * 0.5], rel=1e-4)


def test_what_lies_outside_of_the_training_is_reported(samples, training):
    inside = images_of_user(
        shares=np.broadcast_to(samples.images["ring"][:1], (1, 4, 64, 64)),
        thickness_nm=samples.thickness_nm[:1],
        rotation_deg=samples.rotation_deg[:1],
    )
    report = quality(inside, samples.potential[:1], training)
    assert report["outside_training"] == []
    assert report["mean_inner_potential_v"][0] == pytest.approx(
        samples.potential[0].mean() / (10 * samples.thickness_nm[0]), rel=1e-5
    )
    for changes, name in (
        ({"thickness_nm": np.array([70.0])}, "thickness_nm: 70 lies outside of 10 to 40"),
        ({"rotation_deg": np.array([[0.0, 3.0, 0.0]])}, "tilt_mrad: 52.36 lies outside"),
        ({"dose_e_per_a2": 100.0}, "dose_e_per_a2: 100 lies outside of 1000 to 1e+06"),
        ({"shares": 0.3 * inside.shares}, "share_of_beam: "),
    ):
        potential = samples.potential[:1] * changes.get("thickness_nm", inside.thickness_nm) / inside.thickness_nm
        outside = quality(images_of_user(**vars(inside) | changes), potential, training)["outside_training"]
        assert len(outside) == 1 and outside[0].startswith(name), outside
    assert "mean_inner_potential_v" in quality(inside, 5 * samples.potential[:1], training)["outside_training"][0]


def test_patches_alone_are_no_training_of_this_arm(samples):
    with pytest.raises(InputError, match="no crystals that fill"):
        TrainingRange.of(samples.rows(samples.kind == PATCH), "ring", DOSES)


@pytest.mark.parametrize("count", [1, 3])
def test_files_hold_units_and_scale(tmp_path, count):
    shares, potential = np.random.default_rng(0).random((count, 4, 20, 30)), np.ones((2, count, 20, 30), np.float32)
    potential[0] *= np.arange(30) * 100
    for name in ("a", "b"):
        write_h5(tmp_path / f"{name}.h5", *potential, shares.astype(np.float32), 0.25, {"name": "mine"})
        write_tiff(tmp_path / f"{name}.tif", potential[0], 0.25)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["potential"].shape == ((20, 30) if count == 1 else (count, 20, 30))
        assert file["shares"].shape[-3:] == (4, 20, 30)
        assert {file[name].attrs["unit"] for name in ("potential", "potential_limited")} == {"V Å"}
        assert all(dataset.attrs["pixel_size_a"] == 0.25 for dataset in file.values())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        image = file.asarray()
        assert image.dtype == np.float32 and np.array_equal(image, potential[0].squeeze())
        assert file.imagej_metadata["unit"] == "angstrom" and "V angstrom" in file.imagej_metadata["Info"]
        per_unit = file.pages[0].tags["XResolution"].value
        assert per_unit[0] / per_unit[1] == pytest.approx(4.0)
    for ending in ("h5", "tif"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def command(module, folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", f"workflow_scripts.potential.{module}", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    return done


def test_both_scripts_from_four_tiffs_to_the_files(tmp_path, samples):
    names = []
    for number, image in enumerate(user_images.counts()):
        names.append(str(tmp_path / f"segment{number}.tif"))
        tifffile.imwrite(names[-1], image)
    words = [
        *as_arguments(check(Apply, user_images.settings(images=names))),
        *as_arguments(user_images.MICROSCOPE, "microscope."),
        *(f"--{name}={tmp_path}/check/{name}" for name in ("shares", "report", "provenance")),
    ]
    done = command("apply.check", tmp_path, *words, "--image-files", *names)
    assert done.returncode == 0, done.stderr

    settings = check(NetworkSettings, {"kind": "unet", "unet": {"widths": [8, 16]}, "swin_unetr": {"feature_size": 12}})
    channels = input_channels(VARIANTS["corrected"]), output_channels(VARIANTS["corrected"])
    about = {
        **describe_network(settings, *channels),
        "lesson": {"dose_min_e_per_a2": DOSES[0], "dose_max_e_per_a2": DOSES[1]},
    }
    save_weights(make_network(settings, *channels, 0).state_dict(), tmp_path / "weights.safetensors", about)
    np.savez(tmp_path / "shard0.npz", **samples.arrays())
    outputs = {"h5": "potential.h5", "tiff": "potential.tif", "png": "preview.png", "quality": "quality.json"}
    done = command(
        *("apply.apply", tmp_path, "--name=mine", "--batch-size=4", "--gpus=0", "--precision=auto"),
        *(f"--shares={tmp_path}/check/shares", f"--report={tmp_path}/check/report"),
        *(f"--weights={tmp_path}/weights.safetensors", f"--shard={tmp_path}/shard0.npz"),
        *(f"--{name}={tmp_path}/out/{file}" for name, file in (outputs | {"provenance": "provenance.json"}).items()),
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out/potential.h5") as file:
        assert file["potential"].shape == user_images.SHAPE and np.isfinite(file["potential"][...]).all()
        assert np.allclose(file["shares"], user_images.counts() / user_images.INCIDENT)
        assert file.attrs["name"] == "mine"
    report = json.loads((tmp_path / "out/quality.json").read_text(encoding="utf-8"))
    assert report["dose_e_per_a2"] == pytest.approx(user_images.INCIDENT / user_images.PIXEL_A**2)
    assert any(line.startswith("dose_e_per_a2") for line in report["quality"]["outside_training"])
    record = json.loads((tmp_path / "out/provenance.json").read_text(encoding="utf-8"))
    assert len(record["inputs"]) == 4 and (tmp_path / "out/preview.png").stat().st_size > 1000


def test_a_mistake_leaves_one_sentence_and_nothing_else(tmp_path):
    names = [str(tmp_path / f"segment{number}.npy") for number in range(4)]
    for name, image in zip(names, user_images.counts(), strict=True):
        np.save(name, image)
    words = [
        *as_arguments(check(Apply, user_images.settings(images=names, voltage_kv=300.0))),
        *as_arguments(user_images.MICROSCOPE, "microscope."),
        *(f"--{name}={tmp_path}/check/{name}" for name in ("shares", "report", "provenance")),
    ]
    done = command("apply.check", tmp_path, *words, "--image-files", *names)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "set potential.synthesize.microscope.voltage_kv: 300" in done.stderr
    assert not list((tmp_path / "check").iterdir())

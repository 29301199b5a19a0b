"""What synthesize writes: parts that fit together, sessions kept apart, open beam that is open."""

import hashlib

import numpy as np
import pytest
import torch

from tests.background.synthesis import small
from workflow_scripts.background.simulation import datasets
from workflow_scripts.background.simulation.backgrounds import draw_detector
from workflow_scripts.background.simulation.datasets import OPEN_SHARE, SPECIMEN_SHARE, make
from workflow_scripts.background.simulation.tile_files import read_tiles, read_training_tiles
from workflow_scripts.workflow.files import write_arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def training():
    return make(small(), "train", 0, CPU)


@pytest.fixture(scope="module")
def tiles():
    return make(small(), "test", 0, CPU)


def digests(arrays):
    return {name: hashlib.sha256(np.ascontiguousarray(array)).hexdigest() for name, array in arrays.items()}


def test_the_files_can_be_read_back(tmp_path, training, tiles):
    for name, arrays in (("training", training), ("tiles", tiles)):
        write_arrays(tmp_path / f"{name}.npz", arrays)
    read = read_training_tiles([tmp_path / "training.npz"])
    assert np.array_equal(read.log_flat, training["log_flat"]) and read.dose == (500.0, 5000.0) and read.dark == 80.0
    assert np.array_equal(read_tiles(tmp_path / "tiles.npz").counts, tiles["counts"])


def test_sizes(training, tiles):
    side_px = round(32 * SPECIMEN_SHARE)
    assert training["log_transmission"].shape == (20, side_px, side_px)
    assert (
        training["log_flat"].shape == (4 + 2, 3, 32, 32) and training["held_out"].tolist() == [False] * 4 + [True] * 2
    )
    assert tiles["counts"].shape == tiles["log_flat"].shape == (2, 16, 32, 32)
    assert tiles["references"].shape == tiles["earlier_references"].shape == (2, 6, 32, 32)
    assert all(array.dtype == np.float32 for name, array in tiles.items() if array.ndim == 4)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_same_seed_gives_the_same_bytes(split, training, tiles):
    arrays = training if split == "train" else tiles
    assert digests(make(small(), split, 0, CPU)) == digests(arrays)
    other = digests(make(small(seed=1), split, 0, CPU))
    assert all(other[name] != digest for name, digest in digests(arrays).items() if name.startswith("log"))


def test_every_shard_has_specimens_and_microscopes_of_its_own(training):
    second = make(small(), "train", 1, CPU)
    assert not second["held_out"].any() and len(second["log_flat"]) == 4
    for name in ("log_transmission", "log_flat"):
        rows = np.concatenate([training[name][:4], second[name][:4]]).reshape(8, -1)
        assert len(np.unique(rows[rows.any(1)], axis=0)) == rows.any(1).sum()


def test_counts_are_those_of_their_parts(tiles):
    """Less the dark frame and in units of their own noise: mean 0, variance 1."""
    expected = (
        tiles["dose"][:, None, None, None] * np.exp(tiles["log_transmission"] + tiles["log_flat"]) + tiles["dark"]
    )
    normal = (tiles["counts"] - expected) / np.sqrt(expected)
    assert abs(normal.mean()) < 4 / np.sqrt(normal.size) and normal.std() == pytest.approx(1, abs=0.02)
    assert ((tiles["dose"] >= 500) & (tiles["dose"] <= 5000)).all()


def test_the_open_beam_is_open(tiles):
    for transmission, (top, left, bottom, right) in zip(
        tiles["log_transmission"].reshape(-1, 32, 32), tiles["open_beam"].reshape(-1, 4), strict=True
    ):
        assert bottom - top == right - left == round(32 * OPEN_SHARE)
        assert top >= 0 and left >= 0 and bottom <= 32 and right <= 32
        assert (transmission[top:bottom, left:right] == 0).all()


def test_a_cleared_specimen_fades_in():
    piece = torch.full((64, 64), -1.0)
    top, left, bottom, _ = datasets._cleared(piece, torch.Generator().manual_seed(2)).tolist()
    assert (piece[top:bottom, left : left + 16] == 0).all()
    assert (piece == -1).float().mean() > 0.7
    assert max(float(piece.diff(dim=axis).abs().max()) for axis in (0, 1)) < 0.4


def test_references_have_no_specimen(tiles):
    """Their logarithm is that of the flat field, up to noise: the first moments of both are the same."""
    light = (tiles["references"][:, 0] - tiles["dark"]) / tiles["dose"][:, None, None]
    noise = np.exp(-0.5 * tiles["log_flat"][:, 0]) / np.sqrt(tiles["dose"][:, None, None])
    assert (np.abs(np.log(light) - tiles["log_flat"][:, 0]) < 8 * noise).mean() > 0.999


def centred(image):
    return image - image.mean()


def test_the_earlier_session_shares_the_detector_and_a_part_of_the_illumination(training, tiles):
    settings, zero = small(), torch.zeros(1)
    for k in range(2):
        generator = datasets._generator(settings, CPU, datasets._MICROSCOPE, k)
        detector = draw_detector(32, generator, datasets.BEYOND_TRAINING).numpy()
        earlier, later = training["log_flat"][training["held_out"]][k, 0], tiles["log_flat"][k, 0]
        assert np.allclose(earlier, datasets._tested_flats(settings, k, datasets._EARLIER, zero)[0], atol=1e-6)
        # Without the detector only the illumination remains, which differs between sessions and is smoother
        for flat in (earlier, later):
            rough, smooth = (np.abs(np.diff(f, 2)).mean() for f in (flat, flat - centred(detector)))
            assert smooth < rough
        first, other = (centred(flat - detector) for flat in (earlier, later))
        assert np.abs(first - other).max() > 0.05
        # The fixture keeps 0.9 of the shading; a session of another microscope shares nothing
        assert np.corrcoef(first.ravel(), other.ravel())[0, 1] > 0.3


@pytest.mark.parametrize("persistence", [0.0, 1.0])
def test_the_illumination_persists_as_set(persistence):
    settings = small(shading_persistence=persistence, structure_persistence=persistence, drift=0.0)
    pairs = [
        [datasets._tested_flats(settings, k, purpose, torch.zeros(1))[0] for k in range(8)]
        for purpose in (datasets._EARLIER, datasets._LATER)
    ]
    change = np.mean([float((first - other).std()) for first, other in zip(*pairs, strict=True)])
    assert change == pytest.approx(0, abs=1e-6) if persistence else change > 0.1


def test_no_tested_session_is_trained_on(training, tiles):
    training_flats = training["log_flat"].reshape(-1, 32 * 32)
    for flat in tiles["log_flat"].reshape(-1, 32 * 32):
        assert np.corrcoef(np.vstack([training_flats, flat]))[-1, :-1].max() < 0.99


@pytest.mark.parametrize("drift", [0.0, 2.0])
def test_drift_is_in_units_of_a_typical_one(drift, tiles):
    still, moving = (make(small(drift=value), "test", 0, CPU)["log_flat"] for value in (0.0, drift))
    change = np.abs(moving[:, -1] - moving[:, 0]).max()
    assert change == 0 if drift == 0 else change > np.abs(tiles["log_flat"][:, -1] - tiles["log_flat"][:, 0]).max()
    assert np.allclose(still[:, 0], moving[:, 0], atol=1e-6)

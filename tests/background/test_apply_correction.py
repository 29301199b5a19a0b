"""Optical density of the user's tiles: its scale, tiles without a specimen, and flat fields to adapt to."""

import numpy as np
import pytest
import tifffile

from tests.background import toy, user_tiles
from tests.background.test_apply_data import opened
from workflow_scripts.background.apply.adapt import measured_flats, training_tiles
from workflow_scripts.background.apply.correction import ABSOLUTE, UP_TO_CONSTANT, corrected, flats_of
from workflow_scripts.background.apply.data import validation_overlaps
from workflow_scripts.background.apply.mosaic import groups, overlapping
from workflow_scripts.background.apply.output import write_stack
from workflow_scripts.background.apply.quality import quality
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.background.estimators.median import flats_of_sets
from workflow_scripts.background.networks.tasks import finetuning_split
from workflow_scripts.background.settings import VARIANTS
from workflow_scripts.workflow.settings import check

BEAM = {"open_beam_tile": "tile_1.tif", "open_beam_px": [0, 0, 16, 16]}


@pytest.fixture
def folder(tmp_path):
    user_tiles.write(tmp_path / "tiles")
    return tmp_path


def true_flats():
    flat = np.log(user_tiles.flat_field())
    return np.repeat((flat - flat.mean())[None], 8, axis=0).astype(np.float32)


def densities():
    truth, side = user_tiles.specimen(), user_tiles.SIDE_PX
    return np.stack([truth[y : y + side, x : x + side] for y, x in user_tiles.corners()])


def corrected_tiles(folder, **changes):
    tiles, report = opened(folder, **changes)
    entry = check(Apply, user_tiles.settings(folder, **changes))
    positions = None if report["positions_px"] is None else np.array(report["positions_px"])
    return corrected(entry, tiles, true_flats(), positions)


def test_an_open_beam_region_makes_the_density_absolute_in_all_tiles(folder):
    result = corrected_tiles(folder, **BEAM)
    assert result.quantity == ABSOLUTE
    assert result.scale_from == ("region", *7 * ("overlaps",))
    error = (result.density - densities()).mean(axis=(1, 2))
    assert np.abs(error).max() < 0.005


def test_without_a_layout_the_beam_is_taken_to_be_equally_bright(folder):
    result = corrected_tiles(folder, layout=None, **BEAM)
    assert result.scale_from == ("region", *7 * ("brightness",))
    assert np.abs((result.density - densities()).mean(axis=(1, 2))).max() < 0.005


def test_without_a_region_the_density_is_known_up_to_a_constant_and_says_so(folder):
    result = corrected_tiles(folder)
    assert result.quantity == UP_TO_CONSTANT and set(result.scale_from) == {"brightness"}
    error = result.density - densities()
    assert np.std(error - error.mean(axis=(1, 2), keepdims=True)) < 0.05
    write_stack(folder / "out.tif", result.density, [f"{n}" for n in range(8)], result.quantity, 0.02)
    with tifffile.TiffFile(folder / "out.tif") as file:
        assert file.imagej_metadata["Info"] == UP_TO_CONSTANT
        assert np.array_equal(file.asarray(), result.density)


def test_a_tile_without_a_specimen_transmits_everything(tmp_path):
    """The transmission of bare tiles is 1 within the photons' noise."""
    user_tiles.write(tmp_path / "tiles", user_tiles.references(8))
    tiles, _ = opened(tmp_path, layout=None)
    entry = check(Apply, user_tiles.settings(tmp_path, layout=None))
    result = corrected(entry, tiles, flats_of_sets(tiles.logs, 8), None)
    noise = 1 / np.sqrt(user_tiles.DOSE * user_tiles.flat_field().min())
    transmission = np.exp(-(result.density - result.density.mean(axis=(1, 2), keepdims=True)))
    assert np.abs(transmission.mean() - 1) < 0.1 * noise
    assert np.std(transmission) < 1.5 * noise


def test_pixels_without_light_are_nan(folder):
    images = user_tiles.tiles()
    images[:, 5, 7] = int(user_tiles.DARK)
    user_tiles.write(folder / "tiles", images)
    result = corrected_tiles(folder)
    assert np.isnan(result.density[:, 5, 7]).all() and np.isnan(result.density).sum() == 8


def test_tiles_are_joined_through_others():
    positions = np.array([[0, 0], [0, 50], [0, 90], [0, 300]])
    assert groups(4, overlapping(positions, (64, 64))).tolist() == [0, 0, 0, 1]


class _Mean:
    """An estimator whose flat field is the mean of its set."""

    def estimate_sets(self, logs, valid):
        self.shape = logs.shape
        return logs.mean(axis=1), np.zeros_like(logs[:, 0])


def test_each_tile_is_corrected_from_itself_and_the_nearest(folder):
    tiles, _ = opened(folder)
    estimator = _Mean()
    flats, _ = flats_of(estimator, tiles.logs, tiles.valid, 2, [0, 5])
    assert np.allclose(flats[0], tiles.logs[:2].mean(axis=0)) and np.allclose(flats[5], tiles.logs[4:6].mean(axis=0))
    assert not flats[1].any()
    flats_of(estimator, tiles.logs, tiles.valid, 16, [0])
    assert estimator.shape[:2] == (1, 8)


@pytest.mark.parametrize("source", ["references", "tiles"])
def test_the_images_to_adapt_to_show_the_flat_field(folder, source):
    tifffile.imwrite(folder / "bare.tif", user_tiles.references(), photometric="minisblack")
    tiles, _ = opened(folder, references=str(folder / "bare.tif"))
    flats = measured_flats(tiles, source)
    assert flats.shape == (4, user_tiles.SIDE_PX, user_tiles.SIDE_PX)
    error = flats - true_flats()[0]
    assert np.std(error, axis=(1, 2)).max() < (0.03 if source == "references" else 0.15)


@pytest.mark.parametrize("side_px", [32, 64, 96])
def test_training_tiles_have_the_size_of_the_network_and_serve_both_of_its_passes(folder, side_px):
    tiles, _ = opened(folder)
    training = training_tiles(
        measured_flats(tiles, "tiles"), side_px, toy.toy_training_tiles(side_px=side_px), np.random.default_rng(0)
    )
    size = min(side_px, user_tiles.SIDE_PX)
    assert training.log_flat.shape[2:] == (size, size) and training.held_out.all()
    assert len(training.log_flat) == (1 if side_px > user_tiles.SIDE_PX else 128)
    train, validation = finetuning_split(training, VARIANTS["corrected"])
    assert train.log_flat.shape[1] == 3 and validation.log_flat.shape[1] == 1


def test_estimators_stand_side_by_side(folder):
    tiles, report = opened(folder)
    flats = true_flats()
    result = quality(tiles, validation_overlaps(report), flats, lambda logs: flats)
    assert result["corrected"]["overlap_residual"] < result["zeros"]["overlap_residual"]
    assert all(slope == pytest.approx(1) for slope in result["corrected"]["recovered_density"].values())
    assert result["median_2"]["recovered_density"]["4_px"] == pytest.approx(0.5, abs=0.1)
    assert quality(tiles, [], flats, None)["corrected"]["overlap_residual"] is None

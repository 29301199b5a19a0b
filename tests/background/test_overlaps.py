"""Registration, residuals and injected absorbers: on a specimen cut into tiles, and on the real mosaic's anchors."""

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from tests.background.test_image_files import images_of
from workflow_scripts.background.apply.layout import grid_positions_px, positions_px
from workflow_scripts.background.apply.mosaic import settled
from workflow_scripts.background.apply.overlaps import Overlap, correlations, neighbours, register
from workflow_scripts.background.apply.quality import (
    contrast_retained,
    leave_pair_out_residual,
    overlap_residual,
    recovered_slopes,
)
from workflow_scripts.background.estimators.gaussian import gaussian_flats
from workflow_scripts.background.estimators.median import flats_of_sets
from workflow_scripts.background.simulation.sessions import session_logs
from workflow_scripts.formats.tile_configuration import read_layout
from workflow_scripts.workflow.errors import InputError

SIDE = 96


def cut(rows=3, columns=3, step=70, jitter=4):
    """Log tiles of a rough specimen behind one flat field, their true positions, and that field."""
    rng = np.random.default_rng(8)
    scene = gaussian_filter(rng.normal(size=(400, 400)), 1.5)
    flat = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2) * 3
    places = np.array([(20 + i * step, 20 + j * step) for i in range(rows) for j in range(columns)])
    places += rng.integers(-jitter, jitter + 1, places.shape)
    tiles = np.stack([scene[y : y + SIDE, x : x + SIDE] + flat for y, x in places])
    return tiles.astype(np.float32), places.astype(float), flat


def test_correlations_are_those_of_the_overlap():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 24))
    a += np.arange(24)
    values = correlations(a, b, least_px=4)
    for dy, dx in [(0, 0), (5, -7), (-16, 20), (3, 11)]:
        first, second = Overlap(0, 1, (dy, dx), 0.0).slices((20, 24))
        assert values[19 + dy, 23 + dx] == pytest.approx(np.corrcoef(a[first].ravel(), b[second].ravel())[0, 1])
    assert values[0, 0] == -1


def test_neighbours_share_an_edge_not_a_corner():
    places = np.array([(0, 0), (0, 90), (90, 0), (90, 90)])
    assert neighbours(places, (100, 100)) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_shifts_are_found_and_a_perfect_flat_leaves_no_residual():
    tiles, places, flat = cut()
    rng = np.random.default_rng(1)
    overlaps = register(tiles, places + rng.integers(-7, 8, places.shape))
    assert len(overlaps) == 12
    for overlap in overlaps:
        assert overlap.shift_px == tuple(places[overlap.second] - places[overlap.first])
    assert overlap_residual(tiles - flat, overlaps) < 1e-6
    assert overlap_residual(tiles, overlaps) > 0.1
    assert np.diff(settled(places * 0, overlaps), axis=0) == pytest.approx(np.diff(places, axis=0), abs=0.01)


def test_unrelated_tiles_are_not_registered():
    noise = np.random.default_rng(2).normal(size=(4, SIDE, SIDE))
    assert register(noise, np.array([(0, 0), (0, 70), (70, 0), (70, 70)])) == []


def test_a_grid_without_a_layout_is_placed_and_another_order_is_refused():
    tiles, places, _ = cut()
    values = grid_positions_px(tiles, (3, 3), 0.25)
    assert values == pytest.approx(places - places.min(axis=0), abs=0.6)
    with pytest.raises(InputError, match="row by row"):
        grid_positions_px(tiles[[4, 8, 0, 5, 6, 2, 7, 3, 1]], (3, 3), 0.25)
    with pytest.raises(InputError, match="6 places"):
        grid_positions_px(tiles, (2, 3), 0.25)


def test_slopes_are_one_without_correction_and_small_where_the_tile_is_its_own_flat():
    tiles, places, _ = cut()
    overlaps = register(tiles, places)
    no_correction = recovered_slopes(np.zeros_like, tiles, overlaps, (4, 16))
    assert list(no_correction.values()) == pytest.approx([1, 1], abs=1e-5)
    tile_itself = recovered_slopes(lambda logs: logs, tiles, overlaps, (4, 16))
    assert list(tile_itself.values()) == pytest.approx([0, 0], abs=1e-5)
    half = recovered_slopes(lambda logs: flats_of_sets(logs, 2), tiles, overlaps, (16,))
    assert half[16] == pytest.approx(0.5, abs=1e-4)
    blur = recovered_slopes(lambda logs: gaussian_flats(logs, 8), tiles, overlaps, (4, 32))
    assert blur[4] > 0.9 > blur[32]


def lm1(folder):
    files = images_of(folder / "nsrrc_lm1_4x4")
    path = folder / "nsrrc_lm1_4x4" / "TileConfiguration_dm.txt"
    return session_logs(files.images, 0.0)[0], positions_px(path, files.names)


def test_the_real_mosaic_meets_its_anchors(real_data):
    """14 overlaps; once measured elsewhere: 0.327 raw, 0.285 pseudo-flat, 0.068 leave-pair-out, contrast 0.087."""
    logs, places = lm1(real_data)
    overlaps = register(logs, places)
    assert len(overlaps) == 14
    assert overlap_residual(logs, overlaps) == pytest.approx(0.327, abs=0.02)
    assert overlap_residual(logs - gaussian_flats(logs, 40), overlaps) == pytest.approx(0.285, abs=0.015)
    assert leave_pair_out_residual(logs, overlaps) == pytest.approx(0.068, abs=0.005)
    assert contrast_retained(logs - np.median(logs, axis=0)) == pytest.approx(0.087, abs=0.002)


def test_the_other_real_mosaics_are_read(real_data):
    assert images_of(real_data / "aps_8bm_mosaic_4x4").images.shape == (16, 256, 256)
    folder = real_data / "nsrrc_sb_2x2"
    assert len(read_layout(folder / "TileConfiguration.txt")) == 4
    assert tifffile.imread(sorted(folder.glob("*.tif"))[0]).shape == (512, 512)


def test_tiles_and_lines_of_a_layout_must_match(tmp_path):
    path = tmp_path / "TileConfiguration.txt"
    path.write_text("a.tif; ; (1.5, 2)\nb.tif; ; (-30, 4)\n")
    assert np.array_equal(positions_px(path, ["b.tif", "a.tif"]), [[4, -30], [2, 1.5]])
    with pytest.raises(InputError, match=r"no line for c.tif"):
        positions_px(path, ["a.tif", "b.tif", "c.tif"])
    with pytest.raises(InputError, match=r"names b.tif"):
        positions_px(path, ["a.tif"])

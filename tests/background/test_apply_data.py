"""The user's tiles: contents of their files, which train and which validate, and every mistake in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.background import user_tiles
from workflow_scripts.background.apply.data import place, read_tiles, training_part, validation_overlaps
from workflow_scripts.background.apply.settings import Apply
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check


def opened(folder, **changes):
    entry = check(Apply, user_tiles.settings(folder, **changes))
    files = {name: [Path(path) for path in paths] for name, paths in entry.inputs().items()}
    tiles, report = read_tiles(entry, files)
    return tiles, report | place(entry, files, tiles)


@pytest.fixture
def folder(tmp_path):
    user_tiles.write(tmp_path / "tiles")
    return tmp_path


def test_tiles_become_logarithms_in_the_order_of_their_names(folder):
    tiles, report = opened(folder)
    light = user_tiles.tiles() - user_tiles.DARK
    levels = np.sort(light.reshape(8, -1))[:, (user_tiles.SIDE_PX**2 - 1) // 2]
    assert np.allclose(np.exp(tiles.levels), levels)
    assert np.allclose(tiles.logs, np.log(light / levels[:, None, None]), atol=1e-5)
    assert tiles.valid.all() and tiles.names[1] == "tile_2.tif"
    assert report["size_px"] == [user_tiles.SIDE_PX] * 2 and report["dead_share"] == [0.0] * 8


@pytest.mark.parametrize("form", ["stack", "float", "8 bit dark", "grey as RGB", "dark folder"])
def test_other_forms_of_the_files_give_the_same(folder, form):
    expected, changes = opened(folder)[0].logs, {}
    images = user_tiles.tiles()
    match form:
        case "stack":
            tifffile.imwrite(folder / "stack.tif", images, photometric="minisblack")
            changes = {"tiles": str(folder / "stack.tif"), "layout": None}
        case "float":
            user_tiles.write(folder / "tiles", images.astype(np.float32))
        case "8 bit dark":
            tifffile.imwrite(folder / "dark.tif", np.full(images.shape[1:], 100, np.uint8))
            changes = {"dark": str(folder / "dark.tif"), "dark_counts": 0.0}
        case "grey as RGB":
            tifffile.imwrite(folder / "tiles" / "tile_2.tif", np.stack(3 * [images[1]], axis=-1), photometric="rgb")
        case "dark folder":
            (folder / "dark").mkdir()
            for number, level in enumerate((90, 110)):
                tifffile.imwrite(folder / "dark" / f"{number}.tif", np.full(images.shape[1:], level, np.uint16))
            changes = {"dark": str(folder / "dark"), "dark_counts": 0.0}
    assert np.allclose(opened(folder, **changes)[0].logs, expected, atol=1e-5)


def test_overlaps_are_registered_and_positions_are_those_of_the_layout(folder):
    _, report = opened(folder, finetune="none")
    overlaps = validation_overlaps(report)
    corners = user_tiles.corners()
    assert len(overlaps) >= 8
    for overlap in overlaps:
        assert np.array_equal(corners[overlap.second] - corners[overlap.first], overlap.shift_px)
    assert np.allclose(np.array(report["positions_px"]) - report["positions_px"][0], corners, atol=0.6)


def test_a_grid_is_put_together_without_a_layout(folder):
    share = 1 - user_tiles.STEP_PX / user_tiles.SIDE_PX
    _, report = opened(folder, layout=None, grid=list(user_tiles.GRID), overlap_share=share)
    assert np.allclose(report["positions_px"], user_tiles.corners(), atol=0.6)


def test_tiles_that_train_do_not_validate(folder):
    _, report = opened(folder)
    assert report["finetune"] == "tiles" and report["shown"] == list(report["tiles"][:4])
    names = {
        report["tiles"][index] for overlap in validation_overlaps(report) for index in (overlap.first, overlap.second)
    }
    assert names and not names & set(report["shown"])
    _, report = opened(folder, finetune="none")
    assert len(validation_overlaps(report)) == len(report["overlaps"])
    assert list(training_part(6)) == list(range(6)) and list(training_part(9)) == [0, 1, 2, 3]


def test_the_default_source_of_finetuning(folder):
    tifffile.imwrite(folder / "bare.tif", user_tiles.references(), photometric="minisblack")
    tiles, report = opened(folder, references=str(folder / "bare.tif"))
    assert report["finetune"] == "references" and tiles.reference_logs.shape[0] == 4
    user_tiles.write(folder / "three" / "tiles", user_tiles.tiles()[:3])
    assert opened(folder / "three", layout=None)[1]["finetune"] == "none"


MISTAKES = {
    "a single tile": (
        lambda folder: user_tiles.write(folder / "one", user_tiles.tiles()[:1]),
        {"tiles": "one"},
        "single",
    ),
    "too dark": (lambda _: None, {"dark_counts": 60000.0}, "no brighter than the dark frame"),
    "absent open beam": (lambda _: None, {"open_beam_tile": "x.tif", "open_beam_px": [0, 0, 9, 9]}, "no tile 'x.tif'"),
    "open beam outside": (
        lambda _: None,
        {"open_beam_tile": "tile_1.tif", "open_beam_px": [0, 0, 99, 9]},
        "72 × 72 pixels",
    ),
    "tiny open beam": (lambda _: None, {"open_beam_tile": "tile_1.tif", "open_beam_px": [0, 0, 3, 3]}, "9 pixels"),
    "few to learn from": (
        lambda folder: user_tiles.write(folder / "two", user_tiles.tiles()[:2]),
        {"tiles": "two", "finetune": "tiles", "layout": None},
        "at least 4",
    ),
    "references of another size": (
        lambda folder: tifffile.imwrite(folder / "bare.tif", user_tiles.references()[0, :40]),
        {"references": "bare.tif"},
        "40 × 72",
    ),
    "a wrong grid": (lambda _: None, {"layout": None, "grid": [3, 3]}, "9 places"),
    "colours": (
        lambda folder: tifffile.imwrite(
            folder / "tiles" / "tile_1.tif", np.arange(72 * 72 * 3, dtype=np.uint16).reshape(72, 72, 3)
        ),
        {},
        "colour image",
    ),
    "another size": (
        lambda folder: tifffile.imwrite(folder / "tiles" / "tile_1.tif", user_tiles.tiles()[0, :40]),
        {},
        "tile_1.tif has 40 × 72 pixels",
    ),
    "broken": (
        lambda folder: (folder / "tiles" / "tile_1.tif").write_bytes(b"II*\x00broken"),
        {},
        "tile_1.tif holds no image",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_every_mistake_is_one_sentence(folder, kind):
    spoil, changes, words = MISTAKES[kind]
    spoil(folder)
    changes = {
        key: str(folder / value) if key in ("tiles", "references") and value else value
        for key, value in changes.items()
    }
    if changes.get("layout", "") is None:
        changes["layout"] = None
    with pytest.raises(InputError) as error:
        opened(folder, **changes)
    assert words in str(error.value) and "\n" not in str(error.value)

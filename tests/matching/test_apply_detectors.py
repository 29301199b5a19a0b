"""Hot pixels, few patterns and images of real detectors, and the conventions of the table."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage.io import imsave

from tests.matching import silicon_scan
from workflow_scripts.matching.apply.data import UserPatterns, hot_pixels, layout, symmetric_center
from workflow_scripts.matching.apply.output import Orientations, write_table
from workflow_scripts.matching.apply.settings import pattern_files
from workflow_scripts.workflow.errors import InputError

HOT = ((3, 50), (41, 9), (42, 9))


def written(path, counts):
    np.save(path, counts.astype(np.uint32))
    return silicon_scan.settings(str(path))


def test_hot_pixels_move_neither_the_centre_nor_the_patterns(tmp_path):
    counts = silicon_scan.counts()
    settings = written(tmp_path / "clean.npy", counts)
    clean = layout(settings, [tmp_path / "clean.npy"])
    assert clean.hot == ()
    for y, x in HOT:
        counts[..., y, x] += 1e6
    assert np.abs(np.subtract(symmetric_center(counts.mean(axis=(0, 1))), silicon_scan.CENTER)).max() > 5
    hot_settings = written(tmp_path / "hot.npy", counts)
    with_hot = layout(hot_settings, [tmp_path / "hot.npy"])
    assert with_hot.hot == HOT
    assert with_hot.center_px == clean.center_px
    assert with_hot.electrons == pytest.approx(clean.electrons, rel=0.01)
    patterns, patterns_with_hot = (
        torch.cat(list(UserPatterns(entry, [tmp_path / name], clean if entry is settings else with_hot, 32).batches()))
        for entry, name in ((settings, "clean.npy"), (hot_settings, "hot.npy"))
    )
    assert float((patterns - patterns_with_hot).abs().sum() / patterns.sum()) < 0.02


def test_single_electrons_and_sharp_spots_are_no_hot_pixels():
    rng = np.random.default_rng(0)
    assert hot_pixels(rng.poisson(0.01, (64, 64)).astype(float), 1) == ()  # single electrons
    axis = np.arange(64) - 20
    edges = np.exp(-(axis**2) / (2 * 0.5**2))
    assert hot_pixels(1e6 * np.outer(edges, edges) + 0.1, 100) == ()


def test_few_patterns_do_not_fix_the_centre(tmp_path):
    few = silicon_scan.counts()[:2, :2]
    settings = written(tmp_path / "few.npy", few)
    with pytest.raises(InputError, match=r"4 patterns are too few .* set center_px"):
        layout(settings, [tmp_path / "few.npy"])
    with_center = settings.model_copy(update={"center_px": silicon_scan.CENTER})
    assert layout(with_center, [tmp_path / "few.npy"]).center_px == silicon_scan.CENTER


def bunge(phi1: float, phi: float, phi2: float) -> np.ndarray:
    """Bunge's matrix g, written out: the crystal's axes in the sample's frame are its rows."""
    (c1, c, c2), (s1, s, s2) = np.cos([phi1, phi, phi2]), np.sin([phi1, phi, phi2])
    return np.array(
        [
            [c1 * c2 - s1 * s2 * c, s1 * c2 + c1 * s2 * c, s2 * s],
            [-c1 * s2 - s1 * c2 * c, -s1 * s2 + c1 * c2 * c, c2 * s],
            [s1 * s, -c1 * s, c],
        ]
    )


def test_the_table_holds_bunges_angles_and_one_orientation_in_three_forms(tmp_path):
    rotation = silicon_scan.rotations()[:, None].numpy()
    score = np.linspace(0.9, 0.1, len(rotation))[:, None]
    path = tmp_path / "table.csv"
    write_table(path, Orientations(rotation, score, 0.5, silicon_scan.SCAN, np.eye(3)[None]))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["row"]), int(row["column"])) for row in rows[3:6]] == [(0, 3), (1, 0), (1, 1)]
    assert [row["indexed"] for row in rows] == ["1"] * int((score >= 0.5).sum()) + ["0"] * int((score < 0.5).sum())
    for row, true in zip(rows, rotation[:, 0], strict=True):
        angles = np.radians([float(row[f"euler_{name}_deg"]) for name in ("phi1", "phi", "phi2")])
        assert np.abs(bunge(*angles).T - true).max() < 1e-4  # lab = R @ crystal is gᵀ
        beam = np.array([float(row[f"beam_{axis}"]) for axis in "xyz"])
        assert np.abs(true @ beam - [0, 0, 1]).max() < 1e-4  # the beam is z of the laboratory


def images(folder, kind=np.uint16, number=12, name="p{}.tif"):
    """The scan as images."""
    for place, image in enumerate(silicon_scan.counts().reshape(-1, 56, 60)[:number]):
        tifffile.imwrite(folder / name.format(place), image.astype(kind))


def layout_of(folder, **changes):
    return layout(silicon_scan.settings(str(folder), **changes), [Path(path) for path in pattern_files(str(folder))])


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float16, np.float32, np.float64])
def test_images_of_any_type_are_read(tmp_path, kind):
    images(tmp_path, kind)
    assert layout_of(tmp_path).electrons == pytest.approx(25875, rel=0.01)


def test_images_come_in_the_order_of_their_numbers_without_hidden_files(tmp_path):
    images(tmp_path)
    (tmp_path / "._p0.tif").write_bytes(b"left by macOS")
    assert [Path(path).name for path in pattern_files(str(tmp_path))] == [f"p{number}.tif" for number in range(12)]
    assert layout_of(tmp_path).number == 12


def test_opacity_is_left_out_of_a_grey_image(tmp_path):
    for place, image in enumerate(silicon_scan.counts().reshape(-1, 56, 60)):
        grey = np.minimum(image, 255).astype(np.uint8)
        imsave(tmp_path / f"{place}.png", np.dstack([grey, np.full_like(grey, 255)]), check_contrast=False)
    assert layout_of(tmp_path).center_px == pytest.approx(silicon_scan.CENTER, abs=1.0)


def with_a_bad_image(folder, value):
    images(folder, np.float32)
    bad = silicon_scan.counts()[1, 0].astype(np.float32)
    bad[3, 3] = value
    tifffile.imwrite(folder / "p4.tif", bad)


MISTAKES = {
    "not a number": (lambda f: with_a_bad_image(f, np.nan), {}, "pattern 4 holds values that are not finite"),
    "negative": (lambda f: with_a_bad_image(f, -2), {}, "pattern 4 holds the negative count -2"),
    "pages": (
        lambda f: tifffile.imwrite(f / "p.tif", np.ones((12, 40, 40), np.uint16)),
        {},
        "p.tif: holds 12 pages, expected one image in each file; save the stack as .npy or .h5",
    ),
    "complex": (lambda f: images(f, np.complex64), {}, "p0.tif: holds complex64"),
    "constant": (
        lambda f: [tifffile.imwrite(f / f"{k}.tif", np.ones((40, 40), np.uint8)) for k in range(10)],
        {},
        "hold the same value everywhere",
    ),
    "offset": (images, {"offset": 500.0}, "check offset and beam_stop_px"),
    "number": (images, {"scan_shape": [5, 5]}, "holds 12 patterns, but scan_shape [5, 5] wants 25"),
    "no folder": (lambda f: f.rmdir(), {}, "there is no folder or file"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_images_is_one_sentence(tmp_path, kind):
    make, changes, words = MISTAKES[kind]
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(InputError) as caught:
        layout_of(folder, **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)

"""The user's patterns: layout, grid and orientations; what cannot be used ends in one sentence."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.io import imsave

from tests.matching import silicon_scan
from tests.matching.crystals import crystal
from tests.matching.training import CPU, NETWORK, SYNTHESIZE, pair_arrays, pairs
from workflow_scripts.learning.weights import on_cpu, save_weights
from workflow_scripts.matching.apply import apply
from workflow_scripts.matching.apply import check as patterns_check
from workflow_scripts.matching.apply.data import UserPatterns, layout, on_grid, symmetric_center
from workflow_scripts.matching.apply.settings import pattern_files
from workflow_scripts.matching.apply.templates import background_score, templates
from workflow_scripts.matching.estimators.polar_template import PolarTemplates
from workflow_scripts.matching.networks.encoding import blurred
from workflow_scripts.matching.networks.model import describe_network, make_matcher
from workflow_scripts.matching.networks.retrieval import predict_batches
from workflow_scripts.matching.settings import VARIANTS
from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, silicon_scan.counts().astype(np.uint16))
    return path


def test_the_centre_is_that_of_symmetry(scan):
    recorded = layout(silicon_scan.settings(str(scan)), [scan])
    assert recorded.center_px == pytest.approx(silicon_scan.CENTER, abs=1.0)
    assert recorded.number == 12
    assert recorded.scan == silicon_scan.SCAN
    assert recorded.electrons == pytest.approx(silicon_scan.counts().sum(axis=(2, 3)).mean(), rel=0.1)


def test_a_symmetric_pattern_off_the_middle_has_its_centre_to_half_a_pixel():
    y, x = np.mgrid[:40, :50]
    pattern = sum(
        np.exp(-((y - 17.5 - s * dy) ** 2 + (x - 28 - s * dx) ** 2) / 3)
        for s in (1, -1)
        for dy, dx in ((4, 7), (-9, 2), (3, -6))
    )
    assert symmetric_center(pattern) == pytest.approx((17.5, 28.0), abs=0.5)


def test_resampling_keeps_what_lies_inside_and_the_place_of_spots():
    patterns = torch.zeros(1, 81, 81)
    patterns[0, 40, 60] = 1000.0
    patterns = blurred(patterns, 1.5)
    resampled = on_grid(patterns, (40.0, 40.0), 40.0, 0.0, 33)
    assert float(resampled.sum()) == pytest.approx(1000.0, rel=0.05)
    row, column = divmod(int(resampled.argmax()), 33)
    assert (row, column) == (16, 24)
    hidden = on_grid(patterns, (40.0, 40.0), 40.0, 28.0, 33)
    assert not hidden.any()


def test_a_crystal_outside_the_training_is_indexed(scan):
    settings = silicon_scan.settings(str(scan))
    recorded = layout(settings, [scan])
    made = templates(settings, crystal(silicon_scan.CRYSTAL), recorded, SYNTHESIZE.diffraction, CPU)
    assert len(made.symmetry) == 24
    estimator = PolarTemplates.tuned(made.patterns, pairs(), CPU)
    patterns = UserPatterns(settings, [scan], recorded, 32).batches()
    predictions = predict_batches(patterns, estimator, made.gallery, 5)
    rotation, truth = predictions.rotation.double().numpy(), silicon_scan.rotations().numpy()
    away_deg = misorientation_deg(rotation, truth, made.symmetry)
    assert (away_deg.min(axis=1) < 4).mean() > 0.6
    below = background_score(estimator, made, SYNTHESIZE.observation, recorded.electrons, 0)
    assert (predictions.score[:, 0] > below).double().mean() > 0.7


def test_images_of_eight_bits_give_the_same_patterns_as_the_scan(scan, tmp_path):
    counts = silicon_scan.counts().reshape(-1, 56, 60)
    for number, image in enumerate(counts):
        imsave(tmp_path / f"p{number:02d}.png", np.minimum(image, 255).astype(np.uint8), check_contrast=False)
    (tmp_path / "notes.txt").write_text("not an image")
    files = pattern_files(str(tmp_path))
    assert len(files) == 12
    settings = silicon_scan.settings(str(tmp_path), scan_shape=silicon_scan.SCAN)
    paths = [tmp_path / name for name in files]
    recorded = layout(settings, paths)
    assert recorded.scan == silicon_scan.SCAN
    patterns = torch.cat(list(UserPatterns(settings, paths, recorded, 32).batches()))
    expected = on_grid(
        torch.from_numpy(np.minimum(counts, 255)).float(), recorded.center_px, recorded.radius_px, 3.0, 32
    )
    assert torch.allclose(patterns, expected, atol=1e-3)


def write_png(folder, values):
    imsave(folder / "a.png", values, check_contrast=False)
    return folder


MISTAKES = {
    "truncated": (lambda f: (f / "p.npy").write_bytes(b"\x93NUMPY\x01"), {}, "p.npy is not a whole .npy file"),
    "two axes": (lambda f: np.save(f / "p.npy", np.ones((20, 20))), {}, "expected (N, H, W) or (Ry, Rx, H, W)"),
    "small": (lambda f: np.save(f / "p.npy", np.ones((3, 8, 8))), {}, "8 × 8 px, expected 16"),
    "nan": (lambda f: np.save(f / "p.npy", np.full((3, 20, 20), np.nan)), {}, "p.npy"),
    "text": (lambda f: np.save(f / "p.npy", np.full((3, 20, 20), "a")), {}, "expected real numbers"),
    "scan shape": (lambda f: np.save(f / "p.npy", np.ones((3, 20, 20))), {"scan_shape": [2, 2]}, "correct scan_shape"),
    "centre": (lambda f: np.save(f / "p.npy", np.ones((3, 40, 40))), {"center_px": [2.0, 3.0]}, "set center_px"),
    "beam stop": (
        lambda f: np.save(f / "p.npy", np.ones((3, 40, 40))),
        {"beam_stop_px": 30.0, "center_px": [20.0, 20.0]},
        "beam_stop_px: is 30",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_a_scan_is_one_sentence(tmp_path, kind):
    make, changes, words = MISTAKES[kind]
    make(tmp_path)
    path = tmp_path / "p.npy"
    with pytest.raises(InputError) as caught:
        layout(silicon_scan.settings(str(path), **changes), [path])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pixel_in_other_units_is_refused(scan):
    with pytest.raises(InputError, match=r"reaches to 1\d\.\d per Å.*1/nm"):
        layout(silicon_scan.settings(str(scan), pixel_size_per_a=10 * silicon_scan.PIXEL), [scan])


def test_the_unscattered_beam_must_be_hidden(tmp_path):
    patterns = silicon_scan.counts().reshape(-1, 56, 60)
    patterns[:, 29:31, 26:28] += 1e5
    np.save(tmp_path / "p.npy", patterns)
    with pytest.raises(InputError, match="unscattered beam is recorded"):
        layout(silicon_scan.settings(str(tmp_path / "p.npy"), beam_stop_px=0.0), [tmp_path / "p.npy"])
    layout(silicon_scan.settings(str(tmp_path / "p.npy"), beam_stop_px=4.0), [tmp_path / "p.npy"])


def test_a_mistake_in_a_folder_names_the_image(tmp_path):
    def read(words):
        with pytest.raises(InputError) as caught:
            paths = [tmp_path / name for name in pattern_files(str(tmp_path))]
            layout(silicon_scan.settings(str(tmp_path)), paths)
        assert words in str(caught.value), caught.value

    read("holds no .tif, .tiff or .png")
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[..., 0] = np.arange(40)
    write_png(tmp_path, colour)
    read("a.png: is a colour image")
    write_png(tmp_path, np.arange(1600, dtype=np.uint8).reshape(40, 40))
    imsave(tmp_path / "b.png", np.ones((40, 50), np.uint8), check_contrast=False)
    read("b.png: is (40, 50) px")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    read("b.png: cannot be read")


def test_check_and_apply_write_everything(scan, tmp_path):
    weights = tmp_path / "weights.safetensors"
    matcher = make_matcher(NETWORK, VARIANTS["corrected"], 0)
    save_weights(on_cpu(matcher.state_dict()), weights, describe_network(NETWORK, "corrected"))
    write_arrays(tmp_path / "shard0.npz", pair_arrays())
    entry = silicon_scan.settings(str(scan)).model_dump(mode="json")
    study = {"diffraction": SYNTHESIZE.diffraction.model_dump(mode="json")}
    report = tmp_path / "report.json"
    inputs = {"pattern_files": [scan]}
    patterns_check.check(Job(check(patterns_check.Arguments, entry | study), inputs, {"report": report}, tmp_path))
    contents = json.loads(report.read_text())
    assert contents["layout"] == json.loads(json.dumps(asdict(layout(silicon_scan.settings(str(scan)), [scan]))))
    assert contents["crystal"]["laue_rotations"] == 24
    others = {"name": "mine", "batch_size": 5, "seed": 0, "gpus": 0, "precision": "float32"}
    study["observation"] = SYNTHESIZE.observation.model_dump(mode="json")
    inputs |= {"report": [report], "weights": [weights], "shard": [tmp_path / "shard0.npz"]}
    outputs = {
        name: tmp_path / f"{name}{ending}"
        for name, ending in (("table", ".csv"), ("rotations", ".npz"), ("png", ".png"), ("quality", ".json"))
    }
    apply.apply(Job(check(apply.Arguments, entry | study | others), inputs, outputs, tmp_path))
    table = pd.read_csv(outputs["table"])
    assert len(table) == 12 * 5
    matrices = table[[f"r{i}{j}" for i in range(3) for j in range(3)]].to_numpy().reshape(-1, 3, 3)
    assert np.abs(matrices @ matrices.swapaxes(1, 2) - np.eye(3)).max() < 1e-4
    assert np.abs(table[["beam_x", "beam_y", "beam_z"]].to_numpy() - matrices[:, 2]).max() < 1e-4
    assert table.groupby("pattern")["away_from_first_deg"].first().eq(0).all()
    assert outputs["png"].stat().st_size > 5000
    quality = json.loads(outputs["quality"].read_text())["quality"]
    assert set(quality) == {"corrected", "polar_template"}
    assert 0 <= quality["polar_template"]["agrees_with_corrected"] <= 1
    again = {name: path.with_stem("again_" + path.stem) for name, path in outputs.items()}
    apply.apply(Job(check(apply.Arguments, entry | study | others), inputs, again, tmp_path))
    assert all(outputs[name].read_bytes() == path.read_bytes() for name, path in again.items())

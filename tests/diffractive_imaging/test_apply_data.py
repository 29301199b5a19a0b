"""Checking the user's scan: it comes back as recorded, and every mistake is one sentence."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.diffractive_imaging import user_scan
from workflow_scripts.diffractive_imaging.apply.data import SCAN_NAME, Window, checked_scan
from workflow_scripts.diffractive_imaging.apply.settings import Apply
from workflow_scripts.diffractive_imaging.simulation.datasets import read_scan
from workflow_scripts.optics.diffraction import far_field
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays
from workflow_scripts.workflow.settings import check


@pytest.fixture(scope="module")
def scene():
    return user_scan.scene()


@pytest.fixture(scope="module")
def stack(scene):
    return user_scan.recorded(scene[2])


def prepared(folder, stack, positions_file=None, probe_file=None, **changes):
    np.save(folder / "scan.npy", stack)
    return checked_scan(check(Apply, user_scan.settings(**changes)), folder / "scan.npy", positions_file, probe_file)


def test_what_was_recorded_comes_back(tmp_path, scene, stack):
    checked = prepared(tmp_path, stack)
    write_arrays(tmp_path / "scan.npz", checked.arrays())
    scan = read_scan(tmp_path / "scan.npz", SCAN_NAME, checked.light.dose_e).along_object()
    assert torch.equal(scan.counts, scene[2])
    shift = scene[1][0] - scan.positions_px[0]
    assert torch.allclose(scan.positions_px + shift, scene[1])
    assert checked.light.pixel_size_a == pytest.approx(user_scan.PIXEL_A)
    assert checked.light.dose_e == pytest.approx(user_scan.DOSE_E, rel=0.01)
    assert torch.allclose(checked.light.probe, user_scan.light().probe.T)


@pytest.mark.parametrize("kind", ["(N, H, W)", "h5", "positions", "positions in Å", "float", "half the counts"])
def test_other_forms_of_the_same_scan_give_the_same(tmp_path, stack, kind):
    expected = prepared(tmp_path, stack)
    flat = stack.reshape(-1, *stack.shape[2:])
    table = user_scan.raster_px(user_scan.POINTS, 2.0).numpy()
    match kind:
        case "(N, H, W)":
            checked = prepared(tmp_path, flat, scan_shape=list(user_scan.POINTS))
        case "h5":
            with h5py.File(tmp_path / "scan.h5", "w") as file:
                file["entry/data"] = stack
            entry = user_scan.settings(patterns="scan.h5", dataset="entry/data")
            checked = checked_scan(check(Apply, entry), tmp_path / "scan.h5", None, None)
        case "positions" | "positions in Å":
            unit = "angstrom" if kind.endswith("Å") else "px"
            np.save(tmp_path / "positions.npy", table * (user_scan.PIXEL_A if unit == "angstrom" else 1.0))
            changes = {"positions": "positions.npy", "positions_unit": unit, "step_a": None}
            checked = prepared(tmp_path, flat, tmp_path / "positions.npy", **changes)
        case "float":
            checked = prepared(tmp_path, stack.astype(np.float32))
        case "half the counts":
            checked = prepared(tmp_path, 3 * stack, counts_per_electron=3.0)
    assert torch.allclose(checked.scan.counts, expected.scan.counts)
    assert torch.allclose(checked.scan.positions_px, expected.scan.positions_px)
    assert checked.light.dose_e == pytest.approx(expected.light.dose_e)


def test_the_offset_of_the_disc_that_was_found_goes_into_the_probe(tmp_path):
    y, x = np.mgrid[:90, :100]
    mean = np.clip(20.5 - np.hypot(y - 43.3, x - 51.8), 0, 1) + 0.02
    probe = user_scan.PROBE
    for amplitude in ("aperture", "mean_pattern"):
        checked = prepared(
            tmp_path,
            np.round(100 * mean).astype(np.uint16)[None, None].repeat(4, 0).repeat(4, 1),
            center_px=None,
            detector_transposed=False,
            probe=probe | {"amplitude": amplitude},
            dose_min_e=100.0,
            dose_max_e=1.0e6,
        )
        intensity = far_field(checked.light.probe).abs().square()
        axis = torch.arange(user_scan.N).double()
        center = [float((intensity.sum(dim=1 - side) * axis).sum()) for side in (0, 1)]
        first = checked.report["window"]["first_px"]
        expected = [(c - 0.5 - f) / 2 for c, f in zip((43.3, 51.8), first, strict=True)]
        assert center == pytest.approx(expected, abs=0.15), amplitude


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_binning_keeps_every_count_of_the_window(binning, top, left):
    patterns = np.random.default_rng(0).integers(0, 9, (2, 16 * binning + 5, 16 * binning + 5))
    cut = Window((top, left), binning, 16, (0.0, 0.0)).cut(patterns)
    window = patterns[:, top : top + 16 * binning, left : left + 16 * binning]
    assert cut.shape == (2, 16, 16)
    assert (cut.sum(axis=(1, 2)) == window.sum(axis=(1, 2))).all()
    assert cut[0, 0, 0] == window[0, :binning, :binning].sum()


def with_value(stack, value):
    changed = stack.astype(np.float32)
    changed[2, 3, 10, 10] = value
    return changed


STACKS = {
    "NaN": (lambda stack: with_value(stack, np.nan), {}, "pattern 31 holds values that are not finite"),
    "negative": (lambda stack: with_value(stack, -3.0), {}, "pattern 31 holds the negative count -3"),
    "two axes": (lambda stack: stack[0, 0], {}, "expected (N, H, W) or (Ry, Rx, H, W)"),
    "five axes": (lambda stack: stack[None], {}, "expected (N, H, W) or (Ry, Rx, H, W)"),
    "empty": (lambda stack: stack[:0], {}, "is empty (shape (0, 14, 72, 70))"),
    "complex": (lambda stack: stack * 1j, {}, "type complex128, expected real numbers"),
    "dark": (lambda stack: 0 * stack, {}, "all counts are 0"),
    "flat": (lambda stack: stack[0], {}, "a raster (step_a) needs scan_shape"),
    "another shape": (
        lambda stack: stack,
        {"scan_shape": [5, 5]},
        "holds 168 patterns, but scan_shape [5, 5] wants 25",
    ),
    "too small": (lambda stack: stack[..., :40, :40], {}, "but the detector has 40 × 40"),
    "faint": (lambda stack: stack // 50, {}, "outside dose_min_e 5000 to dose_max_e 50000"),
    "disc outside": (lambda stack: stack, {"center_px": [3.0, 60.0]}, "does not fit detector_px 32"),
    "few points": (lambda stack: stack[:3], {"rotation": "search"}, "at least 4 × 4 points, not 3 × 14"),
}


@pytest.mark.parametrize("kind", STACKS)
def test_patterns_that_cannot_be_used_are_refused_with_one_sentence(tmp_path, stack, kind):
    change, changes, sentence = STACKS[kind]
    with pytest.raises(InputError) as error:
        prepared(tmp_path, change(stack), **changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def h5_file(path, stack, dataset="entry/data"):
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=stack, chunks=(1, 1, *stack.shape[2:]))
        file["other"] = [1.0]


@pytest.mark.parametrize("length", [0, 100, 0.5, -64])
def test_a_truncated_h5_file_is_refused(tmp_path, stack, length):
    path = tmp_path / "scan.h5"
    h5_file(path, stack)
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content)) if isinstance(length, float) else length])
    with pytest.raises(InputError, match=r"scan\.h5") as error:
        checked_scan(check(Apply, user_scan.settings(patterns="scan.h5", dataset="entry/data")), path, None, None)
    assert "\n" not in str(error.value)


def test_a_wrong_dataset_path_is_refused_with_those_that_exist(tmp_path, stack):
    h5_file(tmp_path / "scan.h5", stack)
    for wrong in ("data", "entry"):
        with pytest.raises(InputError, match=r"has no dataset .*; it holds entry/data, other"):
            entry = check(Apply, user_scan.settings(patterns="scan.h5", dataset=wrong))
            checked_scan(entry, tmp_path / "scan.h5", None, None)


def test_a_file_that_is_absent_or_no_array_is_refused(tmp_path):
    entry = check(Apply, user_scan.settings())
    with pytest.raises(InputError, match=r"there is no file .*absent\.npy"):
        checked_scan(entry, tmp_path / "absent.npy", None, None)
    for content in (b"", b"not an array", b"\x93NUMPY"):
        (tmp_path / "scan.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"not a whole \.npy file"):
            checked_scan(entry, tmp_path / "scan.npy", None, None)


POSITIONS = {
    "another length": (np.zeros((167, 2)), "holds 167 positions for 168 patterns"),
    "three columns": (np.zeros((168, 3)), r"shape \(168, 3\), expected \(N, 2\)"),
    "one axis": (np.zeros(168), r"shape \(168,\), expected \(N, 2\)"),
    "NaN": (np.full((168, 2), np.nan), "not finite"),
}


@pytest.mark.parametrize("kind", POSITIONS)
def test_positions_that_do_not_fit_are_refused(tmp_path, stack, kind):
    table, sentence = POSITIONS[kind]
    np.save(tmp_path / "positions.npy", table)
    with pytest.raises(InputError, match=sentence):
        prepared(tmp_path, stack, tmp_path / "positions.npy", positions="positions.npy", step_a=None)


@pytest.mark.parametrize("kind", ["step_a", "positions"])
def test_a_step_in_another_unit_is_refused(tmp_path, stack, kind):
    changes = {"step_a": 1000 * user_scan.STEP_A}
    if kind == "positions":
        np.save(tmp_path / "positions.npy", 1e3 * np.arange(2 * 12 * 14).reshape(-1, 2))
        changes = {"step_a": None, "positions": "positions.npy"}
    with pytest.raises(InputError, match=f"^{kind}: the beam moves 2.*none overlap; correct {kind} or its unit$"):
        prepared(tmp_path, stack, tmp_path / "positions.npy" if kind == "positions" else None, **changes)


def test_a_probe_of_another_size_is_refused(tmp_path, stack):
    np.save(tmp_path / "probe.npy", np.ones((31, 31), complex))
    with pytest.raises(InputError, match=r"shape \(31, 31\), expected \(32, 32\)"):
        prepared(tmp_path, stack, probe_file=tmp_path / "probe.npy")
    np.save(tmp_path / "probe.npy", 7 * user_scan.light().probe.numpy())
    assert torch.allclose(
        prepared(tmp_path, stack, probe_file=tmp_path / "probe.npy").light.probe.T, user_scan.light().probe
    )


def test_a_probe_that_is_not_centred_is_refused(tmp_path, stack):
    np.save(tmp_path / "probe.npy", np.fft.ifftshift(user_scan.light().probe.numpy()))
    with pytest.raises(InputError, match=r"probe\.npy: no intensity on the 8 object pixels of a patch"):
        prepared(tmp_path, stack, probe_file=tmp_path / "probe.npy", upsampling=4)


CONTRADICTIONS = {
    "h5 without a dataset": ({"patterns": "scan.h5"}, "needs the path of the dataset"),
    "npy with a dataset": ({"dataset": "data"}, "a .npy file has none"),
    "positions and a step": ({"positions": "positions.npy"}, "either positions or step_a"),
    "neither": ({"step_a": None}, "either positions or step_a"),
    "a search over a list": ({"positions": "a.npy", "step_a": None, "rotation": "search"}, "needs a raster"),
    "an odd detector": ({"detector_px": 40}, "multiple of 16"),
    "another word": ({"rotation": "find"}, "rotation"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_settings_that_contradict_are_refused(kind):
    changes, sentence = CONTRADICTIONS[kind]
    with pytest.raises(InputError, match=sentence) as error:
        check(Apply, user_scan.settings(**changes), "apply.diffractive_imaging.mine")
    assert "apply.diffractive_imaging.mine" in str(error.value)

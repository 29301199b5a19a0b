"""Arrays, JSON and rows: what is written reads back, what is broken is named."""

import numpy as np
import pytest

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, read_json, write_arrays, write_json, write_rows

ARRAYS = {"phase_rad": np.arange(12, dtype=np.float32).reshape(3, 4), "dose_e": np.float64(7)}


def test_arrays_read_back_and_their_bytes_repeat(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, ARRAYS)
    found = read_arrays(tmp_path / "a.npz", ARRAYS)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_broken_archives_are_named(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    with pytest.raises(InputError, match="lacks counts; it holds phase_rad, dose_e"):
        read_arrays(path, ["counts"])
    whole = path.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"not an archive"):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"a\.npz"):
            read_arrays(path, ["phase_rad"])
    np.savez(path, phase_rad=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz"):
        read_arrays(path, ["phase_rad"])


def test_json_and_rows(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "Å"})
    assert read_json(tmp_path / "a.json") == {"a": "Å", "b": 1}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="not a JSON file"):
        read_json(tmp_path / "a.json")
    write_rows(tmp_path / "a.csv", [{"x": 0.1, "y": 1}, {"x": 1 / 3, "y": 2}], ["x", "y"])
    assert (tmp_path / "a.csv").read_text() == f"x,y\n0.1,1\n{1 / 3!r},2\n"

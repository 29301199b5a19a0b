import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays, write_arrays
from workflow_scripts.workflow.rows import Rows, StoredRows, is_finite

NAMES = ("one", "two")


def stored(path, **arrays):
    write_arrays(path, arrays)
    return read_arrays(path, arrays, in_file=tuple(arrays))


@given(
    parts=st.lists(
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.dtype(">f4"), np.uint16]),
            st.tuples(st.integers(1, 5), st.just(3), st.just(2)),
            elements=st.integers(0, 9),
        ),
        min_size=1,
        max_size=4,
    ),
    in_file=st.lists(st.booleans(), min_size=4, max_size=4),
    data=st.data(),
)
def test_rows_of_files_are_those_of_the_joined_array(tmp_path_factory, parts, in_file, data):
    folder = tmp_path_factory.mktemp("rows")
    whole = np.concatenate(parts)
    rows = Rows(
        [
            stored(folder / f"{k}.npz", first=np.arange(k), part=part)["part"] if in_file[k] else part
            for k, part in enumerate(parts)
        ]
    )
    assert len(rows) == len(whole)
    assert rows.shape == whole.shape
    index = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=9)), dtype=np.int64)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))))
    for chosen in (index, mask):
        assert rows[chosen].dtype == whole.dtype.newbyteorder("=")
        assert np.array_equal(rows[chosen], whole[chosen])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0])
def test_a_file_is_searched_for_what_is_no_number(tmp_path, value):
    array = np.ones((400, 128, 128), np.float32)  # more than is looked at in one piece
    array[-1, -1, -1] = value
    found = stored(tmp_path / "one.npz", one=array)["one"]
    assert isinstance(found, StoredRows)
    assert is_finite(found) == is_finite(array) == np.isfinite(value)


def test_what_does_not_lie_row_by_row_is_read_whole(tmp_path):
    array = np.arange(24.0).reshape(4, 6)
    np.savez_compressed(tmp_path / "small.npz", one=array, two=array)
    np.savez(tmp_path / "turned.npz", one=array.T, two=np.float64(3))
    small = read_arrays(tmp_path / "small.npz", NAMES, in_file=NAMES)
    turned = read_arrays(tmp_path / "turned.npz", NAMES, in_file=NAMES)
    assert np.array_equal(small["one"], array)
    assert np.array_equal(turned["one"], array.T)
    assert turned["two"] == 3
    assert not any(isinstance(found, StoredRows) for found in (*small.values(), *turned.values()))


def test_a_damaged_file_ends_in_a_sentence_at_once_or_when_it_is_read(tmp_path):
    path = tmp_path / "one.npz"
    rows = stored(path, one=np.ones((50, 8, 8)))["one"]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="became shorter"):
        rows[np.array([0, 49])]
    with pytest.raises(InputError, match="not a whole"):
        read_arrays(path, ["one"], in_file=["one"])
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="CRC"):
        read_arrays(path, ["one"], in_file=["one"])

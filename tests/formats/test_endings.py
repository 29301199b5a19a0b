"""Endings count in any case; HDF5 is recognised by its content."""

import h5py
import pytest

from workflow_scripts.formats import endings
from workflow_scripts.formats.endings import HDF5, NPY, TIFF, has_ending, is_hdf5


@pytest.mark.parametrize("name", ["a.h5", "a.H5", "a.hdf5", "a.HDF", "a.nxs", "a.emd", "folder.tif/a.b.h5"])
def test_hdf5_has_many_endings_in_any_case(name):
    assert has_ending(name, HDF5)
    assert not has_ending(name, TIFF + NPY)


def test_an_ending_belongs_to_one_format_and_is_in_lower_case():
    formats = [value for name, value in vars(endings).items() if name.isupper()]
    listed = [ending for format_ in formats for ending in format_]
    assert len(listed) == len(set(listed))
    assert all(ending == ending.lower() and ending.startswith(".") for ending in listed)


@pytest.mark.parametrize("user_block", [0, 512])
def test_hdf5_is_recognised_by_its_content_whatever_its_name(tmp_path, user_block):
    with h5py.File(tmp_path / "a.dat", "w", userblock_size=user_block) as file:
        file["x"] = 1
    (tmp_path / "b.txt").write_text("no HDF5")
    assert is_hdf5(tmp_path / "a.dat")
    assert not any(map(is_hdf5, (tmp_path / "b.txt", tmp_path / "absent", tmp_path)))
    assert is_hdf5(tmp_path / "absent.H5")

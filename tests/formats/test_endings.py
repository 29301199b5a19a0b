"""Endings count in any case, in every method; HDF5 is recognised by its content."""

import h5py
import numpy as np
import pytest
import tifffile

from workflow_scripts.alignment import settings as alignment
from workflow_scripts.background import settings as background
from workflow_scripts.diffractive_imaging import settings as diffractive_imaging
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.formats import endings
from workflow_scripts.formats.endings import HDF5, NPY, TIFF, has_ending, is_hdf5, without_ending
from workflow_scripts.formats.scan import open_scan
from workflow_scripts.matching import settings as matching
from workflow_scripts.potential import settings as potential
from workflow_scripts.potential.apply.segment_files import read_images
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check


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


def test_a_name_without_its_ending():
    assert [without_ending(name) for name in ("d/a.b.CIF.GZ", "a.cube", "a.b.tif")] == ["a.b", "a", "a.b"]


MICROSCOPE = {"voltage_kv": 200, "semiangle_mrad": 20}
SCANS = {
    "matching": (matching, {"crystal": "polyethylene", "pixel_size_per_a": 0.01}),
    "diffractive_imaging": (
        diffractive_imaging,
        {"detector_px": 32, "step_a": 1.0, "dose_min_e": 1, "dose_max_e": 9, "probe": MICROSCOPE},
    ),
    "potential": (potential, MICROSCOPE | {"pixel_size_a": 0.2, "thickness_nm": 9, "counts_per_electron": 1}),
}


@pytest.mark.parametrize("method", SCANS)
@pytest.mark.parametrize("name", ["scan.H5", "scan.Hdf5", "scan.nxs", "scan.EMD", "scan.dat"])
def test_a_scan_in_hdf5_needs_its_dataset_in_every_method(tmp_path, monkeypatch, method, name):
    """The last by its content."""
    monkeypatch.chdir(tmp_path)
    with h5py.File(name, "w") as file:
        file["data"] = np.ones((2, 2, 32, 32))
    module, entry = SCANS[method]
    assert check(module.Apply, entry | {"patterns": name, "dataset": "data"}).files()["patterns"] == name
    with open_scan([tmp_path / name], "data") as scan:
        assert scan.raster == (2, 2)
    with pytest.raises(InputError, match="needs the path of the dataset inside it"):
        check(module.Apply, entry | {"patterns": name})
    with pytest.raises(InputError, match="file has none"):
        check(module.Apply, entry | {"patterns": "scan.NPY", "dataset": "data"})


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (alignment, ["A.PNG", "a.TIFF", "a.Mrc", "a.MAP", "A.PDB", "a.CIF", "a.cif.GZ", "a.Ent.gz"]),
        (potential, ["A.CIF", "a.Cif.GZ", "a.CUBE", "a.cube.Gz"]),
        (matching, ["A.CIF", "a.Cif.GZ", "a.CUBE", "a.cube.Gz"]),
    ],
)
def test_a_file_is_told_from_what_is_built_in_by_any_case(module, names):
    assert all(map(module.is_file, names))
    assert not any(map(module.is_file, ["GaN", "a.txt", "a.gz", "cif"]))


def test_images_and_lists_count_in_any_case(tmp_path):
    image = np.arange(400, dtype=np.uint16).reshape(20, 20) + 1
    paths = [tmp_path / name for name in ("a.TIF", "b.tIFF", "c.Tif", "d.tif")]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, image + number)
    assert read_images(paths, None).shape == (4, 20, 20)
    tiles = check(background.Apply, {"tiles": str(tmp_path)}).inputs()["tile_files"]
    assert tiles == list(map(str, paths))
    assert sum(len(photographs(str(tmp_path), split)) for split in ("train", "validation", "test")) == 4
    for particles, reference in (("a.MRCS", "a.PNG"), ("a.Star", "a.MRC"), ("a.XMD", "a.TIF"), ("a.Mrc", None)):
        check(alignment.Apply, {"particles": particles, "reference": reference})
    segments = SCANS["potential"][1] | {"ring_mrad": (10, 20), "incident": 1.0}
    check(potential.Apply, segments | {"images": ["a.H5", "b.NPY", "c.TIF", "d.tiff"], "dataset": "data"})
    assert check(potential.Apply, segments | {"images": ["a.NPZ"]}).is_archive()

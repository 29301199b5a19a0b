"""What the fuzzing found, each mistake by itself: one sentence, where there was a traceback, a hang or wrong data."""

import io
import json
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch

from tests.alignment.user_particles import write_stack
from tests.background.ole_fixture import write_ole, xradia_streams
from tests.fuzz.arrays import READERS as ARRAYS
from tests.fuzz.kinds import Planted
from tests.fuzz.texts import CIF
from tests.fuzz.texts import READERS as TEXTS
from workflow_scripts.background.apply.image_files import read_image_set
from workflow_scripts.diffractive_imaging.simulation.datasets import read_probe
from workflow_scripts.diffractive_imaging.simulation.photographs import read_grey
from workflow_scripts.formats.arrays import opened, values
from workflow_scripts.formats.images import ImageStack
from workflow_scripts.formats.mrc import read_mrc
from workflow_scripts.formats.pdb import read_atoms
from workflow_scripts.formats.scan import Scan
from workflow_scripts.formats.star import read_tables, write_tables
from workflow_scripts.learning import checkpoints, weights
from workflow_scripts.matching.simulation.crystals import read_crystal
from workflow_scripts.workflow.closure import closure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays, read_json, write_json
from workflow_scripts.workflow.provenance import sealed
from workflow_scripts.workflow.verify import findings


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(shape, descr="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def flipped(path):
    """An uncompressed archive with one wrong bit in its values."""
    np.savez(path, a=np.arange(5000.0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


ARCHIVES = {
    "values beyond its bytes": (
        lambda path: archive(path, a=header((10**6, 10**6)) + bytes(8)),
        "announces 8000000000",
    ),
    "values beyond what deflate can hold": (lambda path: archive(path, a=header((10**7,)) + bytes(8 * 10**7)), None),
    "a pickle": (lambda path: archive(path, a=npy(np.array([Planted()], dtype=object))), "Python objects"),
    "text for an array": (lambda path: archive(path, a=b"text"), "not a whole .npz"),
    "one array in place of an archive": (lambda path: path.write_bytes(npy(np.ones(3))), "not a whole .npz"),
    "a wrong bit": (flipped, "not a whole .npz"),
    "another compression": (
        lambda path: (
            archive(path, a=npy(np.ones(9))),
            path.write_bytes(path.read_bytes().replace(b"\x08\0", b"\x63\0")),
        ),
        "not a whole .npz",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "not a whole .npz"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_damaged_archive_is_one_sentence(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, sentence = ARCHIVES[kind]
    path = tmp_path / "a.npz"
    make(path)
    if sentence is None:  # 80 MB of zeros in 80 kB: a compression that exists
        assert read_arrays(path, ["a"])["a"].shape == (10**7,)
        return
    with pytest.raises(InputError, match=r"a\.npz") as refused:
        read_arrays(path, ["a"])
    assert sentence in str(refused.value)
    assert not (tmp_path / "pwned").exists()


def test_the_names_in_an_archive_are_known_without_its_arrays(tmp_path):
    archive(tmp_path / "a.npz", a=header((10**6, 10**6)), b=npy(np.ones(2)))
    assert array_names(tmp_path / "a.npz") == ["a", "b"]
    with pytest.raises(InputError, match="it holds a, b"):
        read_arrays(tmp_path / "a.npz", ["c"])


PROBES = {
    "a header of Python 2 that does not end": (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'(\n", "not a whole .npy"),
    "values beyond its bytes": (header((10**6, 10**6), "<c16"), "announces 16000000000000 bytes"),
    "a negative shape": (header((-1, 8), "<c16"), "announces the shape"),
    "a pickle": (npy(np.array([Planted()], dtype=object)), "Python objects"),
    "amplitudes whose squares overflow": (npy(np.full((8, 8), 1e300 + 0j)), "which is no wave"),
    "amplitudes whose squares vanish": (npy(np.full((8, 8), 1e-300 + 0j)), "which is no wave"),
}


@pytest.mark.parametrize("kind", PROBES)
def test_a_probe_that_is_none_is_one_sentence(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, sentence = PROBES[kind]
    (tmp_path / "probe.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"probe\.npy") as refused:
        read_probe(tmp_path / "probe.npy", 8)
    assert sentence in str(refused.value)
    assert not (tmp_path / "pwned").exists()


def h5(make):
    def write(path):
        with h5py.File(path, "w") as file:
            make(file)

    return write


DATASETS = {
    "without a shape": (h5(lambda file: file.update(data=h5py.Empty("f4"))), "is empty"),
    "never written": (
        h5(lambda file: file.create_dataset("data", (10**6, 10**6), "f4", chunks=(64, 64))),
        "was not written to its end",
    ),
    "a link to itself": (h5(lambda file: file.update(data=h5py.SoftLink("/data"))), "not a whole .h5"),
    "a link into nothing": (h5(lambda file: file.update(data=h5py.ExternalLink("no.h5", "/x"))), "no dataset"),
    "beside a name that is no text": (h5(lambda file: file.create_dataset(b"\xff\xfe", data=[1.0])), "no dataset"),
}


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_that_is_none_is_one_sentence(tmp_path, kind):
    make, sentence = DATASETS[kind]
    make(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"a\.h5") as refused, opened(tmp_path / "a.h5", "data", "patterns") as array:
        values(array, "patterns")
    assert sentence in str(refused.value)


def test_a_virtual_dataset_is_read_from_its_parts(tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["data"] = np.ones((4, 300, 300))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        whole = h5py.VirtualLayout((4, 300, 300), "f8")
        whole[:] = h5py.VirtualSource("part.h5", "data", (4, 300, 300))
        file.create_virtual_dataset("data", whole)
        file["linked"] = h5py.ExternalLink("part.h5", "/data")
    for name in ("data", "linked"):
        with opened(tmp_path / "master.h5", name, "patterns") as array:
            assert values(array, "patterns").mean() == 1


def test_counts_that_no_network_can_hold_are_refused():
    with pytest.raises(InputError, match=r"pattern 1 holds the count 1e\+300"):
        Scan(np.stack([np.ones((8, 8)), np.full((8, 8), 1e300)]), None, "patterns: a.npy").mean_pattern()


def test_a_tile_that_32_bits_cannot_hold_is_refused(tmp_path):
    image = np.random.default_rng(0).random((20, 20)) + 1
    tifffile.imwrite(tmp_path / "a.tif", np.where(image > 1.9, 1e300, image))
    with pytest.raises(InputError, match="not finite as 32-bit floats"):
        read_image_set([tmp_path / "a.tif"], "tiles")


def png(width, height, chunk=b""):
    def block(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = block(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk + block(b"IDAT", zlib.compress(bytes(100))) + block(b"IEND", b"")


PICTURES = {
    "pixels beyond its bytes": png(13_000, 13_000),
    "a chunk beyond its bytes": png(8, 8, struct.pack(">I", 2**31 - 1) + b"IDAT"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(pwned) (w) file\n",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_is_none_is_one_sentence(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(PICTURES[kind])
    with pytest.raises(InputError, match=r"a\.png"):
        read_grey(tmp_path / "a.png", 8)
    with pytest.raises(InputError, match=r"a\.png"):
        ImageStack([tmp_path / "a.png"])


def test_a_tiff_of_more_than_its_bytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((16, 16), "u2"))
    content = bytearray(path.read_bytes())
    for tag in (256, 257):
        at = content.index(struct.pack("<HHI", tag, 4, 1))
        struct.pack_into("<HHII", content, at, tag, 4, 1, 1_000_000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="announces 2000000000000 bytes"):
        read_image_set([path], "tiles")


def test_an_xradia_file_of_more_than_its_bytes_is_refused_before_it_is_read(tmp_path):
    streams = xradia_streams(np.ones((1, 16, 16), "u2")) | {"ImageInfo/NoOfImages": struct.pack("<i", 99_999)}
    write_ole(tmp_path / "a.xrm", streams)
    with pytest.raises(InputError, match="announces 99999 images"):
        read_image_set([tmp_path / "a.xrm"], "tiles")


def test_a_volume_of_more_than_its_bytes_is_refused_before_it_is_read(tmp_path):
    path = write_stack(tmp_path / "a.mrc", np.random.default_rng(0).normal(size=(1, 16, 16)))
    whole = path.read_bytes()
    assert read_mrc(path, 2)[0].shape == (16, 16)
    for at, number in ((92, 2**31 - 1), (0, 500), (92, -4)):
        content = bytearray(whole)
        struct.pack_into("<i", content, at, number)
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"header (announces|is damaged)"):
            read_mrc(path, 2)
    path.write_bytes(b"\x1f\x8b" + whole)
    with pytest.raises(InputError, match="unpack it"):
        read_mrc(path, 2)


QUOTED = ['say "a" twice', "it's", 'a"b', "a'b\"c", "loop_", "data_x", "#1", ""]


def test_every_value_that_a_star_can_hold_is_written_back(tmp_path):
    columns = {"rlnImageName": QUOTED, "rlnAnglePsi": [0.0] * len(QUOTED)}
    write_tables(tmp_path / "a.star", {"particles": columns})
    assert read_tables(tmp_path / "a.star")["particles"]["rlnImageName"] == QUOTED


@pytest.mark.parametrize("line", ['"open', "'open end", 'b "a"c'])
def test_an_open_quotation_is_damage(tmp_path, line):
    (tmp_path / "a.star").write_text(f"data_particles\nloop_\n_rlnImageName\n{line}\n")
    with pytest.raises(InputError, match="line 4 has a quotation without an end"):
        read_tables(tmp_path / "a.star")


CRYSTALS = {
    "four parts of an operation": ("'-x,-y,z'", "'x,y,z,x'", "symmetry operation"),
    "a translation that is no number": ("'-x,-y,z'", "'x+¹0²,y,z'", "symmetry operation"),
    "a translation by infinity": ("'-x,-y,z'", "'x+1/0,y,z'", "symmetry operation"),
    "an operation that flattens": ("'-x,-y,z'", "'x,x,x'", "symmetry operation"),
    "operations by the thousand": ("'-x,-y,z'\n", "'-x,-y,z'\n" * 1000, "1003 symmetry operations"),
    "a line without an end": ("'-x,-y,z'", "'" * 300_000, "symmetry operation"),
}


@pytest.mark.parametrize("kind", CRYSTALS)
def test_a_crystal_that_is_none_is_one_sentence(tmp_path, kind):
    old, new, sentence = CRYSTALS[kind]
    assert old in CIF
    (tmp_path / "a.cif").write_text(CIF.replace(old, new))
    with pytest.raises(InputError, match=r"a\.cif") as refused:
        read_crystal(tmp_path / "a.cif")
    assert sentence in str(refused.value)


def test_a_line_of_quotes_does_not_hang(tmp_path):
    text = TEXTS["mmcif"].whole(np.random.default_rng(0), tmp_path).decode()
    (tmp_path / "a.cif").write_text(text + "\n" + "'a " * 100_000)
    with pytest.raises(InputError, match="unterminated"):
        read_atoms(tmp_path / "a.cif")


def network():
    return torch.nn.Linear(3, 2)


WEIGHTS = {
    "not finite": ({"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}, "{}", "not a finite number"),
    "whole numbers": ({"weight": torch.ones((2, 3), dtype=torch.int64), "bias": torch.zeros(2)}, "{}", "another type"),
    "a nest": (network().state_dict(), "[" * 100_000, "nested too deep"),
    "a list": (network().state_dict(), "[]", "are not a dictionary"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_none_are_one_sentence(tmp_path, kind):
    tensors, about, sentence = WEIGHTS[kind]
    (tmp_path / "a.safetensors").write_bytes(safetensors.torch.save(tensors, {"beamtime": about}))
    with pytest.raises(InputError, match=r"a\.safetensors") as refused:
        weights.load_weights(network(), tmp_path / "a.safetensors")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("about", [{"run": {}}, [], "text"])
def test_a_checkpoint_that_says_too_little_is_passed_over(tmp_path, about, capsys):
    content = weights.to_bytes({"a": torch.zeros(2)}, about)
    (tmp_path / f"step3-{checkpoints._digest(content)}.safetensors").write_bytes(content)
    assert checkpoints.load_newest(tmp_path, {}) is None
    assert "it is skipped" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "\ufeff", '{"a":'])
def test_json_that_is_none_is_one_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json is not a JSON file") as refused:
        read_json(tmp_path / "a.json")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "changes", [{"inputs": []}, {"code": None}, {"module": None}, {"outputs": "text"}, {"settings": 1}]
)
def test_provenance_of_another_kind_is_one_sentence(tmp_path, changes):
    record = json.loads(TEXTS["provenance"].whole(np.random.default_rng(0), tmp_path)) | changes
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    (found,) = findings(tmp_path, {})
    assert "it is no provenance of this project" in found.sentence


def test_provenance_without_names_names_nothing(tmp_path):
    record = json.loads(TEXTS["provenance"].whole(np.random.default_rng(0), tmp_path))
    del record["seal"]
    for module in ("..secrets", "workflow_scripts." + "x" * 999):
        names = {"inputs": {"": "x", "x" * 999: "x"}, "outputs": {"": "x"}, "module": module}
        write_json(tmp_path / "provenance.json", sealed(record | names))
        assert any("is missing" in found.sentence for found in findings(tmp_path, {}))


@pytest.mark.parametrize("module", ["", "..", "/etc.passwd", "workflow_scripts...etc", "workflow_scripts/../x"])
def test_no_module_lies_outside_of_the_project(module):
    with pytest.raises(ModuleNotFoundError):
        closure(module)


@pytest.mark.parametrize("name", ["npz_own_images", "npz_scan"])
def test_what_a_stage_hands_on_is_checked(tmp_path, name):
    reader, path = ARRAYS[name], tmp_path / "a.npz"
    path.write_bytes(reader.whole(np.random.default_rng(0), tmp_path))
    with np.load(path, allow_pickle=False) as file:
        whole = dict(file)
    for key, array in whole.items():
        if key == "scans":
            continue
        for other in (
            np.zeros((3, 3, 3, 3, 3)),
            np.zeros(array.shape, "S1"),
            array[..., :0] if array.ndim else array[None],
        ):
            np.savez(path, **whole | {key: other})
            with pytest.raises(InputError, match=r"a\.npz"):
                list(reader.reads[0](path))

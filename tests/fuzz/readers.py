"""Every reader of a user's file: whole examples of what it reads, and what to call with a file of that kind.

A reader answers with arrays that the oracle looks at. `spoiled` makes files that are whole as containers, their headers
valid, but hold what does not fit.
"""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import safetensors.torch
import tifffile
import torch
import yaml
from PIL import Image

from tests.background.ole_fixture import write_ole, xradia_streams
from tests.fuzz.mutations import of_array
from workflow_scripts.alignment.atom_files import read_atoms
from workflow_scripts.alignment.centres import read_centre
from workflow_scripts.alignment.grids import read_mrc
from workflow_scripts.alignment.labels import read_labelled
from workflow_scripts.alignment.particle_files import open_particles
from workflow_scripts.alignment.pose_files import write_star, write_xmd
from workflow_scripts.alignment.stacks import StackWriter, open_stack
from workflow_scripts.background.image_files import read_images as read_tiles_of
from workflow_scripts.background.image_files import read_mean
from workflow_scripts.background.layout import read_layout
from workflow_scripts.background.tile_files import read_bank, read_tiles
from workflow_scripts.diffractive_imaging.datasets import Illumination, read_probe, read_scan
from workflow_scripts.diffractive_imaging.photographs import read_grey
from workflow_scripts.learning import checkpoints, weights
from workflow_scripts.matching.crystals import read_crystal
from workflow_scripts.matching.own_data import ImageFolder
from workflow_scripts.matching.pattern_files import read_pairs, read_queries
from workflow_scripts.potential.own_data import OwnImages
from workflow_scripts.potential.own_files import read_archive, read_images
from workflow_scripts.potential.samples import read_samples
from workflow_scripts.potential.structure_files import read_structure
from workflow_scripts.study.recorded_patterns import find_disc, mean_pattern, scan_shape
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import checked
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_json
from workflow_scripts.workflow.own_files import opened
from workflow_scripts.workflow.verify import findings

N = 32
Make = Callable[[np.random.Generator, Path], bytes]


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    suffix: of its name. text: whether words are mutated rather than bytes. whole: makes a valid file.
    header: bytes (lines, of text) that stay as they are in half of the cases. spoiled: makes a valid container with
    other contents. reads: what reads it. beside: files that lie beside it, by name.
    """

    suffix: str
    whole: Make
    reads: tuple[Callable[[Path], Iterable], ...]
    text: bool = False
    header: int = 0
    spoiled: Make | None = None
    beside: Callable[[Path], None] | None = None


class Planted:
    """Whoever unpickles this makes a file called pwned in the working folder."""

    def __reduce__(self):
        return open, ("pwned", "w")


def _disc(rng, n=N):
    y, x = np.mgrid[:n, :n] - n // 2
    return rng.poisson(30.0 * (np.hypot(y, x) < n / 4) + 0.5)


# Arrays


def _npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _scan(rng, folder):
    return np.stack([[_disc(rng) for _ in range(3)] for _ in range(2)]).astype(
        str(rng.choice(["u2", "f4", "f8", "u1"]))
    )


def _patterns(path, dataset=None):
    with opened(path, dataset, f"patterns: {path}") as array:
        scan_shape(array.shape, None, f"patterns: {path}")
        mean = mean_pattern(array, f"patterns: {path}")
        disc = find_disc(mean, f"center_px of {path}")
    return [mean, np.array([*disc.center_px, disc.radius_px])]


def _segments(path, dataset=None):
    return [read_images([path], dataset)]


def _npy(rng, folder):
    if rng.random() < 0.5:
        return _npy_bytes(_scan(rng, folder))
    return _npy_bytes(rng.normal(size=(N, N)) + 1j * rng.normal(size=(N, N)))


def _npy_spoiled(rng, folder):
    if rng.random() < 0.1:
        return _npy_bytes(np.array([Planted(), 1], dtype=object))
    array = _scan(rng, folder) if rng.random() < 0.6 else rng.normal(size=(N, N)) + 0j
    if rng.random() < 0.5:
        return _npy_bytes(of_array(rng, array))
    # A header that announces another type or shape than what follows
    shape = rng.choice(
        ["(1000000, 1000000)", "(-1,)", "()", "(0, 5)", "(2, 3, 32, 33)", "(" * 200 + ")" * 200, "(9e9,)"]
    )
    kind = rng.choice(
        ["'<f4'", "'|O'", "'<f16'", "[('a', '<f4')]", "'|V1000000000'", "'U5'", "None", "'<q'", "['<f4']"]
    )
    text = f"{{'descr': {kind}, 'fortran_order': {rng.choice(['False', 'True', '2'])}, 'shape': {shape}, }}"
    text = text.ljust(-(-(len(text) + 11) // 64) * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + array.tobytes()


def _h5(rng, folder, change=lambda rng, array: array):
    path = folder / "making.h5"
    with h5py.File(path, "w") as file:
        kind = rng.integers(4)
        array = change(rng, _scan(rng, folder))
        if array.dtype.kind in "UM":
            array = array.astype("S8")
        options = {} if kind == 0 or array.ndim == 0 or not array.size else {"chunks": True}
        if kind == 2 and options:
            options["compression"] = "gzip"
        if kind == 3 and options:
            options |= {"shuffle": True, "fletcher32": array.dtype.kind not in "cV"}
        file.create_dataset("entry/data", data=array, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def _h5_spoiled(rng, folder):
    kind = rng.integers(14)
    if kind < 6:
        return _h5(rng, folder, of_array)
    path = folder / "making.h5"
    with h5py.File(path, "w") as file:
        match kind:
            case 6:
                file.create_dataset("entry/data", shape=(1_000_000, 1_000_000), dtype="f4", chunks=(64, 64))
            case 7:
                file.create_dataset("entry/data", shape=(10, 100_000, 100_000), dtype="u2", chunks=(1, 64, 64))
            case 8:
                file["entry/data"] = h5py.SoftLink(str(rng.choice(["/nowhere", "/entry/data", "/"])))
            case 9:
                file["entry/data"] = h5py.ExternalLink(str(rng.choice(["no.h5", "/etc/passwd", "/dev/zero"])), "/x")
            case 10:
                file["entry/data"] = h5py.Empty("f4")
            case 11:
                data = file.create_dataset("entry/data", (2,), dtype=h5py.vlen_dtype(np.uint8))
                data[0] = np.frombuffer(pickle.dumps(Planted()), np.uint8)
            case 12:
                file["entry/data"] = np.void(pickle.dumps(Planted()))
            case 13:
                file.create_group("entry/data/more")
    content = path.read_bytes()
    path.unlink()
    return content


# Archives


def _zipped(arrays, rng=None):
    file = io.BytesIO()
    save = np.savez_compressed if rng is not None and rng.random() < 0.3 else np.savez
    save(file, **arrays)
    return file.getvalue()


def _segment_arrays(rng):
    shares = rng.random((2, 4, 20, 24)).astype("f4") * 0.1
    same = rng.random((2, 20, 24)).astype("f4")
    return {
        **{
            "input": shares,
            "input_matched": shares,
            "sum": shares.sum(1),
            "potential": same,
            "potential_limited": same,
        },
        **{"thickness_nm": np.full(2, 20.0), "rotation": np.zeros((2, 3)), "sampling": np.float64(0.2)},
        **dict.fromkeys(("material", "specimen", "kind"), np.array(["a", "b"])),
        **{
            "detector": np.array([[10.0, 50.0], [0, 20.0]]),
            "voltage_kv": np.float64(200),
            "semiangle_mrad": np.float64(20),
        },
    }


def _own_arrays(rng):
    return {
        **{"shares": rng.random((1, 4, 20, 24)).astype("f4"), "pixel_size_a": np.float64(0.2)},
        **{"thickness_nm": np.full(1, 20.0), "rotation_deg": np.zeros((1, 3)), "detector": np.array("ring")},
        **{"dose_e_per_a2": np.float64(1e4), "voltage_kv": np.float64(200), "semiangle_mrad": np.float64(20)},
        "ring_mrad": np.array([10.0, 50.0]),
    }


def _match_arrays(rng):
    small, turned = rng.random((3, 8, 8)).astype("f4"), np.tile(np.eye(3), (3, 1, 1))
    return {
        **dict.fromkeys(("calculated", "spots", "background", "gallery", "counts"), small),
        **dict.fromkeys(("rotation", "second_rotation", "gallery_rotation", "symmetry"), turned),
        **{"kind": np.array(["plain"] * 3), "region": np.array(["seen"] * 3), "dose_e": np.full(3, 100.0)},
    }


def _tile_arrays(rng):
    tiles = rng.random((2, 3, 8, 8)).astype("f4")
    return {
        **dict.fromkeys(("counts", "log_transmission", "log_flat", "references", "earlier_references"), tiles),
        **{"open_beam": np.zeros((2, 3, 4), "i8"), "dose": np.full(2, 5e3), "dark": np.float64(100)},
    }


def _bank_arrays(rng):
    return {
        **{"log_transmission": rng.random((2, 9, 9)).astype("f4"), "log_flat": rng.random((2, 3, 8, 8)).astype("f4")},
        **{"held_out": np.array([True, False]), "dose": np.array([1e3, 1e4]), "dark": np.float64(100)},
    }


def _scan_arrays(rng):
    wave = rng.normal(size=(8, 8)) + 1j
    return {
        **{"scans": np.array(["scan"]), "test_dose_e": np.array([100.0]), "scan.counts": rng.random((1, 4, 8, 8))},
        **{"scan.positions_px": rng.random((4, 2)), "detector_transposed": np.bool_(False), "probe": wave},
        **{"pixel_size_a": np.float64(0.2), "dose_e": np.float64(100), "upsampling": np.int64(4)},
    }


def _archive(make):
    def whole(rng, folder):
        return _zipped(make(rng), rng)

    return whole


def _archive_spoiled(make):
    def spoiled(rng, folder):
        arrays = dict(make(rng))
        name = str(rng.choice(list(arrays)))
        match rng.integers(8):
            case 0:
                del arrays[name]
            case 1:
                arrays[name] = np.array([Planted()], dtype=object)
            case 2:
                return _npy_bytes(arrays[name])
            case 3:
                # A member that announces far more than it has
                huge = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(header, huge)
                file = io.BytesIO(_zipped({key: value for key, value in arrays.items() if key != name}))
                with zipfile.ZipFile(file, "a") as archive:
                    archive.writestr(f"{name}.npy", header.getvalue() + bytes(100))
                return file.getvalue()
            case 4:
                file = io.BytesIO(_zipped({key: value for key, value in arrays.items() if key != name}))
                with zipfile.ZipFile(file, "a") as archive:
                    archive.writestr(
                        str(rng.choice([name, f"../../{name}.npy", f"/{name}.npy", f"{name}.npy"])), b"text"
                    )
                return file.getvalue()
            case _:
                arrays[name] = of_array(rng, arrays[name])
        return _zipped(arrays, rng)

    return spoiled


def _of_samples(path):
    found = read_samples([path])
    return [*found.images.values(), found.potential, found.thickness_nm, found.rotation_deg]


def _of_archive(path):
    images, _ = read_archive(path, "input")
    return [images]


def _of_own(path):
    found = OwnImages.read(path)
    return [found.shares, np.array([found.pixel_size_a, *found.ring_mrad]), found.thickness_nm, found.rotation_deg]


def _of_bank(path):
    found = read_bank([path])
    return [found.log_transmission, found.log_flat, np.array([*found.dose, found.dark])]


def _of_tiles(path):
    found = read_tiles(path)
    return [found.counts, found.log_flat, found.references, found.dose]


def _of_pairs(path):
    found = read_pairs([path])
    return [found.calculated, found.rotation]


def _of_queries(path):
    found = read_queries(path)
    return [found.gallery, found.counts, found.rotation, found.dose_e]


def _of_scan(path):
    light, scan = Illumination.read(path), read_scan(path, "scan", 100.0)
    return [light.probe, np.array([light.pixel_size_a, light.dose_e]), scan.counts, scan.positions_px]


# Images


def _tiff(rng, folder, change=None):
    array = np.stack([_disc(rng) for _ in range(4)]) + 1
    array = array.astype(str(rng.choice(["u1", "u2", "f4", "f8"])))
    array = array if rng.random() < 0.5 else array[0]
    options = {"photometric": "minisblack"}
    if change is not None:
        array, options = change(rng, array), {}
    if rng.random() < 0.4 and "photometric" in options:
        options |= {"compression": "zlib"} if rng.random() < 0.5 else {"tile": (16, 16)}
    file = io.BytesIO()
    try:
        tifffile.imwrite(file, array, **options)
    except Exception:  # nothing that a TIFF can hold
        return _tiff(rng, folder)
    return file.getvalue()


def _tiff_spoiled(rng, folder):
    if rng.random() < 0.5:
        return _tiff(rng, folder, of_array)
    # One entry of the directory announces something else
    content = bytearray(_tiff(rng, folder))
    (first,) = struct.unpack_from("<I", content, 4)
    if first + 2 > len(content):
        return bytes(content)
    (count,) = struct.unpack_from("<H", content, first)
    at = first + 2 + 12 * int(rng.integers(count)) + int(rng.choice([0, 2, 4, 8]))
    value = int(rng.choice([0, 1, 3, 5, 258, 50_000, 2**20, 2**31 - 1, 2**32 - 1, first]))
    if at + 4 <= len(content):
        struct.pack_into("<I", content, at, value)
    return bytes(content)


def _png(rng, folder, change=None):
    array = (_disc(rng, 40) * 2).astype(np.uint8) + 1
    if change is not None:
        array = rng.choice([0, 255, 7], size=rng.integers(1, 70, 2)).astype(np.uint8)
        array = array if rng.random() < 0.5 else np.stack([array] * int(rng.integers(1, 5)), axis=-1)
        if rng.random() < 0.3:
            array = rng.integers(0, 65535, array.shape[:2]).astype(np.uint16)
        if array.ndim == 3 and array.shape[-1] == 1:
            array = array[..., 0]
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="png")
    return file.getvalue()


def _png_spoiled(rng, folder):
    if rng.random() < 0.6:
        return _png(rng, folder, of_array)
    content = bytearray(_png(rng, folder))
    struct.pack_into(
        ">I", content, int(rng.choice([16, 20])), int(rng.choice([0, 20_000, 2**20, 2**31 - 1, 2**32 - 1]))
    )
    import zlib

    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


def _folder_of_one(path):
    images = ImageFolder([path], f"patterns: {path}")
    return [mean_pattern(images, f"patterns: {path}")]


def _tiles_of_one(path):
    found = read_tiles_of([path], "tiles")
    return [found.images, *([] if found.positions_um is None else [found.positions_um])]


def _dark_of_one(path):
    return [read_mean([path], "dark", (N, N))]


def _xrm(rng, folder, change=None):
    images = np.stack([_disc(rng) for _ in range(2)]).astype(str(rng.choice(["u1", "u2", "f4"]))) + 1
    streams = xradia_streams(images, positions_um=rng.random((2, 2)))
    if change is not None:
        name = str(rng.choice(list(streams)))
        match rng.integers(4):
            case 0:
                del streams[name]
            case 1:
                values = [-1, 0, 1, 3, 7, 16, 32768, 99_999, 2**31 - 1]
                streams[f"ImageInfo/{rng.choice(['ImageWidth', 'ImageHeight', 'NoOfImages', 'DataType'])}"] = (
                    struct.pack("<i", int(rng.choice(values)))
                )
            case 2:
                streams[name] = np.full(
                    len(streams[name]) // 4, rng.choice([np.nan, np.inf, 1e38, -1]), "<f4"
                ).tobytes()
            case 3:
                streams[name] = streams[name][: int(rng.integers(4))]
    path = write_ole(folder / "making.xrm", streams, pad=bool(rng.random() < 0.7))
    content = path.read_bytes()
    path.unlink()
    return content


# Stacks, volumes and lists


def _stack_file(path, count=5, n=N, seed=0):
    with StackWriter(path, n, 2.5) as writer:
        writer.write(np.random.default_rng(seed).normal(size=(count, n, n)))
    return path


def _mrcs(rng, folder):
    content = _stack_file(folder / "making.mrcs", seed=int(rng.integers(100))).read_bytes()
    (folder / "making.mrcs").unlink()
    return content


def _volume(rng, folder):
    header = bytearray(_mrcs(rng, folder)[:1024])
    n = 12
    flat = rng.random() < 0.5
    struct.pack_into("<3i", header, 0, n, n, 1 if flat else n)
    struct.pack_into("<3i", header, 28, n, n, 1 if flat else n)
    struct.pack_into("<3f", header, 40, *[n * 2.5] * 2, 2.5 if flat else n * 2.5)
    struct.pack_into("<i", header, 88, 0 if flat else 1)
    return bytes(header) + rng.normal(size=(1 if flat else n, n, n)).astype("<f4").tobytes()


def _header_spoiled(make):
    def spoiled(rng, folder):
        content = bytearray(make(rng, folder))
        for _ in range(rng.integers(1, 4)):
            at = 4 * int(
                rng.choice([0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 22, 23, 53, int(rng.integers(256))])
            )
            value = int(rng.choice([0, 1, 2, 6, 12, 16, 36, 401, -1, 4096, 8192, 10**6, 2**30 - 1, 2**31 - 1]))
            struct.pack_into("<i", content, at, value)
        return bytes(content)

    return spoiled


def _of_stack(path):
    stack = open_stack(path)
    for _, images in stack.batches(3):
        yield images


def _of_volume(path):
    dimensions = 3 if path.read_bytes()[8:12] != struct.pack("<i", 1) else 2
    values, size = read_mrc(path, dimensions)
    return [values, np.array(size)]


def _of_centre(path):
    found = read_centre(path, 24, None if path.suffix == ".mrc" else 1.0)
    return [found.image, np.array(found.pixel_size_a)]


def _star(rng, folder):
    path = folder / "making.star"
    carried = {"rlnMicrographName": ["a.mrc", "b c.mrc", "d.mrc", "e'f.mrc", "g.mrc"], "rlnCoordinateX": list(range(5))}
    write_star(
        path,
        [f"{k + 1:06d}@own.mrcs" for k in range(5)],
        rng.random(5) * 360,
        rng.normal(size=(5, 2)),
        box_px=N,
        pixel_size_a=2.5,
        ctf=_ctf(5),
        carried=carried,
        added={
            **{f"beamtime{name}": ["a"] * 5 for name in ("Stack", "Particle", "Noise")},
            **{f"beamtime{name}": [1.0] * 5 for name in ("Snr", "Symmetry", "PixelSize")},
        },
    )
    content = path.read_bytes()
    path.unlink()
    return content


def _ctf(count):
    from tests.alignment.own_particles import ctf_parameters

    return ctf_parameters(count, np.full(count, 15000.0))


def _xmd(rng, folder):
    path = folder / "making.xmd"
    names = [f"{k + 1:06d}@own.mrcs" for k in range(5)]
    write_xmd(path, names, rng.random(5), rng.normal(size=(5, 2)), score=rng.random(5), ctf=_ctf(5))
    content = path.read_bytes()
    path.unlink()
    return content


def _of_list(path):
    """Read, and written on as `apply` does."""
    found = open_particles(path)
    poses = found.poses()
    yield found.read(np.arange(len(found)))
    yield from poses or ()
    out = path.parent / "out"
    out.mkdir(exist_ok=True)
    nothing = np.zeros(len(found)), np.zeros((len(found), 2))
    write_star(
        out / "aligned.star",
        found.image_names(out),
        *nothing,
        box_px=found.box_px,
        pixel_size_a=found.pixel_size_a,
        ctf=found.ctf,
        carried=found.columns,
    )
    write_xmd(out / "aligned.xmd", found.image_names(out), *nothing, ctf=found.ctf)
    again = open_particles(out / "aligned.star")
    assert len(again) == len(found)
    for written in out.iterdir():
        written.unlink()
    out.rmdir()


def _of_labelled(path):
    for stack in read_labelled(path, path.parent / "own.mrcs"):
        yield stack.read()
        yield from stack.truth()


def _own_stack(folder):
    _stack_file(folder / "own.mrcs")


# Atoms


_CIF = """data_test
_cell_length_a 3.905
_cell_length_b 3.905
_cell_length_c 3.905
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P m -3 m'
_space_group_IT_number 221
_chemical_formula_sum 'Sr Ti O3'
loop_
_space_group_symop_operation_xyz
'x,y,z'
'-x,-y,z'
'z,x,y'
'y,z,x'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Sr1 Sr 0 0 0 1 0.005
Ti1 Ti 0.5 0.5 0.5 1 0.005
O1 O 0.5 0.5 0 1.0 ?
"""


def _cif(rng, folder):
    text = _CIF
    if rng.random() < 0.4:
        first, last = text.index("loop_"), text.index("loop_\n_atom")
        text = text[:first] + text[last:]
    return text.encode()


def _of_crystal(path):
    found = read_crystal(path)
    return [found.lattice_a, found.fractional, found.numbers, found.occupancy, found.debye_waller_a2]


def _of_structure(path):
    found = read_structure(path)
    return [found.positions_a, np.array(found.cell_a), np.array(found.debye_waller_a2)]


def _cube(rng, folder):
    lines = ["a cell", "of silicon", "8 0.0 0.0 0.0", "4 2.56 0 0", "4 0 2.56 0", "4 0 0 2.56"]
    for place in ((0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)):
        lines.append("14 14.0 " + " ".join(f"{2.56 * part:.5f}" for part in place))
    lines += [" ".join(f"{value:.5E}" for value in row) for row in rng.random((16, 4))]
    return "\n".join(lines).encode()


def _gz(make):
    import gzip

    def zipped(rng, folder):
        return gzip.compress(make(rng, folder), mtime=0)

    return zipped


def _pdb(rng, folder):
    lines = [
        f"ATOM  {k:5d}  CA  ALA A{k:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C"
        for k, (x, y, z) in enumerate(rng.normal(size=(6, 3)) * 10, start=1)
    ]
    return "\n".join(["HEADER    TEST", *lines, "ENDMDL", "END"]).encode()


def _mmcif(rng, folder):
    names = ("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "Cartn_x", "Cartn_y")
    lines = ["data_TEST", "#", "loop_", *(f"_atom_site.{name}" for name in (*names, "Cartn_z", "pdbx_PDB_model_num"))]
    for k, (x, y, z) in enumerate(rng.normal(size=(6, 3)) * 10, start=1):
        lines.append(f'ATOM {k} C "C{k}\'" . ALA {x:.3f} {y:.3f} {z:.3f} 1')
    return "\n".join([*lines, "#"]).encode()


def _of_atoms(path):
    return [read_atoms(path).positions_a]


# Weights


def _network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))


def _weights(rng, folder):
    return weights.to_bytes(weights.on_cpu(_network().state_dict()), {"network": "test", "settings": {"a": 1}})


def _weights_spoiled(rng, folder):
    if rng.random() < 0.15:
        file = io.BytesIO()
        torch.save({"0.weight": Planted()}, file)
        return file.getvalue()
    state = {name: value.numpy() for name, value in weights.on_cpu(_network().state_dict()).items()}
    name = str(rng.choice(list(state)))
    state[name] = of_array(rng, state[name])
    if rng.random() < 0.2:
        del state[name]
    tensors = {}
    for key, value in state.items():
        if value.dtype.kind in "fiub" and value.dtype.itemsize < 16:
            tensors[key] = torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
    about = rng.choice(["{}", "[]", "null", "[" * 100_000, '{"network": NaN}', "1" * 5000, '"text"', '{"run": {}}'])
    return safetensors.torch.save(tensors, {"beamtime": str(about)})


def _of_weights(path):
    model = _network()
    weights.read_metadata(path)
    weights.load_weights(model, path)
    return list(model.state_dict().values())


def _of_checkpoint(path):
    """The same bytes as the newest checkpoint of a training, under a name with the right digest."""
    folder = path.parent / "out"
    folder.mkdir(exist_ok=True)
    content = path.read_bytes()
    there = folder / f"step3-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    there.write_bytes(content)
    try:
        found = checkpoints.load_newest(folder, {})
    finally:
        there.unlink()
        folder.rmdir()
    return [] if found is None else list(found.tensors.values())


def _checkpoint(rng, folder):
    tensors = weights.on_cpu(_network().state_dict())
    about = {"step": 3, "run": {}, "facts": {"best": 0.5}}
    if rng.random() < 0.3:
        del about[str(rng.choice(["step", "facts"]))]
    return weights.to_bytes(tensors, about)


# Configurations and other text


def _base():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    _merge(config, yaml.safe_load((ROOT / "scales/smoke.yaml").read_text(encoding="utf-8")))
    return config | {"scale": "smoke"}


def _merge(config, overlay):
    """As Snakemake merges a --configfile."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value


_OVERLAY = """seeds: [0, 1]
methods: [alignment, matching]
compute:
  gpus: 0
  threads: 2
alignment:
  synthesize:
    box_px: 48
    pixel_size_a: 2.5
  pretrain:
    epochs: 2
    learning_rate: 1.0e-3
apply:
  alignment:
    mine:
      particles: own.mrcs
      pixel_size_a: 2.0
      contrast: dark
  matching:
    map:
      patterns: folder
      crystal: polyethylene
      pixel_size_per_a: 0.02
      center_px: [20.0, 21.5]
"""


def _overlay(rng, folder):
    return _OVERLAY.encode()


def _overlay_spoiled(rng, folder):
    """Whole YAML with a value of another kind at a place that exists."""
    overlay = yaml.safe_load(_OVERLAY)
    values = (
        *(
            None,
            True,
            -1,
            0,
            10**30,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "x" * 5000,
            "\x00",
            "a\nb",
            "é",
            "-x",
            "{a}",
        ),
        *([], {}, [[]], {"a": 1}, {1: 2}, "1e-3", "../../x", "; touch pwned", "$(touch pwned)", "'\"`", "/dev/zero"),
        *("x" * 300 + ".mrcs", "/" + "y" * 300 + "/a.mrcs", "\ud800", b"bytes"),
    )
    for _ in range(rng.integers(1, 3)):
        place = overlay
        while True:
            key = list(place)[int(rng.integers(len(place)))]
            if isinstance(place[key], dict) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            value = values[int(rng.integers(len(values)))]
            if rng.random() < 0.2:
                place[str(value)] = place.pop(key)
            else:
                place[key] = value
            break
    return yaml.dump(overlay, Dumper=yaml.SafeDumper).encode("utf-8", errors="surrogatepass")


def _of_overlay(path):
    """As the Snakefile does it: Snakemake reads and merges, `checked` judges."""
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError

    base = _base()
    try:
        overlay = load_configfile(path)
    except (WorkflowError, yaml.YAMLError, ValueError, RecursionError):
        return []  # Snakemake's own sentence
    _merge(base, overlay)
    try:
        checked(base)
    except InputError as error:
        # It names the key: there is no file to name
        raise InputError(f"{path.name}: {error}") from None
    return []


def _config_beside(folder):
    _own_stack(folder)
    (folder / "folder").mkdir(exist_ok=True)


def _layout(rng, folder):
    lines = [f"tile_{k}.tif; ; ({k * 48.0}, {rng.random() * 5:.2f})" for k in range(6)]
    return "\n".join(["# Define the number of dimensions", "dim = 2", "", *lines]).encode()


def _of_layout(path):
    return [np.array(list(read_layout(path).values()))]


def _provenance(rng, folder):
    record = {
        **{
            "module": "workflow_scripts.matching.plot",
            "settings": {"a.b": 1},
            "inputs": {},
            "environment_lock": "0" * 64,
        },
        **{"outputs": {"results/smoke/a.npz": "0" * 64, "case.npz": "1"}, "code": {"config.yaml": "0" * 64}},
    }
    return json.dumps(record, indent=1).encode()


def _provenance_spoiled(rng, folder):
    record = json.loads(_provenance(rng, folder))
    values = (
        None,
        [],
        {},
        1,
        "x",
        "../..",
        "workflow_scripts",
        "os.path",
        "",
        "a..b",
        {"": "x"},
        {"a": None},
        [[1]],
        "x" * 999,
    )
    for _ in range(rng.integers(1, 3)):
        record[str(rng.choice([*record]))] = values[int(rng.integers(len(values)))]
    content = json.dumps(record)
    if rng.random() < 0.2:
        content = str(rng.choice(["[" * 100_000, "1" * 5000, "NaN", "[]", "null", '{"a": ' * 50_000, '"\\ud800"']))
    return content.encode()


def _of_json(path):
    read_json(path)
    return []


def _of_provenance(path):
    list(findings(path.parent, {"workflow_scripts.matching.plot": {"a.b": 2}}))
    return []


def _archive_reader(make, *reads):
    return Reader(".npz", _archive(make), reads, spoiled=_archive_spoiled(make))


READERS = {
    "configuration": Reader(
        ".yaml", _overlay, (_of_overlay,), text=True, header=2, spoiled=_overlay_spoiled, beside=_config_beside
    ),
    "stack": Reader(".mrcs", _mrcs, (_of_stack,), header=1024, spoiled=_header_spoiled(_mrcs)),
    "volume": Reader(".mrc", _volume, (_of_volume, _of_centre), header=1024, spoiled=_header_spoiled(_volume)),
    "star": Reader(".star", _star, (_of_list, _of_labelled), text=True, header=40, beside=_own_stack),
    "xmd": Reader(".xmd", _xmd, (_of_list,), text=True, header=16, beside=_own_stack),
    "npy": Reader(".npy", _npy, (_patterns, _segments, lambda path: [read_probe(path, N)]), 0, 128, _npy_spoiled),
    "h5": Reader(
        ".h5",
        _h5,
        (lambda path: _patterns(path, "entry/data"), lambda path: _segments(path, "entry/data")),
        header=96,
        spoiled=_h5_spoiled,
    ),
    "npz_potential": _archive_reader(_segment_arrays, _of_archive, _of_samples),
    "npz_own_images": _archive_reader(_own_arrays, _of_own),
    "npz_matching": _archive_reader(_match_arrays, _of_queries, _of_pairs),
    "npz_tiles": _archive_reader(_tile_arrays, _of_tiles),
    "npz_bank": _archive_reader(_bank_arrays, _of_bank),
    "npz_scan": _archive_reader(_scan_arrays, _of_scan),
    "tiff": Reader(
        ".tif",
        _tiff,
        (_tiles_of_one, _dark_of_one, _segments, _folder_of_one, lambda path: [read_grey(path, 16)], _of_centre),
        header=8,
        spoiled=_tiff_spoiled,
    ),
    "png": Reader(
        ".png",
        _png,
        (_folder_of_one, lambda path: [read_grey(path, 16)], _of_centre),
        header=33,
        spoiled=_png_spoiled,
    ),
    "xrm": Reader(".xrm", _xrm, (_tiles_of_one, _dark_of_one), 0, 512, lambda rng, folder: _xrm(rng, folder, of_array)),
    "cif": Reader(".cif", _cif, (_of_crystal, _of_structure), text=True, header=10),
    "cif_gz": Reader(".cif.gz", _gz(_cif), (_of_structure,), header=10),
    "cube": Reader(".cube", _cube, (_of_structure,), text=True, header=6),
    "pdb": Reader(".pdb", _pdb, (_of_atoms,), text=True, header=1),
    "pdb_gz": Reader(".pdb.gz", _gz(_pdb), (_of_atoms,), header=10),
    "mmcif": Reader(".cif", _mmcif, (_of_atoms,), text=True, header=13),
    "safetensors": Reader(".safetensors", _weights, (_of_weights,), header=8, spoiled=_weights_spoiled),
    "checkpoint": Reader(".safetensors", _checkpoint, (_of_checkpoint,), header=8, spoiled=_weights_spoiled),
    "layout": Reader(".txt", _layout, (_of_layout,), text=True, header=3),
    "provenance": Reader(
        "provenance.json", _provenance, (_of_json, _of_provenance), text=True, header=1, spoiled=_provenance_spoiled
    ),
}

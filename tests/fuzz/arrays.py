"""Arrays and archives of them: .npy, .h5 and every .npz that a user gives or a stage hands on."""

import io
import pickle
import struct
import zipfile

import h5py
import numpy as np

from tests.fuzz.kinds import N, Planted, Reader, disc, segments
from tests.fuzz.mutations import of_array
from tests.matching.training import pair_arrays
from workflow_scripts.background.simulation.tile_files import read_tiles, read_training_tiles
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, read_probe, read_scan
from workflow_scripts.formats.scan import find_disc, open_scan
from workflow_scripts.matching.simulation.pairs import read_pairs
from workflow_scripts.matching.simulation.pattern_files import read_queries
from workflow_scripts.potential.apply.data import UserImages
from workflow_scripts.potential.apply.segment_files import read_archive
from workflow_scripts.potential.simulation.samples import read_samples

# Arrays


def _npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _scan(rng, folder):
    return np.stack([[disc(rng) for _ in range(3)] for _ in range(2)]).astype(str(rng.choice(["u2", "f4", "f8", "u1"])))


def _patterns(path, dataset=None):
    with open_scan([path], dataset) as scan:
        mean = scan.mean_pattern()
        disc = find_disc(mean, f"center_px of {path}")
    return [mean, np.array([*disc.center_px, disc.radius_px])]


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
        **dict.fromkeys(("gallery", "counts"), small),
        **dict.fromkeys(("rotation", "second_rotation", "gallery_rotation", "symmetry"), turned),
        **{"kind": np.array(["plain"] * 3), "region": np.array(["seen"] * 3), "dose_e": np.full(3, 100.0)},
        "session": np.zeros(3, "i8"),
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
    found = read_samples([path], in_files=True)
    found = found.rows(np.arange(len(found)))
    return [*found.images.values(), found.potential, found.thickness_nm, found.rotation_deg]


def _of_archive(path):
    images, _ = read_archive(path, "input")
    return [images]


def _of_own(path):
    found = UserImages.read(path)
    return [found.shares, np.array([found.pixel_size_a, *found.ring_mrad]), found.thickness_nm, found.rotation_deg]


def _of_bank(path):
    found = read_training_tiles([path])
    return [found.log_transmission, found.log_flat, np.array([*found.dose, found.dark])]


def _of_tiles(path):
    found = read_tiles(path)
    return [found.counts, found.log_flat, found.references, found.dose]


def _of_pairs(path):
    found = read_pairs([path])
    return [found.spots.numpy(), found.rotation.numpy()]


def _of_queries(path):
    found = read_queries(path)
    return [found.gallery, found.counts, found.rotation, found.dose_e]


def _of_scan(path):
    light, scan = Illumination.read(path), read_scan(path, "scan", 100.0)
    return [light.probe, np.array([light.pixel_size_a, light.dose_e]), scan.counts, scan.positions_px]


def _archive_reader(make, *reads):
    return Reader(".npz", _archive(make), reads, spoiled=_archive_spoiled(make))


READERS = {
    "npy": Reader(
        ".npy", _npy, (_patterns, segments, lambda path: [read_probe(path, N)]), header=128, spoiled=_npy_spoiled
    ),
    "h5": Reader(
        ".h5",
        _h5,
        (lambda path: _patterns(path, "entry/data"), lambda path: segments(path, "entry/data")),
        header=96,
        spoiled=_h5_spoiled,
    ),
    "npz_potential": _archive_reader(_segment_arrays, _of_archive, _of_samples),
    "npz_own_images": _archive_reader(_own_arrays, _of_own),
    "npz_matching": _archive_reader(_match_arrays, _of_queries),
    "npz_pairs": _archive_reader(lambda rng: pair_arrays(), _of_pairs),
    "npz_tiles": _archive_reader(_tile_arrays, _of_tiles),
    "npz_bank": _archive_reader(_bank_arrays, _of_bank),
    "npz_scan": _archive_reader(_scan_arrays, _of_scan),
}

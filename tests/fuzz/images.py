"""Pictures, stacks, volumes, and the lists that name images."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

from tests.alignment.user_particles import ctf_parameters
from tests.background.ole_fixture import write_ole, xradia_streams
from tests.fuzz.kinds import N, Reader, disc, segments
from tests.fuzz.mutations import of_array
from workflow_scripts.alignment.simulation.labels import read_labelled
from workflow_scripts.alignment.simulation.sources import read_class_average
from workflow_scripts.background.apply.image_files import read_image_set as read_tiles_of
from workflow_scripts.background.apply.image_files import read_mean
from workflow_scripts.diffractive_imaging.simulation.photographs import read_grey
from workflow_scripts.formats.mrc import StackWriter, open_stack, read_mrc
from workflow_scripts.formats.particles import open_particles, write_star, write_xmd
from workflow_scripts.formats.scan import open_scan

# Images


def _tiff(rng, folder, change=None):
    array = np.stack([disc(rng) for _ in range(4)]) + 1
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
    array = (disc(rng, 40) * 2).astype(np.uint8) + 1
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
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


def _folder_of_one(path):
    with open_scan([path], None) as scan:
        return [scan.mean_pattern()]


def _tiles_of_one(path):
    return [read_tiles_of([path], "tiles").images]


def _dark_of_one(path):
    return [read_mean([path], "dark", (N, N))]


def _xrm(rng, folder, change=None):
    images = np.stack([disc(rng) for _ in range(2)]).astype(str(rng.choice(["u1", "u2", "f4"]))) + 1
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
    path = write_ole(folder / "making.xrm", streams, pad=change is None or bool(rng.random() < 0.7))
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
    for start in range(0, stack.n_images, 3):
        yield stack.read(range(start, min(start + 3, stack.n_images)))


def _of_volume(path):
    dimensions = 3 if path.read_bytes()[8:12] != struct.pack("<i", 1) else 2
    values, size = read_mrc(path, dimensions)
    return [values, np.array(size)]


def _of_centre(path):
    found = read_class_average(path, 24, None if path.suffix == ".mrc" else 1.0)
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


READERS = {
    "stack": Reader(".mrcs", _mrcs, (_of_stack,), header=1024, spoiled=_header_spoiled(_mrcs)),
    "volume": Reader(".mrc", _volume, (_of_volume, _of_centre), header=1024, spoiled=_header_spoiled(_volume)),
    "star": Reader(".star", _star, (_of_list, _of_labelled), text=True, header=40, beside=_own_stack),
    "xmd": Reader(".xmd", _xmd, (_of_list,), text=True, header=16, beside=_own_stack),
    "tiff": Reader(
        ".tif",
        _tiff,
        (_tiles_of_one, _dark_of_one, segments, _folder_of_one, lambda path: [read_grey(path, 16)], _of_centre),
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
    "xrm": Reader(
        ".xrm", _xrm, (_tiles_of_one, _dark_of_one), header=512, spoiled=lambda rng, folder: _xrm(rng, folder, of_array)
    ),
}

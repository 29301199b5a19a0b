"""Minimal OLE compound files for tests: every stream is padded to 4096 bytes, so that none lies in the mini stream."""

import struct

SECTOR, FREE, END, FAT, NONE = 512, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def write_ole(path, streams, pad=True):
    """Streams by `storage/name`; one level of storages."""
    storages = sorted({name.split("/")[0] for name in streams})
    entries = [("Root Entry", 5, NONE, NONE, 1, END, 0)]
    chains, body = [], b""

    def place(content):
        nonlocal body
        padded = content.ljust(4096, b"\0") if pad else content
        start = len(body) // SECTOR
        sectors = -(-len(padded) // SECTOR)
        chains.extend([*range(start + 1, start + sectors), END])
        body += padded.ljust(sectors * SECTOR, b"\0")
        return start, len(padded)

    # Siblings hang in one chain to the right.
    number = 1
    for position, storage in enumerate(storages):
        names = [name for name in streams if name.startswith(f"{storage}/")]
        after = number + 1 + len(names)
        entries.append((storage, 1, NONE, after if position + 1 < len(storages) else NONE, number + 1, 0, 0))
        for k, name in enumerate(names):
            start, size = place(streams[name])
            right = number + 2 + k if k + 1 < len(names) else NONE
            entries.append((name.split("/")[1], 2, NONE, right, NONE, start, size))
        number = after
    directory = b"".join(_entry(*entry) for entry in entries)
    directory = directory.ljust(-(-len(directory) // SECTOR) * SECTOR, b"\0")
    first_directory = len(body) // SECTOR
    count = len(directory) // SECTOR
    chains.extend([*range(first_directory + 1, first_directory + count), END])
    body += directory
    n_fat = 1
    while (len(chains) + n_fat) > n_fat * SECTOR // 4:
        n_fat += 1
    first_fat = len(chains)
    table = (chains + [FAT] * n_fat) + [FREE] * (n_fat * SECTOR // 4 - len(chains) - n_fat)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<9I", 0, n_fat, first_directory, 0, 4096, END, 0, END, 0)
    header += struct.pack("<109I", *range(first_fat, first_fat + n_fat), *[FREE] * (109 - n_fat))
    path.write_bytes(header + body + struct.pack(f"<{len(table)}I", *table))
    return path


def _entry(name, kind, left, right, child, start, size):
    text = name.encode("utf-16-le") + b"\0\0"
    return (
        text.ljust(64, b"\0")
        + struct.pack("<HBB3I", len(text), kind, 1, left, right, child)
        + bytes(36)
        + struct.pack("<IQ", start, size)
    )


def xradia_streams(images, pixel_size_um=0.06, positions_um=None):
    """What a .txrm of the images (N, H, W) holds."""
    kind = {"uint8": 3, "uint16": 5, "float32": 10}[images.dtype.name]
    streams = {
        "ImageInfo/ImageWidth": struct.pack("<i", images.shape[2]),
        "ImageInfo/ImageHeight": struct.pack("<i", images.shape[1]),
        "ImageInfo/DataType": struct.pack("<i", kind),
        "ImageInfo/NoOfImages": struct.pack("<i", len(images)),
        "ImageInfo/PixelSize": struct.pack("<f", pixel_size_um),
    }
    if positions_um is not None:
        for axis, column in zip("YX", positions_um.T, strict=True):
            streams[f"ImageInfo/{axis}Position"] = column.astype("<f4").tobytes()
    for m, image in enumerate(images, start=1):
        streams[f"ImageData{(m + 99) // 100}/Image{m}"] = image.tobytes()
    return streams

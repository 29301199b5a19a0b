"""Mutations of files: of their bytes, of their words, and of the arrays that a valid container holds."""

import struct

import numpy as np

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "0",
    "1e-320",
    "9" * 40,
    "9" * 5000,
    "1_0",
    "٣",
    "0x10",
    "",
    "-0.0",
    "1e30",
)
WORDS = (
    *NUMBERS,
    *("'", '"', "#", "_", "loop_", "data_", "data_x", ";", "@", "1@", "0@a.mrcs", "../../../etc/passwd", "/etc/passwd"),
    *("$(touch pwned)", "`touch pwned`", "; touch pwned", "a" * 5000, "\\", "{", "{x}", "%s", "\x00", "é", "\u2028"),
    *(
        "?",
        ".",
        "~",
        "!!python/object/apply:os.system [touch pwned]",
        "&a [*a]",
        "<<",
        "- - - -",
        "[" * 300,
        "{a: " * 300,
    ),
)
_LONGEST_LINE = 2_000_000
_SIZES = (0, 1, 7, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def of_bytes(rng: np.random.Generator, content: bytes, first: int = 0, last: int | None = None) -> bytes:
    """One to four mutations of the bytes from `first` to `last`."""
    last = len(content) if last is None else last
    head, body, tail = content[:first], bytearray(content[first:last]), content[last:]
    for _ in range(rng.integers(1, 5)):
        if not body:
            break
        at = int(rng.integers(len(body)))
        length = int(min(len(body) - at, 2 ** rng.integers(0, 10)))
        match rng.integers(12):
            case 0:
                body[at] ^= 1 << int(rng.integers(8))
            case 1:
                for place in rng.integers(len(body), size=max(1, len(body) // 200)):
                    body[place] = int(rng.integers(256))
            case 2:
                body, tail = body[:at], b""
            case 3:
                body[at:at] = rng.integers(256, size=length).astype(np.uint8).tobytes()
            case 4:
                body[at : at + length] = bytes(length)
            case 5:
                body[at : at + length] = b"\xff" * length
            case 6:
                other = int(rng.integers(len(body)))
                body[at : at + length] = body[other : other + length]
            case 7:
                del body[at : at + length]
            case 8:
                kind = ("<i", "<I", ">I", "<H", "<Q")[rng.integers(5)]
                size = int(rng.choice(_SIZES)) if rng.random() < 0.7 else int(rng.integers(2**31))
                size = size % 2 ** (8 * struct.calcsize(kind) - (kind == "<i"))
                at -= at % struct.calcsize(kind)
                body[at : at + struct.calcsize(kind)] = struct.pack(kind, size)
            case 9:
                kind = "<f" if rng.random() < 0.5 else "<d"
                at -= at % 4
                packed = struct.pack(kind, float(rng.choice([np.nan, np.inf, -np.inf, 1e38, -1.0, 1e-40])))
                body[at : at + len(packed)] = packed
            case 10:
                body += body[at : at + length] * int(rng.integers(1, 20))
            case 11:
                body[at : at + length] = body[at : at + length][::-1]
    return head + bytes(body) + tail


def of_words(rng: np.random.Generator, content: bytes, first: int = 0) -> bytes:
    """One to four mutations of lines and words behind the first lines; sometimes of the bytes too."""
    text = content.decode("utf-8", errors="surrogateescape")
    lines = text.split("\n")
    for _ in range(rng.integers(1, 5)):
        if len(lines) <= first:
            break
        at = int(rng.integers(first, len(lines)))
        words = lines[at].split(" ")
        place = int(rng.integers(len(words)))
        match rng.integers(12):
            case 0 | 1 | 2 | 3:
                words[place] = str(rng.choice(WORDS))
                lines[at] = " ".join(words)
            case 4:
                del words[place]
                lines[at] = " ".join(words)
            case 5:
                words.insert(place, str(rng.choice(WORDS)))
                lines[at] = " ".join(words)
            case 6:
                del lines[at]
            case 7:
                lines.insert(at, lines[int(rng.integers(len(lines)))])
            case 8:
                other = int(rng.integers(first, len(lines)))
                lines[at], lines[other] = lines[other], lines[at]
            case 9:
                lines[at] = lines[at] * min(int(rng.choice([2, 100, 20000])), _LONGEST_LINE // max(1, len(lines[at])))
            case 10:
                lines = lines[:at]
            case 11:
                quote = str(rng.choice(["'", '"', " '", ' "', "[", "{", "- ", "a: {", "\t"]))
                lines[at] = quote * int(rng.choice([1, 10, 3000, 30000]))
    return "\n".join(lines).encode("utf-8", errors="surrogateescape")


def of_array(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """An array of another type or shape, or with other values; now and then one of Python objects."""
    array = np.array(array)
    for _ in range(rng.integers(1, 3)):
        match rng.integers(11):
            case 0 | 1:
                if array.dtype.kind in "iub":
                    array = array.astype(np.float64)
                if array.size and array.dtype.kind in "fc":
                    array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
            case 2:
                if array.dtype.kind in "fiub" and array.size:
                    array = array.astype(np.float64) * rng.choice([1e300, 1e38, -1.0, 0.0, 1e-310])
            case 3:
                kinds = ("u1", "i8", "f2", "f8", "c8", "S3", "U3", "?", ">f4", "M8[s]", "V4")
                with np.errstate(all="ignore"):
                    try:
                        array = array.astype(str(rng.choice(kinds)))
                    except (TypeError, ValueError):
                        array = np.zeros(array.shape, "c8")
            case 4:
                array = array.reshape(-1)
            case 5:
                array = array[None]
            case 6:
                array = array[..., :0] if array.ndim else np.zeros(0)
            case 7:
                array = np.array(array.flat[0]) if array.size else np.zeros(())
            case 8:
                array = array.T
            case 9:
                array = array[:-1] if array.ndim else array
            case 10:
                array = np.zeros(array.shape, [("a", "f4"), ("b", "i4")])
    return array

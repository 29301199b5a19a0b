"""Fuzz readers in a process of its own, with little memory and little time for each case.

`python -m tests.fuzz.worker FOLDER SEED COUNT READER…` prints a JSON line for every finding, and one at the end with
the number of cases, how many were read and how many refused. FOLDER/now names the case that runs: where the process
dies, that case is a finding too.
"""

import faulthandler
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from tests.fuzz.kinds import Reader
from tests.fuzz.mutations import of_bytes, of_words
from tests.fuzz.readers import READERS
from workflow_scripts.workflow.errors import InputError

CASE_S = 20  # of the processor; where a case only waits, the process ends after ten times as long
MEMORY_BYTES = 1 << 30  # beyond what the process has when all is imported
_LONGEST_SENTENCE = 3000


class TooSlow(BaseException):
    """A case took longer than it may; no reader catches this."""


def case_content(reader: Reader, rng: np.random.Generator, folder: Path, number: int) -> bytes:
    """The bytes of one case; every second one keeps its header."""
    if number == 0:
        return reader.whole(rng, folder)
    if number == 1:
        return b""
    keeps = number % 2 == 0
    if keeps and reader.spoiled is not None and rng.random() < 0.6:
        return reader.spoiled(rng, folder)
    content = reader.whole(rng, folder)
    if reader.text:
        if rng.random() < 0.85:
            return of_words(rng, content, reader.header if keeps else 0)
        first = len(b"\n".join(content.split(b"\n")[: reader.header]))
        return of_bytes(rng, content, first if keeps else 0)
    if keeps:
        return of_bytes(rng, content, reader.header)
    return of_bytes(rng, content, 0, reader.header if reader.header and rng.random() < 0.4 else None)


def complaint(answer) -> str | None:
    """What is wrong with what a reader returned."""
    for array in answer:
        values = np.asarray(array)
        if values.size == 0:
            return f"an empty array of the shape {values.shape}"
        if values.dtype.kind not in "biufcUS":
            return f"an array of the type {values.dtype}"
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            return f"values that are not finite, shape {values.shape}"
    return None


def sentence_complaint(text: str, path: Path) -> str | None:
    """What is wrong with a refusal."""
    if "\n" in text or "\r" in text:
        return "a refusal of several lines"
    if path.name not in text:
        return "a refusal that does not name the file"
    if len(text) > _LONGEST_SENTENCE:
        return f"a refusal of {len(text)} characters"
    if any(word in text for word in ("Traceback", "llocate", "MemoryError", "object at 0x")):
        return "a refusal that shows the inside"
    return None


def run(reader: Reader, read, path: Path) -> tuple[str, str]:
    """'read', 'refused' or the kind of finding; and the words."""
    signal.setitimer(signal.ITIMER_PROF, CASE_S)
    try:
        found = complaint(read(path))
        return ("read", "") if found is None else ("not finite or empty", found)
    except InputError as error:
        found = sentence_complaint(str(error), path)
        return ("refused", str(error)) if found is None else (found, str(error)[:400])
    except TooSlow:
        return "too slow", "".join(traceback.format_exc(limit=-4))
    except MemoryError:
        return "memory", "".join(traceback.format_exc(limit=-4))
    except BaseException as error:
        return f"exception {type(error).__name__}", "".join(traceback.format_exc(limit=-6))[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    folder, seed, count, names = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    first = int(os.environ.get("FUZZ_FIRST", 0))
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.captureWarnings(True)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_slow)
    os.chdir(folder)
    cases = read = refused = 0
    slowest = 0.0
    for name in names:
        reader = READERS[name]
        if reader.beside is not None:
            reader.beside(Path())
        there = {item.name for item in Path().iterdir()} | {"now"}
        for number in range(first if name == names[0] else 0, count):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
            path = Path(f"case{reader.suffix}" if reader.suffix.startswith(".") else reader.suffix)
            content = case_content(reader, rng, Path(), number)
            read_before = read
            for k, function in enumerate(reader.reads):
                cases += 1
                path.write_bytes(content)
                Path("now").write_text(f"{name} {number} {k}")
                faulthandler.dump_traceback_later(10 * CASE_S, exit=True)
                started = time.monotonic()
                kind, words = run(reader, function, path.absolute())
                faulthandler.cancel_dump_traceback_later()
                slowest = max(slowest, time.monotonic() - started)
                left = {item.name for item in Path().iterdir()} - there - {path.name}
                if left:
                    kind, words = "left behind", str(sorted(left))
                    for item in left:
                        (Path(item).rmdir if Path(item).is_dir() else Path(item).unlink)()
                read, refused = read + (kind == "read"), refused + (kind == "refused")
                if kind not in ("read", "refused"):
                    print(
                        json.dumps({"reader": name, "case": number, "by": k, "kind": kind, "words": words}), flush=True
                    )
            path.unlink()
            if number == 0 and read == read_before:
                print(
                    json.dumps({"reader": name, "case": 0, "by": k, "kind": "whole file refused", "words": words}),
                    flush=True,
                )
    print(json.dumps({"cases": cases, "read": read, "refused": refused, "slowest_s": round(slowest, 2)}), flush=True)


def _too_slow(number, frame):
    raise TooSlow


if __name__ == "__main__":
    main()

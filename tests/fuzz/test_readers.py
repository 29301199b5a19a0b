"""Every reader on thousands of damaged files: finite data of the documented shape, or one sentence that names the file.

No other exception, no hang, no memory beyond 1 GiB, nothing unpickled, nothing written beside the file.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.fuzz.readers import READERS
from workflow_scripts.workflow.closure import ROOT

SMALL, FULL = 8, 500  # cases of each kind of file; most are given to several readers
FULL_CASES = 10_000  # that all together must reach


def fuzzed(folder, seed, count, names):
    """Findings and the closing line; where the process dies, it goes on behind the case that killed it."""
    findings, closing, first = [], {"cases": 0, "read": 0, "refused": 0}, 0
    names = list(names)
    while names:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.worker", folder, str(seed), str(count), *names],
            cwd=ROOT,
            env=os.environ | {"FUZZ_FIRST": str(first), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=7200,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        findings += [line for line in lines if "reader" in line]
        if "Traceback" in done.stderr and done.returncode == 0:
            findings.append({"kind": "a library's traceback", "words": done.stderr[-2000:]})
        if done.returncode == 0:
            for key in closing:
                closing[key] += lines[-1][key]
            break
        name, number, k = (folder / "now").read_text().split()
        findings.append(
            {"reader": name, "case": int(number), "by": int(k), "kind": "died", "words": done.stderr[-2000:]}
        )
        assert len(findings) < 50, findings
        names, first = names[names.index(name) :], int(number) + 1
    return findings, closing


def test_a_few_damaged_files_of_every_kind(tmp_path):
    findings, closing = fuzzed(tmp_path, 0, SMALL, READERS)
    assert findings == []
    assert closing["read"] > len(READERS)
    assert closing["refused"] > 5 * len(READERS)


@pytest.mark.torture
@pytest.mark.parametrize("name", READERS)
def test_damaged_files(tmp_path, name):
    findings, closing = fuzzed(tmp_path, 1, FULL, [name])
    print(name, closing)
    assert findings == []
    assert closing["cases"] >= FULL * len(READERS[name].reads)
    assert closing["read"] > 0
    assert closing["refused"] > 0 or name in ("configuration", "checkpoint")


def test_the_full_count_is_full():
    assert FULL * sum(len(reader.reads) for reader in READERS.values()) >= FULL_CASES

"""Faults of a study under Snakemake: a full disk, a second study, a killed job, read-only and oddly dated inputs."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from skimage import io

from tests.workflow.mounts import enlarge, read_only, small_disk
from tests.workflow.running import ENVIRONMENT, copy_project, planned, snakemake

SMOKE = ("--config", "scale=smoke", "--")
STACK = "results/smoke/alignment/synthesize/train/shard0.mrcs"
SHARD = "results/smoke/diffractive_imaging/synthesize/test/shard0.npz"


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path / "project")


def started(project, log):
    """Snakemake, once its job has begun, and the job's process number."""
    line = [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE, STACK]
    with log.open("wb") as said:
        process = subprocess.Popen(line, cwd=project, env=ENVIRONMENT, stdout=said, stderr=said, start_new_session=True)
    while not (jobs := jobs_in(project)):
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    return process, jobs[0]


def jobs_in(project):
    """Process numbers of the stage's script."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if (entry / "cwd").readlink() == project and words[1:3] == ["-m", "workflow_scripts.alignment.synthesize"]:
                found.append(int(entry.name))
    return found


def made(project):
    """What lies in the results, hidden files too, besides the logs."""
    return [
        path
        for path in (project / "results").rglob("*")
        if path.is_file() and not {"logs", "benchmarks"} & set(path.parts)
    ]


def test_a_full_disk_stops_the_job_in_a_sentence_and_keeps_what_was_made(project):
    with small_disk(project / "results", 400_000):
        earlier = project / "results" / "earlier.txt"
        earlier.write_text("kept")
        done = snakemake(project, *SMOKE, STACK)
        text = done.stdout + done.stderr
        assert done.returncode != 0
        assert "error: No space left on device" in text
        assert "make room and run again" in text
        assert "Traceback" not in text
        assert made(project) == [earlier]
        enlarge(project / "results", 50_000_000)
        done = snakemake(project, *SMOKE, STACK)
        assert done.returncode == 0, done.stdout + done.stderr
        assert earlier.read_text() == "kept"


def test_a_second_study_in_the_same_folder_is_refused_and_the_first_goes_on(project, tmp_path):
    first, job = started(project, tmp_path / "first.txt")
    os.kill(job, signal.SIGSTOP)  # until the second has tried
    second = snakemake(project, *SMOKE, STACK)
    os.kill(job, signal.SIGCONT)
    assert second.returncode != 0
    text = second.stdout + second.stderr
    assert "Directory cannot be locked" in text
    assert "Traceback" not in text
    assert first.wait(timeout=300) == 0, (tmp_path / "first.txt").read_text()
    assert (project / STACK).is_file()
    assert planned(project, *SMOKE, STACK) == {}


def test_a_job_that_is_killed_as_for_want_of_memory_says_so(project, tmp_path):
    process, job = started(project, tmp_path / "said.txt")
    os.kill(job, signal.SIGKILL)
    assert process.wait(timeout=300) == 1
    said = (tmp_path / "said.txt").read_text()
    assert said.count("error: this job was killed (signal 9), as happens when the memory runs out") == 1
    assert "Traceback" not in said
    assert not [path for path in made(project) if not path.name.startswith(".partial-")]


@pytest.mark.torture
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_leaves_nothing_half_written_and_needs_no_unlocking(project, tmp_path, number):
    process, _ = started(project, tmp_path / "said.txt")
    os.killpg(process.pid, number)  # as Ctrl-C in a terminal, or the end of a batch job
    assert process.wait(timeout=300) != 0
    while jobs_in(project):
        time.sleep(0.05)
    assert not [path for path in made(project) if path.name.startswith(".partial-")]
    done = snakemake(project, *SMOKE, STACK)
    assert done.returncode == 0, done.stdout + done.stderr


def test_read_only_inputs_and_their_dates(project, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for k in range(8):
        # Above 1 MB Snakemake compares only the date.
        io.imsave(photographs / f"photo{k}.png", rng.integers(0, 255, (1100, 1100), np.uint8), check_contrast=False)
    (project / "my.yaml").write_text(f"diffractive_imaging: {{synthesize: {{photographs: {photographs}}}}}\n")
    words = ("--configfile", "my.yaml", *SMOKE, SHARD)

    def digests():
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photographs.iterdir()}

    before = digests()
    for path in photographs.iterdir():
        path.chmod(0o444)
    with read_only(photographs):
        done = snakemake(project, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert digests() == before

    used = next(path for path in photographs.iterdir() if path.name in (project / SHARD).parent.joinpath(
        "shard0.provenance.json").read_text())  # fmt: skip
    used.chmod(0o644)
    os.utime(used, (0, 0))
    assert planned(project, *words) == {}
    content = used.read_bytes()
    used.write_bytes(content + b"\0")
    os.utime(used, (0, 0))  # changed, yet older than what was made from it
    assert planned(project, *words) == {"diffractive_imaging_synthesize": 1}
    used.write_bytes(content)
    os.utime(used, (time.time() + 1e6,) * 2)
    done = snakemake(project, *words)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"{used} is dated" in text
    assert f"touch {used}" in text
    assert "Error in rule" not in text  # no job was begun
    assert (project / SHARD).is_file()

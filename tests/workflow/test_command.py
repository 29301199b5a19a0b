"""A stage script's command line: whole outputs or none, one sentence for a mistake, provenance."""

import json
import subprocess
import sys

import pytest

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.provenance import COST

STAGE = '''
"""A toy stage."""
import os, sys, time
from pydantic import Field
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Settings

class Arguments(Settings):
    scale: float = Field(gt=0, description="A factor of 100 %.")
    mode: str = Field(description="What happens.")

def stage(job):
    job.outputs["first"].write_text(str(job.arguments.scale * float(job.input("numbers").read_text())))
    if job.arguments.mode == "mistake":
        raise InputError("numbers.txt: a mistake of the user's")
    if job.arguments.mode == "bug":
        raise RuntimeError("a bug of ours")
    if job.arguments.mode == "full":
        raise OSError(28, "No space left on device", "first.txt")
    if job.arguments.mode == "large":
        held = b"1" * 200_000_000
    if job.arguments.mode == "wait":
        print("waiting", flush=True); time.sleep(60)
    job.outputs["second"].write_text(job.checkpoint_folder.name)

if __name__ == "__main__":
    Command(stage, Arguments, inputs={"numbers": "a number"}, outputs={"first": "a", "second": "b"}).main()
'''


@pytest.fixture
def toy(tmp_path):
    """A copy of the workflow package with a toy stage beside it."""
    package = tmp_path / "workflow_scripts"
    for name in ("__init__.py", "workflow"):
        source = ROOT / "workflow_scripts" / name
        files = [source] if source.is_file() else source.glob("*.py")
        for file in files:
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (package / "toy.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "lock.txt").write_text("nothing\n")
    (tmp_path / "numbers.txt").write_text("21")
    return tmp_path


def command(mode="good", scale="2.0", numbers="numbers.txt"):
    return [
        *(
            sys.executable,
            "-m",
            "workflow_scripts.toy",
            "--scale",
            scale,
            "--mode",
            mode,
            "--numbers",
            numbers,
        ),
        *("--first", "out/first.txt", "--second", "out/second.txt", "--provenance", "out/provenance.json"),
    ]


def run(folder, *words, **keywords):
    return subprocess.run(command(*words, **keywords), cwd=folder, capture_output=True, text=True, timeout=60)


def test_outputs_and_provenance(toy):
    done = run(toy)
    assert (done.returncode, done.stderr) == (0, "")
    assert (toy / "out/first.txt").read_text() == "42.0"
    record = json.loads((toy / "out/provenance.json").read_text())
    assert record["settings"] == {"scale": 2.0, "mode": "good"}
    assert list(record["inputs"]) == ["numbers.txt"]
    assert sorted(record["outputs"]) == ["out/first.txt", "out/second.txt"]
    assert "workflow_scripts/toy.py" in record["code"]
    assert sorted(path.name for path in (toy / "out").iterdir()) == [
        "first.txt",
        "provenance.json",
        "second.txt",
    ]


def test_the_provenance_says_what_the_job_cost(toy):
    def cost(mode):
        assert run(toy, mode=mode).returncode == 0
        return json.loads((toy / "out/provenance.json").read_text())

    held = b"1" * 500_000_000  # what this process holds is not the job's
    small, large = cost("good"), cost("large")
    assert 10 < small["peak_memory_mb"] < 300 < len(held) / 1e6
    assert 190 < large["peak_memory_mb"] - small["peak_memory_mb"] < 210
    assert 0 < small["cpu_time_s"] < 60
    assert {name for name in small if small[name] != large[name]} <= {*COST, "outputs", "settings"}


def test_the_key_of_a_job_follows_settings_inputs_and_code(toy):
    def key(**keywords):
        assert run(toy, **keywords).returncode == 0
        return (toy / "out/second.txt").read_text()

    first = key()
    assert key() == first
    assert key(scale="3.0") != first
    (toy / "numbers.txt").write_text("22")
    second = key()
    assert second != first
    with (toy / "workflow_scripts" / "toy.py").open("a") as file:
        file.write("# a change\n")
    assert key() not in (first, second)


@pytest.mark.parametrize(
    ("keywords", "code", "sentence"),
    [
        ({"mode": "mistake"}, 1, "error: numbers.txt: a mistake of the user's"),
        ({"mode": "full"}, 1, "error: No space left on device: first.txt"),
        ({"numbers": "absent.txt"}, 1, "error: --numbers names absent.txt, but there is no such file"),
        ({"scale": "-1"}, 1, "error: scale: is -1, but should be greater than 0"),
        ({"scale": "much"}, 1, "error: scale: is 'much'"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_left(toy, keywords, code, sentence):
    done = run(toy, **keywords)
    assert done.returncode == code
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert not any((toy / "out").glob("*")) if (toy / "out").exists() else True


def test_a_bug_shows_its_traceback_and_leaves_nothing(toy):
    done = run(toy, mode="bug")
    assert done.returncode == 1
    assert "RuntimeError: a bug of ours" in done.stderr
    assert not list((toy / "out").iterdir())


def test_a_terminated_stage_leaves_nothing(toy):
    process = subprocess.Popen(command(mode="wait"), cwd=toy, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert not list((toy / "out").iterdir())


def test_help_explains_every_flag(toy):
    words = [sys.executable, "-m", "workflow_scripts.toy", "--help"]
    done = subprocess.run(words, cwd=toy, capture_output=True, text=True, check=True)
    for text in ("A toy stage.", "--scale", "A factor of 100 %.", "--numbers", "--provenance"):
        assert text in done.stdout

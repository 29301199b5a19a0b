"""A stage script's command line: complete outputs or none, one sentence for a mistake, provenance."""

import json
import subprocess
import sys

import pytest

from tests.workflow.toy_stage import command, run
from workflow_scripts.workflow.provenance import COST


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
    assert {name for name in small if small[name] != large[name]} <= {*COST, "seal", "outputs", "settings"}


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

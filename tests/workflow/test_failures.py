"""An interrupted stage leaves complete files or none and a message of one sentence, and the next run succeeds."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.workflow.mounts import enlarge, small_disk
from tests.workflow.toy_stage import command, run
from workflow_scripts.workflow.failures import hidden_errors

NAMES = ["first.txt", "provenance.json", "second.txt"]
# Sends the process a signal just before its n-th call of what makes files last or gives them their names.
KILLER = """
import os
left = int(os.environ.get("KILL_BEFORE", "0"))
def counted(function):
    def call(*words, **keywords):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        return function(*words, **keywords)
    return call
os.replace, os.fsync = counted(os.replace), counted(os.fsync)
"""


def visible(folder):
    """Names of the files that are not hidden."""
    return sorted(path.name for path in folder.glob("[!.]*"))


def held(toy, *before):
    """The toy stage at work, until it is sent a line."""
    line = [*before, *command(mode="slow")]
    process = subprocess.Popen(line, cwd=toy, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    return process


def run_killed(toy, number, step):
    """The toy stage, which gets the signal before a step of its end."""
    environment = os.environ | {"PYTHONPATH": str(toy), "KILL_BEFORE": str(step), "SIGNAL": str(int(number))}
    return subprocess.run(command(), cwd=toy, env=environment, capture_output=True, text=True, timeout=60)


def test_kill_9_between_any_two_steps_of_the_end_leaves_whole_files(toy):
    (toy / "sitecustomize.py").write_text(KILLER)
    assert run(toy).returncode == 0
    whole = {name: (toy / "out" / name).read_bytes() for name in NAMES[::2]}
    killed = 0
    while True:
        for name in visible(toy / "out"):
            (toy / "out" / name).unlink()
        done = run_killed(toy, signal.SIGKILL, killed + 1)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        for name in visible(toy / "out"):
            if name in whole:
                assert (toy / "out" / name).read_bytes() == whole[name]
            else:
                assert visible(toy / "out") == NAMES  # the provenance comes last
    # The last run came over what all the killed ones left.
    assert sorted(path.name for path in (toy / "out").iterdir()) == NAMES
    assert {name: (toy / "out" / name).read_bytes() for name in whole} == whole
    assert killed >= 8
    assert not list((toy / ".checkpoints").iterdir())


def test_a_signal_between_any_two_steps_of_the_end_leaves_all_files_or_none(toy):
    (toy / "sitecustomize.py").write_text(KILLER)
    seen = []
    while (done := run_killed(toy, signal.SIGTERM, len(seen) + 1)).returncode == 143:
        seen.append(sorted(path.name for path in (toy / "out").iterdir()))
        for path in (toy / "out").iterdir():
            path.unlink()
    assert done.returncode == 0
    assert [] in seen
    assert NAMES in seen
    assert all(names in ([], NAMES) for names in seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_and_no_traceback(toy, number):
    process = subprocess.Popen(command(mode="wait"), cwd=toy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (128 + number, "")
    assert not list((toy / "out").iterdir())
    assert not list((toy / ".checkpoints").iterdir())


def test_a_signal_that_the_user_wants_ignored_is_ignored(toy):
    process = held(toy, "nohup")
    process.send_signal(signal.SIGHUP)
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert visible(toy / "out") == NAMES


def test_a_full_disk_is_one_sentence_and_a_rerun_with_room_succeeds(toy):
    with small_disk(toy / "out", 1_000_000):
        (toy / "out" / "earlier.txt").write_text("kept")
        done = run(toy, mode="big")
        assert done.returncode == 1
        assert done.stderr.startswith("error: No space left on device: out; make room and run again")
        assert done.stderr.count("\n") == 1
        assert [path.name for path in (toy / "out").iterdir()] == ["earlier.txt"]
        enlarge(toy / "out", 8_000_000)
        assert run(toy, mode="big").returncode == 0
        assert visible(toy / "out") == ["earlier.txt", *NAMES]
        assert (toy / "out" / "earlier.txt").read_text() == "kept"


def test_where_the_log_has_no_room_the_sentence_goes_to_stdout(toy):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(mode="mistake"), cwd=toy, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60
        )
    assert done.returncode != 0
    assert done.stdout == "error: numbers.txt: a mistake of the user's\n"


@pytest.mark.parametrize(("mode", "what"), [("memory", "Unable to allocate 9 PiB"), ("torch", "DefaultCPUAllocator")])
def test_too_little_memory_is_one_sentence(toy, mode, what):
    done = run(toy, mode=mode)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: out of memory ({what}")
    assert "lower batch_size" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((toy / "out").iterdir())


def test_two_processes_that_write_the_same_files_take_turns(toy):
    first = held(toy)
    second = subprocess.Popen(command(), cwd=toy, stderr=subprocess.PIPE, text=True)
    assert second.stderr.readline() == "waiting: another process still writes out/provenance.json\n"
    first.communicate("\n", timeout=60)
    _, more = second.communicate(timeout=60)
    assert (first.returncode, second.returncode, more) == (0, 0, "")
    assert json.loads((toy / "out/provenance.json").read_text())["settings"]["mode"] == "good"
    assert not list((toy / ".checkpoints").iterdir())


def test_the_lock_of_a_killed_process_keeps_nobody_out(toy):
    first = subprocess.Popen(command(mode="wait"), cwd=toy, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "waiting\n"
    first.kill()
    first.wait()
    done = run(toy)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list((toy / ".checkpoints").iterdir())


def test_an_input_that_is_not_what_its_job_wrote_is_refused(toy):
    assert run(toy).returncode == 0
    (toy / "out/first.txt").write_text("43.0")
    done = run(toy, numbers="out/first.txt")
    assert done.returncode == 1
    assert done.stderr.startswith("error: out/first.txt is not what its job wrote")
    assert "--forcerun out/first.txt" in done.stderr
    (toy / "out/first.txt").write_text("42.0")
    assert run(toy, numbers="out/first.txt").returncode == 0


def test_what_hidden_errors_is_said_again_once(tmp_path):
    log = tmp_path / "snakemake.log"
    log.write_text("error: a\nCommand: error: of nothing\n" + "error: b\n" * 2 + "more\n" * 15 + "error: c\nend\n")
    assert hidden_errors(log) == ["error: a", "error: b"]
    log.write_text("error: a\nend\n")
    assert hidden_errors(log) == []
    assert hidden_errors(tmp_path / "absent.log") == []

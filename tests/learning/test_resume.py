"""A training that is killed and run again ends where the uninterrupted one ends, bit by bit (CPU)."""

import multiprocessing
import signal
from pathlib import Path

import pytest

from tests.learning import tiny_training

RESULTS = ("best.safetensors", "last.safetensors", "kept.safetensors", "history.json")
# Every run is a process of its own, forked from a server that has imported torch and done nothing else
# (torch.optim imports torch._dynamo at its first use, which takes most of a second)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.learning.tiny_training", "torch._dynamo"])


def run_tiny(folder: Path, *arguments: object) -> int:
    """Run the training with its files in `folder`; the exit code, negative for a signal."""
    line = [folder / "results", "--checkpoints", folder / "checkpoints", *arguments]
    process = PROCESSES.Process(target=tiny_training.main, args=([str(part) for part in line],))
    process.start()
    process.join()
    return process.exitcode


def results(folder: Path) -> dict[str, bytes]:
    assert not (folder / "checkpoints").exists()
    return {name: (folder / "results" / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run_tiny(folder) == 0
    return results(folder)


# 15 steps, 5 an epoch; the weights of epoch 2 are kept
@pytest.mark.parametrize(
    ("interval_s", "kills"),
    [
        (0, [["--kill-at-batch", 3]]),
        (0, [["--kill-at-batch", batches] for batches in (2, 4, 1, 6)]),  # each run gets a little further
        (0, [["--kill-in-save-of-step", 12], ["--kill-in-save-of-step", 15]]),  # half of the file is written
        (3600, [["--kill-at-batch", 13]]),  # saved at the ends of epochs alone: 3 steps are trained again
        (3600, [["--kill-at-batch", 4]]),  # killed before there is a checkpoint
    ],
)
def test_kill_9_and_rerun_is_bit_equal(
    tmp_path: Path, uninterrupted: dict[str, bytes], interval_s: float, kills: list[list]
) -> None:
    for kill in kills:
        assert run_tiny(tmp_path, "--interval-s", interval_s, *kill) == -signal.SIGKILL
        assert not (tmp_path / "results").exists()
    assert run_tiny(tmp_path, "--interval-s", interval_s) == 0
    assert results(tmp_path) == uninterrupted

"""Leases, with GPUs that exist only in a list."""

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from workflow_scripts.learning import devices
from workflow_scripts.learning.devices import Gpu, host_work, lease, leased_device, visible_gpus
from workflow_scripts.workflow.errors import InputError

ROOT = Path(__file__).parents[2]

HOLD_ONE = """
import sys
from workflow_scripts.learning import devices
devices.visible_gpus = lambda: [devices.Gpu("0", "uuid-a")]
with devices.lease(1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # restored after the test, which the lease does not do
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # holds the folder of the locks
    monkeypatch.setattr(devices, "_POLL_S", 0.01)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: [Gpu("0", "uuid-a"), Gpu("1", "uuid-b")])


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: pytest.fail("looked for GPUs"))


def test_no_gpu_asked_for_is_the_cpu(no_search: None) -> None:
    with leased_device(0) as device:
        assert device == torch.device("cpu")


def test_a_gpu_where_there_is_none_is_one_sentence() -> None:
    sentence = r"compute.gpus: is 1, but this process sees 0 .*set compute.gpus to the number of GPUs"
    with pytest.raises(InputError, match=sentence), leased_device(1):
        pass


def test_each_lease_is_another_gpu_and_is_freed(two_gpus: None) -> None:
    with leased_device(1) as device:
        assert device == torch.device("cuda", 0)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        with leased_device(1):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    with lease(2) as locks:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert len(locks) == 2


def test_too_few_free_holds_none(two_gpus: None, capsys: pytest.CaptureFixture) -> None:
    """Two jobs that want both GPUs never hold one each: while the second waits, a third gets the free one."""
    got_both = threading.Event()

    def want_both() -> None:
        with lease(2):
            got_both.set()

    with lease(1):
        waiting = threading.Thread(target=want_both)
        waiting.start()
        while "waiting for 2 of 2 GPUs" not in capsys.readouterr().err:
            assert waiting.is_alive()
        assert not (devices.lock_folder() / "uuid-b.0.lock").exists()  # not even tried: one is too few
        with lease(1):
            assert not got_both.is_set()
    waiting.join()
    assert got_both.is_set()


def test_processes_take_turns_and_a_killed_one_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: [Gpu("0", "uuid-a")])
    command = [sys.executable, "-c", HOLD_ONE]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        order = []

        def wait_for_it() -> None:
            with lease(1):
                order.append("leased")

        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        waiting.join(0.2)
        order.append("killed")
        holder.kill()
        waiting.join()
    assert order == ["killed", "leased"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["0", "1"]),
        ("3, GPU-5a", ["3", "GPU-5a"]),
        ("3,5,99", ["3", "5"]),  # CUDA saw two
    ],
)
def test_the_choice_of_a_scheduler_is_kept(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: list[str]
) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="uuid-a uuid-b\n")
    monkeypatch.setattr(devices.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert [gpu.name for gpu in visible_gpus()] == expected
    assert [gpu.uuid for gpu in visible_gpus()] == ["uuid-a", "uuid-b"]


def test_looking_for_gpus_does_not_start_cuda() -> None:
    # CUDA_VISIBLE_DEVICES is empty here: nothing is seen, on a machine with GPUs too
    assert visible_gpus() == []
    assert not torch.cuda.is_initialized()


def test_cuda_that_has_started_is_too_late(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="before CUDA is initialised"), lease(1):
        pass


def test_a_process_of_torchrun_takes_the_gpu_of_its_local_rank(
    monkeypatch: pytest.MonkeyPatch, no_search: None
) -> None:
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with leased_device(2) as device:
        assert device == torch.device("cuda", 1)
    assert chosen == [device]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="process 3 of this machine finds 2 GPUs"), leased_device(3):
        pass


def test_jobs_share_a_gpu_where_they_may(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    """They spread over the GPUs first; a job that wants two gets two different ones."""
    monkeypatch.setenv(devices.JOBS_PER_GPU, "2")
    visible = []
    with ExitStack() as leases:
        for _ in range(3):
            leases.enter_context(lease(1))
            visible.append(os.environ["CUDA_VISIBLE_DEVICES"])
        assert visible == ["0", "1", "0"]
        assert not devices._try_lease(devices.visible_gpus(), 2, leases)
    with lease(2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        with lease(2):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_work_on_the_cpu_lends_the_gpu_to_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: [Gpu("0", "uuid-a")])

    def is_free() -> bool:
        with ExitStack() as attempt:
            return bool(devices._try_lease(devices.visible_gpus(), 1, attempt))

    with host_work():  # without a lease there is nothing to lend
        assert is_free()
    with lease(1):
        assert not is_free()
        with host_work():
            assert is_free()
        assert not is_free()
        with pytest.raises(ZeroDivisionError), host_work():
            _ = 1 / 0
        assert not is_free()
    assert is_free()


def test_cuda_that_does_not_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(devices, "_LIST_UUIDS", "raise RuntimeError('the driver is too old')")
    with pytest.raises(InputError, match="cannot list the GPUs of this machine"):
        visible_gpus()
    assert "the driver is too old" in capfd.readouterr().err

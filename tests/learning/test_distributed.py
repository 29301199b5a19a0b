"""Two gloo processes train as one does; the relaunch under torchrun."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.learning.tiny_training import save_tiny, train_tiny
from workflow_scripts.learning import devices, distributed
from workflow_scripts.workflow.errors import InputError

ROOT = Path(__file__).parents[2]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Through the relaunch: the command line of one process becomes torchrun, which keeps the lease."""
    command = [sys.executable, "-m", "tests.learning.tiny_training", f"{tmp_path}/two", "--dropout", "0"]
    command += ["--checkpoints", f"{tmp_path}/checkpoints", "--two-processes", f"{tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    # The two may write at the same moment
    assert sorted(re.findall(r"process \d of 2", ran.stdout)) == ["process 0 of 2", "process 1 of 2"]
    assert ran.stderr.count("training: ") == 1  # one process shows the progress
    save_tiny(train_tiny(tmp_path / "one's", dropout=0.0), tmp_path / "one")
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")]
    for alone, shared in zip(*histories, strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
    alone, shared = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-4, atol=1e-5)


def test_alone_without_torchrun() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    batch = (torch.arange(6).view(3, 2),)
    assert distributed.rows_of_this_process(batch) is batch
    with distributed.process_group(torch.device("cpu")):
        assert not torch.distributed.is_initialized()
    assert distributed.mean_over_processes(torch.tensor(3.0)) == 3


def test_processes_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    batch = (torch.arange(12).view(6, 2), torch.arange(6))
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        assert distributed.is_main() == (rank == 0)
        shares.append(distributed.rows_of_this_process(batch))
    for whole, parts in zip(batch, zip(*shares, strict=True), strict=True):
        assert torch.equal(torch.cat(parts), whole)


def test_a_batch_that_the_processes_do_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(
        InputError, match="batch_size is 8, which cannot be divided among 3 processes; choose a multiple of 3"
    ):
        train_tiny(tmp_path)


def test_one_gpu_or_torchrun_already_there_needs_no_relaunch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("relaunched"))
    for gpus in (0, 1):
        distributed.relaunch_under_torchrun(gpus)
    monkeypatch.setenv("WORLD_SIZE", "2")
    distributed.relaunch_under_torchrun(2)


@pytest.mark.parametrize(
    ("spec", "program"),
    [(SimpleNamespace(name="package.script"), ["-m", "package.script"]), (None, ["/a/script.py"])],
)
def test_the_relaunch_keeps_the_arguments_and_the_lease(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: object, program: list[str]
) -> None:
    replaced = {}

    def execv(path: str, arguments: list[str]) -> None:
        replaced["arguments"] = arguments
        replaced["visible"] = os.environ["CUDA_VISIBLE_DEVICES"]
        descriptors = list(Path("/dev/fd").iterdir())
        locks = [path for path in descriptors if path.exists() and path.resolve().suffix == ".lock"]
        replaced["inherited"] = [os.get_inheritable(int(path.name)) for path in locks]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", ["/a/script.py", "--epochs", "3"])
    monkeypatch.setattr(devices, "visible_gpus", lambda: [devices.Gpu("2", "uuid-a"), devices.Gpu("3", "uuid-b")])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    distributed.relaunch_under_torchrun(2)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert replaced["arguments"] == [*torchrun, *program, "--epochs", "3"]
    assert replaced["visible"] == "2,3"
    assert replaced["inherited"] == [True, True]

"""Two gloo processes train both arms of every method at `smoke`: what a machine with two GPUs would do."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.gpu_first_run import plan
from workflow_scripts.workflow.closure import ROOT

LIMIT_S = 300


def start(folder: Path, commands: list[str], name: str, **environment: str) -> subprocess.Popen:
    """A process that runs the commands in the folder; its errors are in a file of this name."""
    file = folder / f"{name}.txt"
    file.write_text("\n".join(commands), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.learning.run_commands", str(file)],
        cwd=folder,
        env=os.environ | environment,
        stderr=(folder / f"{name}.log").open("w", encoding="utf-8"),
    )


def free_port() -> int:
    """The first of several ports that are free, as far as one can know."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1] % 30000 + 20000


def test_both_arms_of_every_method(tmp_path: Path) -> None:
    for name in ("workflow_scripts", "tests", "benchmarks", "config.yaml", "scales", "rules", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    commands = {"synthesize": [], "pretrain": []}
    for job in plan("smoke", gpus=0):
        stage = job.rule.rpartition("_")[2]
        # The published arm of matching pretrains on the test patterns too
        needed = "--split train" in job.command or job.rule == "matching_synthesize"
        if stage == "pretrain" or (stage == "synthesize" and needed):
            # Two particles make a batch that two processes can share
            more = " --batch-size 12" if job.rule == "alignment_pretrain" else ""
            commands[stage].append(re.sub(r" 2> .*", "", job.command) + more)
        for file in job.outputs:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    assert [len(lines) for lines in commands.values()] == [6, 10]

    assert start(tmp_path, commands["synthesize"], "synthesize").wait(LIMIT_S) == 0
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    processes = [
        start(tmp_path, commands["pretrain"], f"process{rank}", RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank in range(2)
    ]
    try:
        codes = [process.wait(LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], (tmp_path / "process0.log").read_text()[-3000:]
    weights = list(tmp_path.glob("results/smoke/*/pretrain/*/seed0/weights.safetensors"))
    assert len(weights) == 10
    for path in weights:
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values())

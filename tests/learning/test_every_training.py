"""Both arms of every method at `smoke`: trained by two gloo processes, and in bfloat16."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.gpu_first_run import plan
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.dry_run import stage_words

LIMIT_S = 300


class Study:
    """A folder with the files of all methods, and the commands of their ten pretrainings and ten finetunings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("workflow_scripts", "tests", "benchmarks", "config.yaml", "scales", "rules", "envs"):
            (folder / name).symlink_to(ROOT / name)
        synthesize, self.pretrain, self.finetune = [], [], []
        for job in plan("smoke", gpus=0):
            words = stage_words(job.command)
            # Two particles make a batch that two processes can share
            batch = ["--batch-size", "12"] if job.rule.startswith("alignment") else []
            if job.rule.endswith("_synthesize"):
                synthesize.append(words)
            elif job.rule.endswith("_pretrain"):
                self.pretrain.append([*words, *batch])
            elif job.rule.endswith("_finetune"):
                self.finetune.append([*words, *batch])
        assert (len(synthesize), len(self.pretrain), len(self.finetune)) == (10, 10, 10)
        assert self.start("synthesize", synthesize).wait(LIMIT_S) == 0

    def start(self, name: str, commands: list[list[str]], **environment: str) -> subprocess.Popen:
        """A process that runs the commands, a module and its arguments each; its errors are in <name>.log."""
        for file in (word for words in commands for word in words if word.startswith("results/")):
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(commands), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, "-m", "tests.learning.run_commands", str(file)],
            cwd=self.folder,
            env=os.environ | environment,
            stderr=(self.folder / f"{name}.log").open("w", encoding="utf-8"),
        )


def pretraining_in(stage: str, commands: list[list[str]], *more: str) -> list[list[str]]:
    """The commands with another name of the stage `pretrain` in their paths, and further arguments."""
    return [[word.replace("/pretrain/", f"/{stage}/") for word in words] + list(more) for words in commands]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


def test_two_processes(study: Study) -> None:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1] % 30000 + 20000  # each command takes the next one
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    commands = pretraining_in("two_processes", study.pretrain + study.finetune)
    processes = [
        study.start(f"rank{rank}", commands, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in (0, 1)
    ]
    try:
        codes = [process.wait(LIMIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], (study.folder / "rank0.log").read_text()[-3000:]
    weights = list(study.folder.glob("results/smoke/*/*/*/seed0/weights.safetensors"))
    assert len(weights) == 20
    for path in weights:
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values())


def test_validation_in_bfloat16_is_that_in_float32(study: Study) -> None:
    """Within 1 %, on equal weights, which so small a learning rate leaves where they started."""
    commands = []
    for precision in ("float32", "bfloat16"):
        commands += pretraining_in(precision, study.pretrain, "--precision", precision, "--learning-rate", "1e-12")
    assert study.start("precision", commands).wait(LIMIT_S) == 0
    histories = sorted(study.folder.glob("results/smoke/*/float32/*/seed0/history.csv"))
    assert len(histories) == 10
    for path in histories:
        rounded = Path(str(path).replace("float32", "bfloat16"))
        losses = [pd.read_csv(file)["validation_loss"].tolist() for file in (path, rounded)]
        assert losses[1] == pytest.approx(losses[0], rel=0.01), path

"""A training of a second, as a command line that can kill itself at a chosen step.

The task has fresh noise and the network dropout: whatever a resume does not replay shows in the weights.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
from pathlib import Path

import torch
from torch import nn

from workflow_scripts.learning import devices, distributed, weights
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.learning.training import Batch, Trained, train
from workflow_scripts.workflow.files import partial_name

N_SAMPLES, BATCH_SIZE, EPOCHS = 42, 8, 3  # 5 whole batches an epoch, 2 samples left over
N_STEPS = EPOCHS * (N_SAMPLES // BATCH_SIZE)


def tiny_settings(**changes) -> TrainingSettings:
    values = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": 0.02}
    return TrainingSettings(**values | DEFAULTS | changes)


DEFAULTS = {
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "momentum": 0.0,
    "schedule": "cosine",
    "warmup_fraction": 0.2,
    "gradient_clip_norm": 0.0,
    "checkpoint_interval_s": 0.0,
}


class TinyModel(nn.Module):
    """A network with a layer that no loss reaches."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def tiny_model(dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(7)
    return TinyModel(dropout)


class TinyTask:
    """The sum of three numbers behind fresh noise, by a loss that calls the network twice.

    May kill the process as it asks for a batch.
    """

    def __init__(self, kill_at_batch: int | None = None) -> None:
        self.samples = torch.randn(N_SAMPLES, 3, generator=torch.Generator().manual_seed(1))
        self.n_samples = N_SAMPLES
        self.batches_to_kill = kill_at_batch

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Batch:
        if self.batches_to_kill is not None:
            if self.batches_to_kill == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.batches_to_kill -= 1
        samples = self.samples[indices]  # (B, 3)
        noise = 0.1 * torch.randn(samples.shape, generator=generator)
        return samples + noise, samples.sum(1, keepdim=True)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        inputs, targets = batch  # (B, 3), (B, 1)
        assert len(inputs) == BATCH_SIZE // distributed.world_size()
        return (model(inputs) - targets).square().mean() + (model(-inputs) + targets).square().mean()

    def validate(self, model: nn.Module) -> float:
        return (model(self.samples) - self.samples.sum(1, keepdim=True)).square().mean().item()


def train_tiny(folder: Path, *, task=None, dropout: float = 0.2, keep_epoch: int | None = 2, **changes) -> Trained:
    return train(
        tiny_model(dropout),
        task or TinyTask(),
        tiny_settings(**changes),
        seed=5,
        device=torch.device("cpu"),
        precision="float32",
        checkpoint_folder=folder,
        keep_epoch=keep_epoch,
    )


def save_tiny(trained: Trained, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("best", "last", "kept"):
        weights.save_weights(getattr(trained, name), folder / f"{name}.safetensors", {})
    (folder / "history.json").write_text(json.dumps(trained.history))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--interval-s", type=float, default=0)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--two-processes", type=Path, help="lock folder of two GPUs that do not exist")
    parser.add_argument("--kill-at-batch", type=int)
    parser.add_argument("--kill-in-save-of-step", type=int)
    args = parser.parse_args(arguments)
    if args.two_processes is not None:
        devices.visible_gpus = lambda: [devices.Gpu("0", "uuid-a"), devices.Gpu("1", "uuid-b")]
        devices.lock_folder = lambda: args.two_processes
        distributed.relaunch_under_torchrun(2)
        print(f"process {distributed.rank()} of {distributed.world_size()}")
        for lock in args.two_processes.glob("*.lock"):
            with lock.open("ab") as file, contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise AssertionError("the launcher has dropped its lease")
    if args.kill_in_save_of_step is not None:
        _kill_in_save(args.kill_in_save_of_step)
    with devices.leased_device(0) as device, distributed.process_group(device):
        trained = train_tiny(
            args.checkpoints,
            task=TinyTask(args.kill_at_batch),
            dropout=args.dropout,
            checkpoint_interval_s=args.interval_s,
        )
        if distributed.is_main():
            save_tiny(trained, args.results)
            shutil.rmtree(args.checkpoints)


def _kill_in_save(step: int) -> None:
    """Die with half of the checkpoint of `step` written."""

    def write_half(path: Path, content: bytes) -> None:
        if path.name.startswith(f"step{step}-"):
            partial_name(path).write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, content)

    write, weights.write_atomically = weights.write_atomically, write_half


if __name__ == "__main__":
    main()

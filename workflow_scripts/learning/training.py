"""The training loop, the same for every method and stage.

A method defines its batches, loss and validation in a `Task`. All random numbers come from generators seeded by (seed,
purpose, step), so that a training that is resumed, or runs in several processes, draws the same numbers as an
uninterrupted one.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from workflow_scripts.learning import checkpoints, distributed
from workflow_scripts.learning.checkpoints import Checkpoint
from workflow_scripts.learning.precision import MixedPrecision, Precision
from workflow_scripts.learning.seeds import derived_seed
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.learning.weights import on_cpu
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.progress import Progress

State = dict[str, torch.Tensor]
Batch = tuple[torch.Tensor, ...]

HISTORY = ("epoch", "step", "training_loss", "validation_loss", "learning_rate")  # columns of the history

_SHUFFLE, _BATCH, _DROPOUT, _VALIDATION = range(4)  # purposes of random numbers, part of their seeds


class Task(Protocol):
    """What a network is trained on: samples, loss and validation. Tensors are on the device of the training."""

    n_samples: int

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> Batch:
        """The samples `indices` (B,) int64, with fresh noise and augmentation drawn from `generator` alone.

        Returns tensors with B rows along the first axis, which are divided among the processes. Indices and generator
        are on the device.
        """

    def loss(self, model: MixedPrecision, batch: Batch) -> torch.Tensor:
        """The loss, a scalar. It must be a mean over rows, so that its mean over processes is the loss of the batch.

        Outputs of `model` are float32, and the network itself is `model.module`. A loss over some of the rows only
        needs weights of the rows as a further tensor of the batch.
        """

    def validate(self, model: MixedPrecision) -> float:
        """The validation loss; the smallest selects `best`. Called in evaluation mode, without gradients."""


@dataclass(frozen=True)
class Trained:
    """Result of a training: weights as state dicts on the CPU, and the history.

    best: weights of the epoch with the smallest validation loss (the first of equal ones).
    last: weights of the last epoch.
    kept: weights of the epoch `keep_epoch`, or None.
    history: one row per epoch: epoch (from 1), step, training_loss (mean over the steps of the epoch), validation_loss,
        learning_rate (of its last step).
    """

    best: State
    last: State
    kept: State | None
    history: list[dict[str, float]]


def train(
    model: torch.nn.Module,
    task: Task,
    settings: TrainingSettings,
    *,
    seed: int,
    device: torch.device,
    precision: Precision,
    checkpoint_folder: Path,
    keep_epoch: int | None = None,
    label: str = "training",
) -> Trained:
    """Train `model` in place, resuming from the newest checkpoint in `checkpoint_folder` if there is one.

    In an epoch the samples are shuffled and divided into batches; samples that do not fill a batch are left out.

    Args:
        keep_epoch: the epoch (from 1) whose weights are returned as `kept`.
        label: of the progress bar.

    Raises:
        InputError: batch_size is too large, or no multiple of the number of processes, or a loss is not finite.
    """
    _check(task, settings, keep_epoch)
    steps_per_epoch = task.n_samples // settings.batch_size
    n_steps = settings.epochs * steps_per_epoch

    model.to(device)
    optimizer = make_optimizer(model, settings)
    step, loss_sum, history = 0, torch.zeros((), dtype=torch.float64, device=device), []
    best: State = {}
    kept: State = {}

    run = _describe(model, task, settings, seed, keep_epoch)
    if checkpoint := checkpoints.load_newest(checkpoint_folder, run):
        step, history = checkpoint.step, checkpoint.facts["history"]
        loss_sum.fill_(checkpoint.facts["loss_sum"])
        parts = _split(checkpoint.tensors)
        model.load_state_dict(parts["model"])
        _load_optimizer_state(optimizer, parts.get("optimizer", {}))
        best, kept = parts.get("best", {}), parts.get("kept", {})

    def save_checkpoint() -> None:
        if distributed.is_main():
            tensors = {"model": on_cpu(model.state_dict()), "optimizer": _optimizer_state(optimizer)}
            facts = {"loss_sum": loss_sum.item(), "history": history}
            flat = _join({**tensors, "best": best, "kept": kept})
            checkpoints.save(checkpoint_folder, Checkpoint(step, run, flat, facts))

    network = MixedPrecision(model, device, precision)
    generator = torch.Generator(device)
    saved_at = time.monotonic()

    with Progress(n_steps, label, done=step, silent=not distributed.is_main()) as progress:
        for epoch in range(step // steps_per_epoch, settings.epochs):
            network.train()
            order = shuffle(task.n_samples, seed, epoch).to(device)[: steps_per_epoch * settings.batch_size]
            batches = order.view(steps_per_epoch, settings.batch_size)  # indices of the samples
            for indices in batches[step % steps_per_epoch :]:
                learning_rate = learning_rate_at(step, n_steps, settings)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate

                generator.manual_seed(derived_seed(seed, _BATCH, step))
                torch.manual_seed(derived_seed(seed, _DROPOUT, step, distributed.rank()))
                batch = task.batch(indices, generator)
                loss = task.loss(network, distributed.rows_of_this_process(batch))
                optimizer.zero_grad()
                loss.backward()
                distributed.average_gradients(model)
                if settings.gradient_clip_norm > 0:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip_norm)
                optimizer.step()

                step += 1
                loss_sum += distributed.mean_over_processes(loss.detach())
                progress.advance()
                # At the end of an epoch the checkpoint is written below, after the validation
                if step % steps_per_epoch and time.monotonic() - saved_at >= settings.checkpoint_interval_s:
                    _check_finite(loss_sum.item(), "training", epoch + 1, settings)
                    save_checkpoint()
                    saved_at = time.monotonic()

            training_loss = loss_sum.item() / steps_per_epoch
            _check_finite(training_loss, "training", epoch + 1, settings)
            validation_loss = _validate(network, task, seed, step)
            _check_finite(validation_loss, "validation", epoch + 1, settings)
            if all(validation_loss < row["validation_loss"] for row in history):
                best = on_cpu(model.state_dict())
            if epoch + 1 == keep_epoch:
                kept = on_cpu(model.state_dict())
            row = (epoch + 1, step, training_loss, validation_loss, learning_rate)
            history.append(dict(zip(HISTORY, row, strict=True)))
            progress.advance(0, note=f"validation {validation_loss:.4g}")
            loss_sum.zero_()
            save_checkpoint()
            saved_at = time.monotonic()

    return Trained(best, on_cpu(model.state_dict()), kept or None, history)


def learning_rate_at(step: int, n_steps: int, settings: TrainingSettings) -> float:
    """The learning rate of step 0 to `n_steps` - 1: a linear warm-up, then constant or half a cosine to 0.

    The cosine is eq. 5 of Loshchilov & Hutter (doi:10.48550/arXiv.1608.03983) without restarts.
    """
    warmup = round(settings.warmup_fraction * n_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (n_steps - warmup)))


def shuffle(n_samples: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the samples in an epoch (counted from 0): (n_samples,) int64, the same on every device."""
    generator = torch.Generator().manual_seed(derived_seed(seed, _SHUFFLE, epoch))
    return torch.randperm(n_samples, generator=generator)


def make_optimizer(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of the settings over all parameters that are trained."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    return torch.optim.AdamW(parameters, **common)


def _validate(network: MixedPrecision, task: Task, seed: int, step: int) -> float:
    distributed.share_buffers(network)
    torch.manual_seed(derived_seed(seed, _VALIDATION, step))
    network.eval()
    with torch.no_grad():
        return float(task.validate(network))


def _check(task: Task, settings: TrainingSettings, keep_epoch: int | None) -> None:
    if settings.batch_size > task.n_samples:
        raise InputError(
            f"batch_size is {settings.batch_size}, but there are {task.n_samples} training samples; "
            "lower batch_size or synthesize more samples"
        )
    if keep_epoch is not None and not 1 <= keep_epoch <= settings.epochs:
        raise InputError(
            f"the weights of epoch {keep_epoch} are needed, but epochs is {settings.epochs}; "
            f"choose an epoch from 1 to {settings.epochs}"
        )
    distributed.check_divides(settings.batch_size)


def _check_finite(loss: float, kind: str, epoch: int, settings: TrainingSettings) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"the {kind} loss became {loss} in epoch {epoch}; lower learning_rate "
            f"(now {settings.learning_rate}) or set gradient_clip_norm (now {settings.gradient_clip_norm})"
        )


def _describe(
    model: torch.nn.Module, task: Task, settings: TrainingSettings, seed: int, keep_epoch: int | None
) -> dict:
    """What identifies this training; the interval between checkpoints is left out, since it changes no result."""
    return {
        "settings": settings.model_dump(mode="json", exclude={"checkpoint_interval_s"}),
        "seed": seed,
        "n_samples": task.n_samples,
        "keep_epoch": keep_epoch,
        "shapes": {name: list(tensor.shape) for name, tensor in model.state_dict().items()},
    }


def _optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """The tensors of the optimizer's state; its other values follow from the settings."""
    state = _join({str(parameter): values for parameter, values in optimizer.state_dict()["state"].items()})
    # SGD without momentum has None as momentum buffer.
    return on_cpu({name: value for name, value in state.items() if value is not None})


def _load_optimizer_state(optimizer: torch.optim.Optimizer, tensors: State) -> None:
    state = {int(parameter): values for parameter, values in _split(tensors).items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _join(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One flat dictionary: `part.name` → value."""
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def _split(tensors: State) -> dict[str, State]:
    """The inverse of `_join`."""
    parts: dict[str, State] = {}
    for key, tensor in tensors.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = tensor
    return parts

"""Single measurements of `gpu_first_run`, each in a process of its own; the last line of output is JSON.

python -m benchmarks.gpu_steps versions
python -m benchmarks.gpu_steps networks --device cuda
python -m benchmarks.gpu_steps training --mode compiled --steps 30 --command "python -m … pretrain …"
"""

import argparse
import importlib.metadata
import json
import platform
import runpy
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.background.networks.model import MonaiUnet
from workflow_scripts.diffractive_imaging.networks.model import ResidualUnet
from workflow_scripts.learning import training
from workflow_scripts.learning.precision import MixedPrecision
from workflow_scripts.matching.networks.model import RecipeResNet
from workflow_scripts.potential.networks.model import make_network as make_potential_network
from workflow_scripts.potential.settings import NetworkSettings as PotentialNetwork
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.dry_run import stage_words
from workflow_scripts.workflow.reference import merged

PACKAGES = ("torch", "numpy", "scipy", "monai", "einops", "pydantic", "pandas", "h5py", "ase", "scikit-image")
WARM_UP = 5  # steps that are not timed
SYNCS_COUNTED = 3  # steps whose synchronisations are counted


def versions() -> dict:
    """Versions of what the study computes with, and the device."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = None
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "packages": installed,
        "cuda": torch.version.cuda,
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
    }


def swin_unetr() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """SwinUNETR as `potential` has it at `paper`, and a batch of two."""
    settings = PotentialNetwork(**merged("paper")["potential"]["pretrain"]["network"])
    return make_potential_network(settings, 11, 2, seed=0), (torch.rand(2, 11, 128, 128),)


def resnet50() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """ResNet-50 of `matching`, and a batch of four patterns."""
    return RecipeResNet(512), (torch.rand(4, 128, 128),)


def residual_unet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The U-net of `diffractive_imaging`, and a batch of four patterns."""
    return ResidualUnet(128, (16, 32, 64, 128, 256), 0.2), (torch.rand(4, 128, 128),)


def diffusion_unet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The published diffusion U-net of `background`, and a batch of one."""
    base = merged("paper")["background"]["pretrain"]["network"]["monai"]["base"]
    return MonaiUnet(3, base), (torch.rand(1, 3, 128, 128), torch.tensor([500.0]))


LARGE_NETWORKS = (swin_unetr, resnet50, residual_unet, diffusion_unet)


def large_networks(device: torch.device) -> dict:
    """Time, memory and parameters of one training step of each large network, after one that warms up."""
    return {make.__name__: _step(make, device) for make in LARGE_NETWORKS}


def _step(make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]], device: torch.device) -> dict | str:
    try:
        module, inputs = make()
        network = MixedPrecision(module.to(device), device, "bfloat16" if device.type == "cuda" else "float32")
        optimizer = torch.optim.AdamW(module.parameters())
        for _ in range(2):
            began = time.perf_counter()
            optimizer.zero_grad()
            network(*(x.to(device) for x in inputs)).square().mean().backward()
            optimizer.step()
            _wait(device)
        return {
            "step_ms": round(1000 * (time.perf_counter() - began), 2),
            "peak_memory_mib": _peak_mib(device),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
    except Exception as error:  # one network that fails hides no other
        return f"{type(error).__name__}: {error}"


class _EnoughSteps(BaseException):
    """Ends a training whose steps are timed."""


def training_steps(mode: str, steps: int, command: str) -> dict:
    """Median time of a step, peak memory and synchronisations of a training, which stops after the timed steps.

    Args:
        mode: `eager` as it is, with the `fused` optimizer, or with a `compiled` network.
        steps: that are timed.
        command: of a stage script; its outputs are not written.

    Raises:
        RuntimeError: the training ended before.
    """
    module, *rest = stage_words(command)
    times: list[float] = []
    after_validation: list[int] = []  # steps before which the network was validated
    syncs = _Syncs()

    class Timed(training.Progress):
        """Progress that measures, and ends the training."""

        def advance(self, steps_done: int = 1, note: str | None = None) -> None:
            super().advance(steps_done, note)
            if not steps_done:
                after_validation.append(len(times))
            else:
                syncs.count(len(times), steps)
                times.append(time.perf_counter())
                if len(times) > WARM_UP + steps + SYNCS_COUNTED:
                    raise _EnoughSteps

    training.Progress = Timed
    _prepare(mode)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        syncs.caught = caught
        sys.argv = [module, *_elsewhere(rest, Path(folder)), "--epochs", "100000"]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _EnoughSteps:
            pass
        else:
            raise RuntimeError("the training ended before its steps were timed")
    timed = [times[n] - times[n - 1] for n in range(WARM_UP + 1, WARM_UP + steps) if n not in after_validation]
    device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    return {
        "step_ms": round(1000 * statistics.median(timed), 3) if timed else None,
        "steps": len(timed),
        "peak_memory_mib": _peak_mib(device),
        "syncs_per_step": syncs.per_step,
    }


class _Syncs:
    """Counts the synchronisations of the last steps, of which CUDA warns on demand."""

    caught: list
    per_step: float | None = None

    def count(self, step: int, steps: int) -> None:
        if not torch.cuda.is_initialized():
            return
        if step == WARM_UP + steps:
            torch.cuda.synchronize()
            self.caught.clear()
            torch.cuda.set_sync_debug_mode("warn")
        if step == WARM_UP + steps + SYNCS_COUNTED:
            torch.cuda.set_sync_debug_mode("default")
            warned = [warning for warning in self.caught if "synchronizing" in str(warning.message)]
            self.per_step = len(warned) / SYNCS_COUNTED


def _prepare(mode: str) -> None:
    """Change the training loop of this process."""
    if mode == "fused":
        make = training.make_optimizer

        def fused(*arguments) -> torch.optim.Optimizer:
            optimizer = make(*arguments)
            for group in optimizer.param_groups:
                group["fused"] = True
            return optimizer

        training.make_optimizer = fused
    elif mode == "compiled":

        class Compiled(MixedPrecision):
            """A network that is compiled before its first step."""

            def __init__(self, module: nn.Module, *arguments) -> None:
                module.compile()
                super().__init__(module, *arguments)

        training.MixedPrecision = Compiled


def _elsewhere(words: list[str], folder: Path) -> list[str]:
    """The arguments with the outputs in a folder, without the number of epochs and without training files that are not
    made yet."""
    changed, names = [], iter(words)
    for word in names:
        if word in ("--weights", "--history", "--provenance", "--last"):
            changed += [word, str(folder / Path(next(names)).name)]
        elif word == "--epochs":
            next(names)
        elif not word.startswith("results/") or Path(word).exists():
            changed.append(word)
    return changed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _peak_mib(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() // 2**20
    torch.cuda.reset_peak_memory_stats()
    return peak


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_steps", description=__doc__)
    parser.add_argument("what", choices=("versions", "networks", "training"))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--mode", choices=("eager", "fused", "compiled"), default="eager")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--command", help="of a stage script, as Snakemake prints it")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if arguments.what == "versions":
        result = versions()
    elif arguments.what == "networks":
        result = large_networks(arguments.device)
    else:
        result = training_steps(arguments.mode, arguments.steps, arguments.command)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

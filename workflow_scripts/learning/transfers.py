"""Numbers that the CPU needs in a training step, and tensors that it sends to a GPU, without waiting for the GPU."""

import torch
from torch import Tensor

from workflow_scripts.learning.seeds import derived_seed


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device; from the CPU to a GPU it is copied from pinned memory, while the CPU goes on."""
    device = torch.device(device)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def host_generator(generator: torch.Generator) -> torch.Generator:
    """A generator on the CPU for numbers that Python reads: the generator itself, or one seeded by a GPU's state.

    That state is known without waiting. It changes with every draw on the GPU: a call after one gives other numbers.
    """
    if generator.device.type == "cpu":
        return generator
    return torch.Generator().manual_seed(derived_seed(*generator.get_state().tolist()))

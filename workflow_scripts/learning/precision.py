"""Number formats: the layers of a network in bfloat16 on a GPU, everything else in float32.

bfloat16 has about three significant digits, too few for losses, physics and metrics, such as a phase ramp, a rotation
or an angle in degrees. So only the forward pass of a network runs under autocast.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "float32", "bfloat16"]


class MixedPrecision(nn.Module):
    """Wrapper of a network that computes in a given precision and returns float32; `module` is the network itself.

    Args:
        module: the network; it returns a tensor, or tuples and lists of tensors.
        device: on which it runs.
        precision: `auto` is bfloat16 on a GPU that supports it, otherwise float32.
    """

    def __init__(self, module: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.module, self._device, self._precision = module, device, precision

    def forward(self, *inputs: Tensor) -> Tensor | tuple | list:
        """The outputs of the network in float32."""
        with autocast(self._device, self._precision):
            outputs = self.module(*inputs)
        return in_float32(outputs)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """The autocast context of a forward pass.

    Weights, gradients and the optimizer stay float32. bfloat16 has the range of float32, so losses need no scaling.
    """
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if native else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def in_float32(outputs: Tensor | tuple | list) -> Tensor | tuple | list:
    """Tensors, and tuples and lists of them, with bfloat16 numbers as float32."""
    if isinstance(outputs, tuple | list):
        return type(outputs)(in_float32(output) for output in outputs)
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs


def full_precision(device: torch.device) -> AbstractContextManager:
    """Context within a forward pass whose layers compute in float32; their inputs must be float32."""
    return torch.autocast(device.type, enabled=False)


def without_tf32() -> None:
    """Disable TF32 (10 bits of mantissa), which cuDNN would otherwise use for float32 convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

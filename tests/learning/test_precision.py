"""Number formats: nothing but the layers of a network computes in bfloat16."""

import pytest
import torch
from torch import nn

from workflow_scripts.learning.precision import MixedPrecision, full_precision, in_float32, without_tf32

CPU = torch.device("cpu")


class Layers(nn.Module):
    """A linear layer; keeps the type that its layer returned."""

    def __init__(self, full_head: bool = False) -> None:
        super().__init__()
        self.linear, self.full_head = nn.Linear(4, 3), full_head

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if self.full_head:
            with full_precision(x.device):
                output = self.linear(x)
        else:
            output = self.linear(x)
        self.dtype = output.dtype
        return output, [output.mean(dim=1)]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_layers_compute_in_the_precision_and_return_float32(precision: str, expected: torch.dtype) -> None:
    network = MixedPrecision(Layers(), CPU, precision)
    output, (mean,) = network(torch.ones(2, 4))
    assert network.module.dtype == expected
    assert output.dtype == mean.dtype == torch.float32


def test_a_block_of_full_precision_inside_a_network() -> None:
    network = MixedPrecision(Layers(full_head=True), CPU, "bfloat16")
    network(torch.ones(2, 4))
    assert network.module.dtype == torch.float32


def test_what_follows_the_network_is_float32() -> None:
    """A loss with a matrix product, which autocast would compute in bfloat16."""
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    network = MixedPrecision(Layers(), CPU, "bfloat16")
    output, _ = network(x)
    product = output @ output.T
    assert product.dtype == torch.float32
    torch.testing.assert_close(product, (output.double() @ output.double().T).float(), rtol=1e-5, atol=1e-5)


def test_gradients_and_weights_stay_float32() -> None:
    network = MixedPrecision(Layers(), CPU, "bfloat16")
    network(torch.ones(2, 4))[0].sum().backward()
    assert network.module.linear.weight.grad.dtype == network.module.linear.weight.dtype == torch.float32


def test_other_types_are_kept() -> None:
    outputs = (torch.ones(1, dtype=torch.int64), [torch.ones(1, dtype=torch.complex64)], torch.ones(1).bfloat16())
    numbers, (waves,), rounded = in_float32(outputs)
    assert (numbers.dtype, waves.dtype, rounded.dtype) == (torch.int64, torch.complex64, torch.float32)


def test_float32_is_not_tf32() -> None:
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = True
        without_tf32()
        assert [backend.allow_tf32 for backend in backends] == [False, False]
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed

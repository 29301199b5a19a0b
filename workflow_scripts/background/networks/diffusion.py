"""Denoising diffusion: the forward process that adds noise, and a sampler that removes it in few steps.

Ho et al., doi:10.48550/arXiv.2006.11239; DDIM: Song et al., doi:10.48550/arXiv.2010.02502; v: Salimans and Ho,
doi:10.48550/arXiv.2202.00512. MONAI's scheduler steps to the noise level of time t - T // n, which need not be the next
time in its own list, so the sampler is implemented here; a test compares single steps with MONAI's.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

TIMES = 1000
Network = Callable[[Tensor, Tensor], Tensor]  # x_t and times (B,) to the output
_BETA = 1e-4, 2e-2


@cache
def signal_shares(device: torch.device | str = "cpu") -> Tensor:
    """ᾱ_t, the share of the image in the variance of x_t, float64 (TIMES,): linear β from 1e-4 to 0.02 (eq. 4)."""
    return torch.cumprod(1 - torch.linspace(*_BETA, TIMES, dtype=torch.float64), dim=0).to(device)


def noised(image: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε, eq. 4 of Ho et al.: images (B, 1, H, W), times (B,) from 0 to TIMES - 1."""
    signal, sigma = _amplitudes(times, image)
    return signal * image + sigma * noise


def target(image: Tensor, noise: Tensor, times: Tensor, prediction_type: str) -> Tensor:
    """The training target of the network: the noise ε, or the velocity √ᾱ_t ε - √(1 - ᾱ_t) x_0."""
    if prediction_type == "noise":
        return noise
    signal, sigma = _amplitudes(times, image)
    return signal * noise - sigma * image


def ddim_step(
    x: Tensor, output: Tensor, share: float, next_share: float, prediction_type: str, eta: float, noise: Tensor | None
) -> Tensor:
    """From x_t to x_s, eq. 12 and 16 of Song et al.

    Args:
        x: x_t.
        output: of the network.
        share, next_share: ᾱ_t and ᾱ_s; 1 for the image itself.
        prediction_type: the quantity that the network predicts, `noise` or `velocity`.
        eta: 0 is deterministic (DDIM), 1 is ancestral sampling (DDPM).
        noise: white noise of unit variance; unused if eta is 0, and in the last step.
    """
    signal, sigma = share**0.5, (1 - share) ** 0.5
    if prediction_type == "noise":
        image, epsilon = (x - sigma * output) / signal, output
    else:
        image, epsilon = signal * x - sigma * output, sigma * x + signal * output
    std = eta * ((1 - next_share) / (1 - share) * (1 - share / next_share)) ** 0.5
    x = next_share**0.5 * image + max(0.0, 1 - next_share - std**2) ** 0.5 * epsilon
    return x + std * noise if std > 0 else x


def times_from_noise(steps: int) -> list[int]:
    """Decreasing times (steps,) of a sampler that starts from pure noise; its last step ends at the image.

    They divide TIMES evenly and begin with its last one, so that even a single step starts from pure noise.
    """
    return [round(TIMES * (steps - number) / steps) - 1 for number in range(steps)]


def times_of_the_recipe(steps: int) -> list[int]:
    """Decreasing multiples of TIMES // steps, as in the published sampler; the first is below pure noise."""
    return [number * (TIMES // steps) for number in reversed(range(steps))]


@torch.no_grad()
def sample(
    network: Network, x: Tensor, times: list[int], prediction_type: str, eta: float, generator: torch.Generator
) -> Tensor:
    """Images (B, 1, H, W) from white noise of the same shape.

    Args:
        network: predicts noise or velocity.
        x: white noise of unit variance.
        times: decreasing; the step after the last of them ends at the image.
        prediction_type, eta: as in `ddim_step`.
        generator: for the noise of every step, on the device of x; unused if eta is 0.
    """
    shares = signal_shares().tolist()
    next_shares = [*(shares[time] for time in times[1:]), 1.0]
    for time, next_share in zip(times, next_shares, strict=True):
        output = network(x, torch.full((len(x),), time, device=x.device))
        noise = torch.randn(x.shape, generator=generator, device=x.device) if eta > 0 and next_share < 1 else None
        x = ddim_step(x, output, shares[time], next_share, prediction_type, eta, noise)
    return x


def _amplitudes(times: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    share = signal_shares(times.device)[times].view(-1, 1, 1, 1)
    return share.sqrt().to(image.dtype), (1 - share).sqrt().to(image.dtype)

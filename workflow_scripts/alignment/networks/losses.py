"""Losses of relative angles: cross-entropy over all angles, and the losses of the published recipe.

The tasks of networks/tasks.py add them up.
"""

import torch
from torch import Tensor
from torch.nn import functional

PERIOD_DEG = 180.0
_WIDTH_DEG = 1.0  # of the target's peak


def correlation_loss(curves: Tensor, angle_deg: Tensor) -> Tensor:
    """Cross-entropy between logits over the angle and a narrow peak at the true angle; circular by construction.

    Args:
        curves: (..., A), logits over [0, 180).
        angle_deg: (...), true relative angle mod 180.

    Returns:
        (...), one loss for each curve.
    """
    samples = curves.shape[-1]
    sampled_deg = torch.arange(samples, device=curves.device) * (PERIOD_DEG / samples)
    distance = circular_error_deg(sampled_deg, angle_deg[..., None])
    target = torch.softmax(-0.5 * (distance / _WIDTH_DEG).square(), dim=-1)
    return -(target * functional.log_softmax(curves, dim=-1)).sum(dim=-1)


def circular_error_deg(estimate_deg: Tensor, true_deg: Tensor) -> Tensor:
    """|estimate − true| mod 180, in [0, 90]."""
    difference = torch.remainder(estimate_deg - true_deg + PERIOD_DEG / 2, PERIOD_DEG) - PERIOD_DEG / 2
    return difference.abs()


def error_near_wraps_deg(estimate_deg: Tensor, true_deg: Tensor) -> Tensor:
    """The recipe's error: the smallest of |r − t| and |r − (t ± 180)|, not circular where |r − t| exceeds 270."""
    shifted = [estimate_deg - true_deg - step for step in (0.0, PERIOD_DEG, -PERIOD_DEG)]
    return torch.stack(shifted).abs().amin(dim=0)


def outside_deg(estimate_deg: Tensor) -> Tensor:
    """The recipe's ranking losses: the distance of an output from the interval 0 to 360."""
    return functional.relu(-estimate_deg) + functional.relu(estimate_deg - 2 * PERIOD_DEG)

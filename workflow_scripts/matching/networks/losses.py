"""What a pair of patterns costs: contrast against the others of the batch, over the in-plane angle or without one."""

import torch
from torch import Tensor
from torch.nn import functional

_WIDTH = 0.6  # samples, of the target's peak along the angle


def contrast(similarity: Tensor) -> Tensor:
    """Symmetric cross-entropy of scaled similarities (B, B), rows observed and columns calculated: (B,).

    InfoNCE (arXiv:1807.03748) in both directions, as CLIP has it (arXiv:2103.00020).
    """
    target = torch.arange(len(similarity), device=similarity.device)
    ways = [functional.cross_entropy(some, target, reduction="none") for some in (similarity, similarity.T)]
    return (ways[0] + ways[1]) / 2


def angular_contrast(curves: Tensor) -> Tensor:
    """The same over patterns and in-plane angles: the right pattern at the right angle against all others.

    Args:
        curves: (B, B, A), scaled similarities; pairs on the diagonal, turned by 0 samples against each other.

    Returns:
        (B,).
    """
    own = curves.diagonal().T  # (B, A)
    hit = (peak_target(curves.shape[-1], curves.device) * own).sum(dim=-1)
    ways = [torch.logsumexp(some.flatten(1), dim=1) for some in (curves, curves.transpose(0, 1))]
    return (ways[0] + ways[1]) / 2 - hit


def queue_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross-entropy of the right key among those of a queue (MoCo, arXiv:1911.05722).

    Args:
        positive: (B,) scaled similarity to the own key, or (B, A) over the angle, right at 0.
        negative: (B, K) to the queue's keys, or (B, K, A) over the angle.

    Returns:
        (B,).
    """
    everything = torch.cat([positive[:, None] if positive.ndim == 1 else positive, negative.flatten(1)], dim=1)
    hit = positive if positive.ndim == 1 else (peak_target(positive.shape[-1], positive.device) * positive).sum(dim=1)
    return torch.logsumexp(everything, dim=1) - hit


def cosine_embedding(first: Tensor, second: Tensor) -> Tensor:
    """1 − cos of every row of (B, D) with its partner: (B,); the cosine embedding loss of matching pairs."""
    return 1 - functional.cosine_similarity(first, second, dim=1)


def peak_target(angles: int, device: torch.device) -> Tensor:
    """A narrow peak at angle 0 over a whole turn: (A,), sum 1."""
    place = torch.arange(angles, device=device)
    distance = torch.minimum(place, angles - place)
    return torch.softmax(-0.5 * (distance / _WIDTH).square(), dim=0)

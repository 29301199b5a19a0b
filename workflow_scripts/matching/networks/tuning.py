"""Parameters of the template matchers, chosen on training patterns alone."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from workflow_scripts.matching.simulation.pairs import Pairs

GAMMAS = 0.25, 0.5, 1.0  # powers to which counts are raised
_DOSES_E = 100.0, 1000.0  # range of electrons in the spots of a training pattern; the background has as many
_PAIRS = 300


def tuned(
    similarity: Callable[..., Tensor], choices: Iterable[tuple[float, ...]], pairs: Pairs, device: torch.device
) -> tuple[float, ...]:
    """The choice with which most training patterns, counted at low doses, match their calculated pattern best.

    Args:
        similarity: from counts (P, n, n), calculated patterns (P, n, n) and the parameters of a choice to (P, P).
        choices: the parameters to compare; ties go to the first.
        pairs: training pairs; the first 300 are used.
        device: where the patterns are compared.
    """
    counts, calculated = _training_patterns(pairs, device)
    partner = torch.arange(len(counts), device=device)

    def share_right(choice: tuple[float, ...]) -> float:
        return float((similarity(counts, calculated, *choice).argmax(dim=1) == partner).float().mean())

    return max(choices, key=share_right)


def _training_patterns(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """Counts at low doses and calculated patterns, (P, n, n) each."""
    generator = torch.Generator().manual_seed(0)
    calculated, expected = pairs.render(torch.arange(min(_PAIRS, len(pairs)), device=pairs.rotation.device))
    shares = (expected.spots + expected.background).cpu()
    low, high = _DOSES_E
    dose = low * (high / low) ** torch.rand(len(shares), 1, 1, generator=generator)
    counts = torch.poisson(dose * shares, generator=generator).to(device)
    return counts, calculated.to(device)

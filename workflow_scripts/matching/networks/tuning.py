"""Parameters of the template matchers, chosen on training patterns alone."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from workflow_scripts.matching.networks.retrieval import Estimator, Gallery, best_orientations
from workflow_scripts.matching.simulation.misorientation import misorientation_deg
from workflow_scripts.matching.simulation.pairs import Pairs

GAMMAS = 0.25, 0.5, 1.0  # powers to which counts are raised
_DOSES_E = 100.0, 1000.0  # range of electrons in the spots of a training pattern; the background has as many
_QUERIES, _TOP = 300, 5
_TOLERANCE_DEG = 5.0  # nearly every query has one of 600 templates as near as this
_BATCH = 50


def tuned(
    estimator: Callable[..., Estimator],
    choices: Iterable[tuple[float, ...]],
    pairs: Pairs,
    device: torch.device,
    templates: int = 600,
) -> tuple[float, ...]:
    """The choice with which most training patterns, counted at low doses, find a template of nearly their orientation.

    The templates are the calculated patterns of other training pairs, so that, as with a gallery, none has exactly the
    orientation of a query.

    Args:
        estimator: from templates (G, n, n) and the parameters of a choice.
        choices: the parameters to compare; ties go to the first.
        pairs: training pairs; at most 300, and a third of them, are queries.
        device: where the patterns are compared.
        templates: largest number of templates.
    """
    number = min(_QUERIES, len(pairs) // 3)
    rows = torch.arange(min(number + templates, len(pairs)), device=pairs.rotation.device)
    counts = _counts(pairs, rows[:number]).to(device)
    calculated = pairs.render(rows[number:])[0].to(device)
    truth, of_templates = (pairs.rotation[part].cpu().numpy() for part in (rows[:number], rows[number:]))
    identity = torch.eye(3)[None].numpy()  # all orientations of a training file lie in one fundamental zone
    gallery = Gallery.of(of_templates, identity, device)

    def share_right(choice: tuple[float, ...]) -> float:
        compared = estimator(calculated, *choice)
        best = [best_orientations(compared.curves(part), gallery, _TOP).rotation for part in counts.split(_BATCH)]
        away_deg = misorientation_deg(torch.cat(best).double().cpu().numpy(), truth, identity)
        return float((away_deg <= _TOLERANCE_DEG).any(axis=1).mean())

    return max(choices, key=share_right)


def _counts(pairs: Pairs, rows: Tensor) -> Tensor:
    """Observed patterns (P, n, n) of these rows, counted at low doses."""
    generator = torch.Generator().manual_seed(0)
    _, expected = pairs.render(rows)
    shares = (expected.spots + expected.background).cpu()
    low, high = _DOSES_E
    dose = low * (high / low) ** torch.rand(len(shares), 1, 1, generator=generator)
    return torch.poisson(dose * shares, generator=generator)

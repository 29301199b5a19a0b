"""What the figure shows beside the metrics: class averages, and how errors are distributed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.average_quality import TRUE_POSES, Averaged
from workflow_scripts.alignment.averages import superimpose
from workflow_scripts.alignment.evaluation import MOD180, Errors
from workflow_scripts.alignment.labels import NOISE_ONLY, PAIRWISE
from workflow_scripts.alignment.settings import Evaluate

# Fine where good estimators are, coarse towards chance
EDGES_DEG = np.concatenate([[0.0], np.geomspace(0.05, 90, 40)])


def gathered(
    errors: Sequence[Errors], found: Sequence[Averaged], centres: dict[str, Tensor], settings: Evaluate
) -> dict[str, np.ndarray]:
    """Averages at the headline, each laid on the clean image, those of pure noise, and histograms of the errors.

    Of an estimator with several seeds the first is shown.

    Returns:
        particles (P,), pixel_size_a (P,), centres and noisy (P, n, n); estimators (E,), averages (E, P, n, n) and
        noise_averages (E, n, n), nothing but zeros for the true poses; edges_deg (B + 1,), curves (C, 2), the
        estimator and the way in which it answers, counts (C, B) over all images of particles of C1 and C2;
        headline_snr; images.
    """
    names = list(centres)
    shown: dict[tuple[str, str], Tensor] = {}
    first: dict[str, tuple[float, np.ndarray]] = {}
    for one in found:
        answer, stack = one.answer, one.answer.stack
        key = answer.estimator, stack.particle
        if answer.stage or key in shown:
            continue
        if stack.name == NOISE_ONLY:
            shown[key] = one.averages[-1]
        elif stack.noise == "white" and stack.snr == settings.headline_snr:
            shown[key] = superimpose(one.averages[-1], centres[stack.particle])[0]
            first[stack.particle] = stack.pixel_size_a, stack.images.read(np.arange(1))[0]
    estimators = list(dict.fromkeys(estimator for estimator, _ in shown))
    nothing = torch.zeros_like(centres[names[0]])
    averages = torch.stack([torch.stack([shown[one, name] for name in names]) for one in estimators])
    curves, counts = _histograms(errors, settings)
    return {
        "particles": np.array(names),
        "pixel_size_a": np.array([first[name][0] for name in names]),
        "centres": torch.stack([centres[name] for name in names]).numpy(),
        "noisy": np.stack([first[name][1] for name in names]),
        "estimators": np.array(estimators),
        "averages": averages.numpy(),
        "noise_averages": torch.stack([shown.get((one, NOISE_ONLY), nothing) for one in estimators]).numpy(),
        "edges_deg": EDGES_DEG,
        "curves": curves,
        "counts": counts,
        "headline_snr": np.float64(settings.headline_snr),
        "images": np.int64(next(len(one.answer.stack) for one in found if one.answer.estimator == TRUE_POSES)),
    }


def _histograms(errors: Sequence[Errors], settings: Evaluate) -> tuple[np.ndarray, np.ndarray]:
    """Who answers in which way (C, 2), and how many errors mod 180 fall into each bin (C, B), seeds together."""
    counts: dict[tuple[str, str], np.ndarray] = {}
    for one in errors:
        answer, stack = one.answer, one.answer.stack
        wanted = stack.noise == "white" and stack.snr == settings.headline_snr and one.period_deg == 180.0
        if one.metric == MOD180 and wanted and not answer.stage:
            found, _ = np.histogram(one.values, EDGES_DEG)
            key = answer.estimator, answer.alignment
            counts[key] = counts.get(key, np.zeros(len(found), np.int64)) + found
    if not counts:
        return np.empty((0, 2), "U16"), np.zeros((0, len(EDGES_DEG) - 1), np.int64)
    order = sorted(counts, key=lambda key: key[1] != PAIRWISE)
    return np.array(order), np.array([counts[key] for key in order])

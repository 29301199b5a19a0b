"""The arrays of the figure, examples.npz: class averages, and histograms of the errors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.evaluation.average_quality import StackAverages
from workflow_scripts.alignment.evaluation.averages import superimpose
from workflow_scripts.alignment.evaluation.scores import MOD180, Errors, at_headline
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, PAIRWISE

# Bins are fine at the errors of good estimators and coarse towards chance
EDGES_DEG = np.concatenate([[0.0], np.geomspace(0.05, 90, 40)])


def figure_arrays(
    errors: Sequence[Errors], averages: Sequence[StackAverages], centres: dict[str, Tensor], settings: Evaluate
) -> dict[str, np.ndarray]:
    """Averages at the headline, each superimposed on the clean image, those of pure noise, and histograms of errors.

    Args:
        errors: of all stacks.
        averages: of the stacks at the headline and of pure noise; of several seeds the first is shown.
        centres: clean image (n, n) of each particle.

    Returns:
        Names and pixel sizes: particles (P,), pixel_size_a (P,), estimators (E,).
        Images: centres (clean) and noisy (P, n, n), averages (E, P, n, n), noise_averages (E, n, n), which are zero for
        the true poses.
        Histograms: edges_deg (B + 1,), curves (C, 2), the estimator and its alignment, and counts (C, B) over all
        images of C1 and C2 particles.
        Scalars: headline_snr; images, the number of images in an average.
    """
    particles = list(centres)
    shown_averages: dict[tuple[str, str], Tensor] = {}
    first_images: dict[str, tuple[float, np.ndarray]] = {}
    for average in averages:
        prediction, stack = average.prediction, average.prediction.stack
        key = prediction.estimator, stack.particle
        if prediction.stage or key in shown_averages:
            continue
        if stack.name == NOISE_ONLY:
            shown_averages[key] = average.averages[-1]
        else:
            shown_averages[key] = superimpose(average.averages[-1], centres[stack.particle])
            first_images[stack.particle] = stack.pixel_size_a, stack.images.read(np.arange(1))[0]
    estimators = list(dict.fromkeys(estimator for estimator, _ in shown_averages))
    of_particles = [torch.stack([shown_averages[estimator, name] for name in particles]) for estimator in estimators]
    no_average = torch.zeros_like(centres[particles[0]])
    of_noise = [shown_averages.get((estimator, NOISE_ONLY), no_average) for estimator in estimators]
    curves, counts = _histograms(errors, settings)
    return {
        "particles": np.array(particles),
        "pixel_size_a": np.array([first_images[name][0] for name in particles]),
        "centres": torch.stack([centres[name] for name in particles]).numpy(),
        "noisy": np.stack([first_images[name][1] for name in particles]),
        "estimators": np.array(estimators),
        "averages": torch.stack(of_particles).numpy(),
        "noise_averages": torch.stack(of_noise).numpy(),
        "edges_deg": EDGES_DEG,
        "curves": curves,
        "counts": counts,
        "headline_snr": np.float64(settings.headline_snr),
        "images": np.int64(averages[0].sizes[-1]),
    }


def _histograms(errors: Sequence[Errors], settings: Evaluate) -> tuple[np.ndarray, np.ndarray]:
    """Estimator and alignment (C, 2), and the number of errors mod 180 in each bin (C, B), summed over seeds."""
    counts: dict[tuple[str, str], np.ndarray] = {}
    for of_stack in errors:
        prediction = of_stack.prediction
        comparable = of_stack.metric == MOD180 and of_stack.period_deg == 180.0
        if comparable and at_headline(prediction.stack, settings) and not prediction.stage:
            histogram, _ = np.histogram(of_stack.values, EDGES_DEG)
            key = prediction.estimator, prediction.alignment
            counts[key] = counts.get(key, 0) + histogram
    order = sorted(counts, key=lambda key: key[1] != PAIRWISE)
    histograms = np.array([counts[key] for key in order], np.int64)
    return np.array(order, str).reshape(-1, 2), histograms.reshape(len(order), len(EDGES_DEG) - 1)

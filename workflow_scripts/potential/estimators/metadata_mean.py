"""The mean potential of material and thickness, the same in every pixel: what the metadata alone can predict."""

from collections.abc import Iterable

import numpy as np

from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError


class MetadataMean:
    """Mean potential as a linear function of thickness, by kind and material; of an unseen material the mean over all.

    It is proportional to the thickness, but for single layers whose label is the recipe's nominal thickness.
    """

    def __init__(self, training: Iterable[Samples]) -> None:
        """Args: the training samples, file by file, without the held-out material."""
        means: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for samples in training:
            potential = samples.potential.mean(axis=(1, 2), dtype=np.float64).tolist()
            names = zip(samples.kind.tolist(), samples.material.tolist(), strict=True)
            for name, thickness_nm, mean in zip(names, samples.thickness_nm.tolist(), potential, strict=True):
                means.setdefault(name, []).append((thickness_nm, mean))
        self._lines: dict[str, dict[str, np.ndarray]] = {}
        for (kind, material), points in means.items():
            thickness_nm, mean = np.array(points).T
            # Of several lines that fit, as at a single thickness, about the one through the origin
            slope, offset = np.linalg.lstsq(_terms(thickness_nm), mean, rcond=None)[0]
            self._lines.setdefault(kind, {})[material] = np.array([slope, offset])

    def __call__(self, samples: Samples) -> np.ndarray:
        """Mean potential (N,) of each sample, V Å.

        Raises:
            InputError: no training sample has the kind.
        """
        lines = []
        for kind, material in zip(samples.kind.tolist(), samples.material.tolist(), strict=True):
            known = self._lines.get(kind)
            if known is None:
                raise InputError(
                    f"the training files hold no {kind} sample, but the test file does; make both anew with the same"
                    " settings"
                )
            lines.append(known.get(material, np.mean(list(known.values()), axis=0)))
        return (np.array(lines) * _terms(samples.thickness_nm)).sum(axis=1)


def _terms(thickness_nm: np.ndarray) -> np.ndarray:
    return np.stack([thickness_nm, np.full(len(thickness_nm), 1e-2)], axis=1)


def make(job: Job) -> Estimator:
    """The mean images of the training files."""
    mean_potential = MetadataMean(TrainingFiles.of(job))

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        return np.broadcast_to(mean_potential(samples)[:, None, None], samples.potential.shape)

    return Estimator({"fitted": estimate})

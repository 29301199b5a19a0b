"""The mean potential of material and thickness, the same in every pixel: what the metadata alone can predict."""

from collections.abc import Iterable

import numpy as np

from workflow_scripts.potential.simulation.estimation import Estimator, TrainingFiles
from workflow_scripts.potential.simulation.samples import Samples
from workflow_scripts.workflow.command import Job
from workflow_scripts.workflow.errors import InputError


class MetadataMean:
    """Mean potential per nm by kind, material and thickness; for an unseen material the mean over all others."""

    def __init__(self, training: Iterable[Samples]) -> None:
        """Args: the training samples, file by file, without the held-out material."""
        means_by_label: dict[tuple[str, float], dict[str, list[float]]] = {}
        for samples in training:
            means = samples.potential.mean(axis=(1, 2), dtype=np.float64) / samples.thickness_nm
            for kind, material, nominal_nm, mean in zip(
                samples.kind.tolist(), samples.material.tolist(), samples.nominal_nm.tolist(), means, strict=True
            ):
                means_by_label.setdefault((kind, nominal_nm), {}).setdefault(material, []).append(float(mean))
        self._means = {
            key: {material: float(np.mean(values)) for material, values in materials.items()}
            for key, materials in means_by_label.items()
        }

    def __call__(self, samples: Samples) -> np.ndarray:
        """Mean potential (N,) of each sample, V Å.

        Raises:
            InputError: no training sample has the kind and the thickness.
        """
        means = []
        for kind, material, nominal_nm in zip(samples.kind, samples.material, samples.nominal_nm, strict=True):
            known = self._means.get((str(kind), float(nominal_nm)))
            if known is None:
                raise InputError(
                    f"the training files hold no {kind} sample of {nominal_nm:g} nm, but the test file does;"
                    " make both anew with the same thickness_nm"
                )
            means.append(known.get(str(material), float(np.mean(list(known.values())))))
        return np.array(means) * samples.thickness_nm


def make(job: Job) -> Estimator:
    """The mean images of the training files."""
    mean_potential = MetadataMean(TrainingFiles.of(job))

    def estimate(samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        return np.broadcast_to(mean_potential(samples)[:, None, None], samples.potential.shape)

    return Estimator({"fitted": estimate})

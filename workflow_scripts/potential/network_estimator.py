"""A trained network as an estimator of the potential."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from workflow_scripts.learning.devices import Precision, autocast
from workflow_scripts.potential.encoding import decode_potential, network_inputs, scenes_of
from workflow_scripts.potential.model import load_network
from workflow_scripts.potential.samples import Samples
from workflow_scripts.potential.variants import Variant


class NetworkEstimator:
    """A network of either arm; see `estimators.Estimator`."""

    def __init__(
        self,
        weights: Path,
        variant: Variant,
        dose_max_e_per_a2: float,
        device: torch.device,
        precision: Precision,
        batch_size: int,
    ) -> None:
        """Args: weights file; its arm; the largest dose that it may be told, also of images without noise; on what it
        runs, number format, images at once."""
        self._network = load_network(weights).to(device)
        self._dose_max = dose_max_e_per_a2
        self._rest = (variant, device, precision, batch_size)

    def __call__(self, samples: Samples, shares: np.ndarray, detector: str, dose_e_per_a2: float) -> np.ndarray:
        """See `estimators.Estimator`."""
        told = min(dose_e_per_a2, self._dose_max)
        return network_potential(self._network, samples, shares, detector, told, *self._rest)


@torch.no_grad()
def network_potential(
    network: nn.Module,
    samples: Samples,
    shares: np.ndarray,
    detector: str,
    dose_e_per_a2: float,
    variant: Variant,
    device: torch.device,
    precision: Precision,
    batch_size: int,
) -> np.ndarray:
    """The network's potentials float32 (N, H, W), V Å.

    Args:
        network: in evaluation mode, on `device`.
        samples: N rows, of which nothing but the labels counts.
        shares: (N, 4, H, W) measured of them.
        detector: `ring` or `matched`.
        dose_e_per_a2: that the network is told.
        variant: how it was trained to see and to say things.
        device, precision, batch_size: on what it runs, number format inside, images at once.
    """
    parts = []
    for start in range(0, len(samples), batch_size):
        rows = np.arange(start, min(start + batch_size, len(samples)))
        part = replace(samples.rows(rows), images={detector: shares[rows]})
        scenes = scenes_of(part, detector, dose_e_per_a2, device)
        with autocast(device, precision):
            output = network(network_inputs(scenes, variant))[:, 0]  # the first channel is the whole potential
        parts.append(decode_potential(output.float(), scenes.thickness_nm, variant).cpu().numpy())
    return np.concatenate(parts)

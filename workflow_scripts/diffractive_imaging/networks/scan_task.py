"""Finetuning on the measured patterns of a scan: predicted patches must reproduce the recorded counts.

No truth is used. The stitched image of the pretrained network serves as the surroundings of every patch: under the
probe the predicted patch replaces it, then the pattern is simulated and compared with the counts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.diffractive_imaging.networks.losses import amplitude_misfit
from workflow_scripts.diffractive_imaging.networks.stitching import Stitched
from workflow_scripts.diffractive_imaging.simulation import forward
from workflow_scripts.diffractive_imaging.simulation.datasets import Illumination, inside_raster
from workflow_scripts.learning.transfers import host_generator, to_device
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.optics.probe import shift_probe

_BATCH = 256
# Patterns within this many object pixels of the edge of a scan are left out: half of their object is unknown.
RIM_PX = 4.0


class ScanTask:
    """A `learning.training.Task`: measured patterns of one or several scans.

    Args:
        scans: of each scan the stitched image, the counts (N, n, n) with the axes of the object, and the positions
            (N, 2) [y, x] in object pixels.
        light: the illumination of all.
        validation_share: share of the patterns that are not trained on; their loss selects the weights.
        seed: of the choice of these patterns.
        device: where everything is kept.
    """

    def __init__(
        self,
        scans: Sequence[tuple[Stitched, Tensor, Tensor]],
        light: Illumination,
        validation_share: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self._upsampling = light.upsampling
        images, counts, positions = [], [], []
        top = 0.0
        margin = light.n  # object pixels; the windows of the outermost patterns stay inside
        for stitched, recorded, position in scans:
            inner = inside_raster(position, RIM_PX)
            fine = functional.pad(stitched.phase.nan_to_num(0.0), [margin * self._upsampling] * 4)
            # One tall image of all scans, so that a batch may mix them.
            shift = torch.tensor([margin + top, margin]) - torch.tensor(stitched.origin)
            positions.append(position[inner] + shift)
            counts.append(recorded[inner])
            images.append(fine)
            top += fine.shape[0] / self._upsampling
        width = max(image.shape[1] for image in images)
        tall = torch.cat([functional.pad(image, [0, width - image.shape[1]]) for image in images])
        self._surroundings = tall.float().to(device)
        self._positions = torch.cat(positions).to(device)
        self._counts = torch.cat(counts).float().to(device)

        order = torch.randperm(len(self._counts), generator=torch.Generator().manual_seed(seed)).to(device)
        n_validation = max(1, round(validation_share * len(order)))
        self._validation, self._train = order[:n_validation], order[n_validation:]
        self.n_samples = len(self._train)

        self._dose_e = light.dose_e
        self._mask = light.mask().to(device)
        self._probe = light.probe.to(device)
        self._device = device

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Network inputs, counts, surroundings (B, n, n) each; their fine-pixel offset (B, 2), on the CPU."""
        step = torch.randint(self._upsampling, (2,), generator=host_generator(generator))
        return self._make_batch(self._train[indices], step)

    def _make_batch(self, rows: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        counts, upsampling = self._counts[rows], self._upsampling
        positions = self._positions[rows] + to_device(step / upsampling, self._device)
        window = counts.shape[-1], upsampling, upsampling
        surroundings = forward.window_at(self._surroundings, positions, *window, checked=False)
        patterns = forward.network_input(counts, self._dose_e)
        return patterns, counts, surroundings, step.expand(len(rows), 2)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Misfit of the amplitudes per detector pixel, 1 for shot noise alone."""
        patterns, counts, surroundings, steps = batch
        n, (row, column) = patterns.shape[-1], steps[0].tolist()
        patch = forward.remove_mask_mean(model(patterns), self._mask)
        # The fine pixels of the patch that object pixels fall on, when the grid is moved by (row, column).
        coarse, lit = (image[..., row :: self._upsampling, column :: self._upsampling] for image in (patch, self._mask))
        rim = (n - coarse.shape[-1]) // 2
        patch, lit = (functional.pad(image, [rim] * 4) for image in (coarse, lit))
        mean = (surroundings * lit).sum(dim=(-2, -1), keepdim=True) / lit.sum()
        patch_mean = (patch * lit).sum(dim=(-2, -1), keepdim=True) / lit.sum()
        phase = torch.where(lit, patch - patch_mean + mean, surroundings)
        shift = to_device(-steps[0].double() / self._upsampling, self._device)
        probe = shift_probe(self._probe, shift).to(torch.complex64)
        expected = self._dose_e * diffraction_pattern(probe, phase)
        return amplitude_misfit(expected, counts)

    def validate(self, model: nn.Module) -> float:
        """The loss over the held-out patterns."""
        total = 0.0
        for part in self._validation.split(_BATCH):
            step = torch.zeros(2, dtype=torch.int64)
            total += float(self.loss(model, self._make_batch(part, step))) * len(part)
        return total / len(self._validation)

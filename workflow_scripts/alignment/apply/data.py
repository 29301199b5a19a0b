"""The user's particles, prepared for alignment in batches: density bright, phases flipped, resampled to the work box.

Images stay in their files. Poses are estimated from copies in the work box, that of the network, to which images are
resampled by cropping or padding their spectra; they are reported in pixels of the files.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.apply.settings import Apply
from workflow_scripts.alignment.networks.branch import centred_spectra
from workflow_scripts.alignment.simulation.geometry import resized_spectra
from workflow_scripts.alignment.simulation.imaging import ctf_tensors
from workflow_scripts.alignment.simulation.sources import read_class_average
from workflow_scripts.formats.endings import MRC, has_ending
from workflow_scripts.formats.mrc import read_mrc
from workflow_scripts.formats.particles import ParticleStack, index_batches, open_particles
from workflow_scripts.optics.ctf import ctf
from workflow_scripts.workflow.errors import InputError

SMALLEST_BOX_PX = 36  # the outermost ring of the spectrum is at 16 periods per box
FEWEST = 4  # particles: two in each half
_PIECE = 64  # images whose spectra are in memory at once
_EDGE = 0.05  # width over which a mask falls off, as a fraction of the box
_RELIABLE = 3.0  # standard errors from which on the sign of the density counts as known
_FIELD_TOLERANCE = 0.02  # largest relative difference of two equal fields of view
_PHASES_FLIPPED = ("rlnCtfDataArePhaseFlipped", "rlnCtfDataAreCtfPremultiplied")


@dataclass(frozen=True)
class UserParticles:
    """The user's particles on one device, read on demand.

    Attributes:
        particles: the files, with their sign and pixel size.
        work_px: side of the work box, in which images are compared.
        flip: whether phases are flipped, using the defocus in the list.
        largest_shift_px: along either axis, in pixels of the files.
        mask_radius_px: of the particle, in pixels of the files; None stands for the whole box.
        device: where images are processed.
    """

    particles: ParticleStack
    work_px: int
    flip: bool
    largest_shift_px: float
    mask_radius_px: float | None
    device: torch.device

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def scale(self) -> float:
        """Pixels of the files per pixel of the work box."""
        return self.particles.box_px / self.work_px

    def subset(self, indices: np.ndarray) -> "UserParticles":
        """Only these particles, in this order, without the text of their list."""
        return replace(self, particles=replace(self.particles, columns={}).subset(indices))

    def raw(self, indices: np.ndarray) -> Tensor:
        """Images unchanged, float32 (k, n, n) in the user's box: the sign that the reader applies is undone."""
        return torch.from_numpy(self.particles.read(indices)).to(self.device) * self.particles.sign

    def corrected(self, indices: np.ndarray) -> Tensor:
        """Images with density bright and phases flipped, (k, n, n) in the user's box."""
        images = self.raw(indices) * self.particles.sign
        if not self.flip:
            return images
        flipped = [
            torch.fft.irfft2(torch.fft.rfft2(images[piece]) * self._phase(indices[piece]), s=images.shape[1:])
            for piece in index_batches(len(indices), _PIECE)
        ]
        return torch.cat(flipped)

    def read(self, indices: np.ndarray, scrambled: torch.Generator | None = None) -> Tensor:
        """Images to compare: (k, m, m) in the work box, mean 0 and variance 1, in a mask that leaves room for shifts.

        A constant image becomes 0.

        Args:
            scrambled: generator for random phases, which images get before the mask; None leaves the phases.
        """
        images = torch.cat([in_box(piece, self.work_px) for piece in self.corrected(indices).split(_PIECE)])
        images = images - images.mean(dim=(1, 2), keepdim=True)
        spread = images.square().mean(dim=(1, 2), keepdim=True).sqrt()
        images = torch.where(spread > 1e-6 * spread.max().clamp_min(1e-30), images / spread.clamp_min(1e-30), 0.0)
        if scrambled is not None:
            images = random_phases(images, scrambled)
        if self.mask_radius_px is None:
            return images
        reach = self.mask_radius_px + math.sqrt(2) * self.largest_shift_px
        return images * disc(self.work_px, reach / self.scale).to(self.device)

    def reference_mask(self) -> Tensor:
        """Mask (m, m) in the work box: 1 on the particle, falling to 0 around it."""
        radius = self.particles.box_px / 2 if self.mask_radius_px is None else self.mask_radius_px
        return disc(self.work_px, radius / self.scale).to(self.device)

    def _phase(self, indices: np.ndarray) -> Tensor:
        """Sign of the contrast transfer, ±1, (k, n, n//2 + 1)."""
        parameters = ctf_tensors(self.particles.ctf.subset(indices), self.device) | {"b_factor_a2": 0.0}
        transfer = ctf(self.particles.box_px, self.particles.pixel_size_a, **parameters)
        return torch.where(transfer < 0, -1.0, 1.0)


def open_user_particles(
    settings: Apply, particles: Path, work_px: int, device: torch.device | str = "cpu", sign: int | None = None
) -> tuple[UserParticles, dict[str, Any]]:
    """The particles of an entry, and a report on their files as plain JSON.

    Args:
        settings: the entry.
        particles: path of the file `settings.particles`.
        work_px: side of the work box.
        device: where images are processed.
        sign: 1 for bright and −1 for dark density; None determines it according to `settings.contrast`.

    Raises:
        InputError: a file is damaged, or the particles cannot be aligned with these settings.
    """
    stack = open_particles(particles)
    largest_shift_px = stack.box_px / 4 if settings.largest_shift_px is None else settings.largest_shift_px
    _check_sizes(settings, stack, largest_shift_px)
    remarks = list(stack.remarks)
    stack = replace(stack, pixel_size_a=_pixel_size(settings, stack, remarks))
    flip = _flips_phases(settings, stack, remarks)
    contrast: dict[str, Any] = {"stated": settings.contrast}
    if sign is None and settings.contrast == "auto":
        sign, certainty = stack.density_sign()
        contrast["standard_errors"] = certainty if math.isfinite(certainty) else None
        if certainty < _RELIABLE:
            remarks.append(
                f"{particles}: cannot determine reliably whether density is bright or dark (centre and rim differ by"
                f" {certainty:.1f} standard errors); set contrast"
            )
    elif sign is None:
        sign = 1 if settings.contrast == "bright" else -1
    stack, device = replace(stack, sign=sign), torch.device(device)
    return UserParticles(stack, work_px, flip, largest_shift_px, settings.mask_radius_px, device), {
        "particles": len(stack),
        "box_px": stack.box_px,
        "work_box_px": work_px,
        "pixel_size_a": stack.pixel_size_a,
        "contrast": {"found": "bright" if sign > 0 else "dark", **contrast},
        "with_ctf": 0 if stack.ctf is None else len(stack),
        "phases_flipped": len(stack) if flip else 0,
        "largest_shift_px": largest_shift_px,
        "remarks": remarks,
    }


def _check_sizes(settings: Apply, stack: ParticleStack, largest_shift_px: float) -> None:
    """Raises InputError: too few particles, images too small, or settings that do not fit their size."""
    box = stack.box_px
    if len(stack) < FEWEST:
        raise InputError(f"{stack.path}: has {len(stack)} particles, expected at least {FEWEST}; give more of them")
    if box < SMALLEST_BOX_PX:
        raise InputError(
            f"{stack.path}: has images of {box} × {box} pixels, expected at least {SMALLEST_BOX_PX}; extract with a"
            " larger box or a smaller pixel size"
        )
    for key, value in (("largest_shift_px", largest_shift_px), ("mask_radius_px", settings.mask_radius_px)):
        if value is not None and value > box / 2:
            raise InputError(
                f"{key}: is {value:g}, but the images of {stack.path} are {box} px wide; use at most {box // 2}"
            )


def _flips_phases(settings: Apply, stack: ParticleStack, remarks: list[str]) -> bool:
    """Whether phases are to be flipped; adds a remark if the list says that they are flipped already."""
    if settings.ctf != "auto" or stack.ctf is None:
        return False
    flipped_by = [label for label in _PHASES_FLIPPED if "1" in stack.columns.get(label, [])]
    if flipped_by:
        remarks.append(
            f"{stack.path}: {flipped_by[0]} says that phases are flipped already; they are not flipped again"
        )
    return not flipped_by


def check_images(user: UserParticles, batch_size: int) -> list[str]:
    """Read every image once; returns remarks on constant images.

    Raises:
        InputError: an image cannot be read or is not finite, or all images are constant.
    """
    empty: list[int] = []
    for indices in index_batches(len(user), batch_size):
        images = user.particles.read(indices)
        empty += user.particles.rows[indices[images.max(axis=(1, 2)) <= images.min(axis=(1, 2))]].tolist()
    if len(empty) == len(user):
        raise InputError(f"{user.particles.path}: every image is constant, expected particles; extract them again")
    remark = f"{user.particles.path}: {len(empty)} images are constant, the first in row"
    return [f"{remark} {empty[0]}"] if empty else []


def read_reference(settings: Apply, path: Path, user: UserParticles) -> Tensor:
    """The user's reference in the work box (m, m), density bright.

    Raises:
        InputError: the file cannot be read, or is an .mrc with a different field of view.
    """
    field_a = user.particles.box_px * user.particles.pixel_size_a
    if has_ending(path, MRC):
        image, size_a = read_mrc(path, 2)
        if size_a > 0 and abs(image.shape[-1] * size_a / field_a - 1) > _FIELD_TOLERANCE:
            raise InputError(
                f"{path}: has a field of view of {image.shape[-1] * size_a:.4g} Å, but the particles {field_a:.4g} Å;"
                " crop or pad it to the same field of view"
            )
    centre = read_class_average(path, user.work_px, 1.0, dark_on_light=settings.reference_contrast == "dark")
    return centre.image.to(user.device)


def in_box(images: Tensor, m: int) -> Tensor:
    """Images (k, n, n) resampled to m × m pixels over the same field of view, with the centre at [m//2, m//2].

    Their spectra are cropped or padded, see `geometry.resized_spectra`.
    """
    n = images.shape[-1]
    if n == m:
        return images
    spectra = resized_spectra(centred_spectra(images), m)
    return torch.fft.irfft2(spectra, s=(m, m)).roll((m // 2, m // 2), dims=(1, 2)) * (m / n) ** 2


def random_phases(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (k, n, n) with the same power at every frequency and the phases of white noise.

    Args:
        generator: on the CPU.
    """
    noise = torch.fft.rfft2(torch.randn(images.shape, generator=generator).to(images.device))
    phases = noise / noise.abs().clamp_min(1e-20)
    return torch.fft.irfft2(torch.fft.rfft2(images).abs() * phases, s=images.shape[1:])


def disc(n: int, radius_px: float) -> Tensor:
    """Disc (n, n) with a cosine edge: 1 inside, 1/2 at the radius, 0 outside; stays within the inscribed circle."""
    axis = torch.arange(n, dtype=torch.float32) - n // 2
    width = _EDGE * n
    outer = min(radius_px + width / 2, n / 2)
    distance = torch.hypot(axis[:, None], axis)
    return 0.5 + 0.5 * torch.cos(math.pi * ((distance - outer) / width + 1).clamp(0, 1))


def _pixel_size(settings: Apply, stack: ParticleStack, remarks: list[str]) -> float:
    in_files, stated = stack.pixel_size_a, settings.pixel_size_a
    if stated is None and in_files is None:
        raise InputError(f"{stack.path}: no pixel size in the list or the header; set pixel_size_a")
    if stated is None:
        return in_files
    if in_files is None:
        remarks[:] = [remark for remark in remarks if "no pixel size" not in remark]
    elif abs(in_files / stated - 1) > 0.01:
        remarks.append(f"{stack.path}: has a pixel size of {in_files:g} Å; pixel_size_a, {stated:g} Å, is used instead")
    return stated

"""Simulated images of particles: pose, contrast transfer and noise, in batches on one device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.alignment.settings import MicroscopeSettings
from workflow_scripts.alignment.simulation.geometry import half_plane_weights, move
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.formats.particles import CtfParameters
from workflow_scripts.learning.transfers import to_device
from workflow_scripts.optics.ctf import ctf

# Number of defocus values from which the faulty CTF is drawn: neighbours differ by a fraction of a radian at Nyquist
_FAULTY_DEFOCI = 256


def ctf_tensors(parameters: CtfParameters, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The arguments of `optics.ctf.ctf` on a device, (N,) each."""
    return {name: torch.from_numpy(values).to(device) for name, values in vars(parameters).items()}


@dataclass(frozen=True)
class DrawnPoses:
    """Poses and defocus of N images, in the conventions of `geometry`.

    particle: int64 (N,), index into the simulator's particles; on the CPU, no GPU is waited for.
    angle_deg: float32 (N,) in [0, 360).
    shift_px: float32 (N, 2) [y, x].
    defocus_a: float32 (N,) in Å; the faulty CTF does not use it.
    """

    particle: Tensor
    angle_deg: Tensor
    shift_px: Tensor
    defocus_a: Tensor

    def __len__(self) -> int:
        return len(self.particle)

    def __getitem__(self, indices: slice | Tensor) -> "DrawnPoses":
        return DrawnPoses(*(values[indices] for values in vars(self).values()))


@dataclass
class Simulator:
    """Noisy images of some particles.

    All randomness comes from the generators passed to the methods: the same seed, poses and batches give the same
    images on one device, and another generator gives independent noise at the same poses.

    Args:
        particles: all in boxes of the same size n; pixel sizes may differ.
        microscope: contrast transfer.
        snr: variance of a clean image, after the CTF, over that of its noise, both over the whole box.
        noise: "white", or "coloured" with the radially averaged power spectrum of each clean image.
        device: where the images are made.
        faulty_ctf: the published recipe: the modulus of a CTF whose defocus is drawn anew for every Fourier pixel, at
            a pixel size that was rescaled by n / width where width / n is right.
        eight_bit: the published recipe: each image is stretched to integers from 0 to 255.
    """

    particles: Sequence[Particle]
    microscope: MicroscopeSettings
    snr: float
    noise: str
    device: torch.device | str = "cpu"
    faulty_ctf: bool = False
    eight_bit: bool = False

    def __post_init__(self) -> None:
        self.images = torch.stack([particle.image for particle in self.particles]).to(self.device)
        self.n = self.images.shape[-1]
        self._defocus_range_a = 1e4 * self.microscope.defocus_min_um, 1e4 * self.microscope.defocus_max_um

    def draw_poses(
        self, count: int, generator: torch.Generator, largest_shift_px: float = 10.0, whole_px: bool = True
    ) -> DrawnPoses:
        """Poses with uniform particle, angle, shift and defocus.

        Args:
            count: N.
            generator: on the simulator's device.
            largest_shift_px: along y and along x, in both directions.
            whole_px: shifts are integers, as in the published recipe.
        """
        options = {"generator": generator, "device": self.device}
        particle = torch.randint(len(self.particles), (count,), **options)
        angle_deg = 360 * torch.rand(count, **options)
        if whole_px:
            largest = int(largest_shift_px)
            shift_px = torch.randint(-largest, largest + 1, (count, 2), **options).float()
        else:
            shift_px = largest_shift_px * (2 * torch.rand(count, 2, **options) - 1)
        lowest_a, highest_a = self._defocus_range_a
        defocus_a = lowest_a + (highest_a - lowest_a) * torch.rand(count, **options)
        return DrawnPoses(particle, angle_deg, shift_px, defocus_a)

    def clean(self, poses: DrawnPoses, generator: torch.Generator) -> Tensor:
        """Images without noise, after the CTF.

        Args:
            poses: N of them, on the simulator's device.
            generator: used only by the faulty CTF, which is random.

        Returns:
            float32 (N, n, n).
        """
        moved = move(self.images[to_device(poses.particle, self.device)], poses.angle_deg, poses.shift_px)
        return torch.fft.irfft2(torch.fft.rfft2(moved) * self._transfer(poses, generator), s=(self.n, self.n))

    def draw(self, poses: DrawnPoses, generator: torch.Generator) -> Tensor:
        """Images of particles at given poses with fresh noise.

        Args:
            poses: N of them, on the simulator's device.
            generator: on that device.

        Returns:
            float32 (N, n, n).
        """
        clean = self.clean(poses, generator)
        images = clean + noise_for(clean, self.snr, self.noise, generator)
        return stretched(images) if self.eight_bit else images

    def _transfer(self, poses: DrawnPoses, generator: torch.Generator) -> Tensor:
        """(N, n, n//2 + 1)."""
        transfer = torch.empty(len(poses), self.n, self.n // 2 + 1, device=self.device)
        sizes = [item.pixel_size_a / (item.width_ratio**2 if self.faulty_ctf else 1.0) for item in self.particles]
        size_of = torch.tensor(sizes, dtype=torch.float64)[poses.particle.cpu()]
        for size_a in sorted(set(size_of.tolist())):
            indices = to_device((size_of == size_a).nonzero()[:, 0], self.device)
            if self.faulty_ctf:
                defoci_a = torch.linspace(*self._defocus_range_a, _FAULTY_DEFOCI, device=self.device)
                table = contrast_transfer(self.microscope, self.n, size_a, defoci_a).abs()
                shape = transfer[indices].shape
                defocus_index = torch.randint(_FAULTY_DEFOCI, shape, generator=generator, device=self.device)
                transfer[indices] = table.gather(0, defocus_index)
            else:
                transfer[indices] = contrast_transfer(self.microscope, self.n, size_a, poses.defocus_a[indices])
        return transfer


def contrast_transfer(microscope: MicroscopeSettings, n: int, pixel_size_a: float, defocus_a: Tensor) -> Tensor:
    """(N, n, n//2 + 1) for defoci (N,) in Å, positive is underfocus."""
    return ctf(n, pixel_size_a, defocus_a, **microscope.model_dump(exclude={"defocus_min_um", "defocus_max_um"}))


def radial_power(images: Tensor) -> Tensor:
    """|F|² of images averaged over rings that are one frequency wide; Fourier pixel k belongs to ring round(|k|).

    Args:
        images: (N, n, n).

    Returns:
        (N, R); ring 0 is the mean of the image, and the last rings lie in the corners of the spectrum.
    """
    n = images.shape[-1]
    rings, weights = fourier_rings(n, images.device), half_plane_weights(n, images.device).expand(n, -1)
    power = torch.fft.rfft2(images).abs().square() * weights
    # A matrix product instead of a scattered sum, whose bits would vary from run to run on a GPU.
    outermost = round(math.hypot(n // 2, n // 2))
    members = (rings.flatten()[:, None] == torch.arange(outermost + 1, device=images.device)).to(images)  # (…, R)
    return power.flatten(1) @ members / (weights.flatten() @ members)


def noise_for(clean: Tensor, snr: float, noise: str, generator: torch.Generator) -> Tensor:
    """Gaussian noise; its expected variance over the box is that of the clean image divided by the SNR.

    The expected power spectrum of coloured noise is the radial average of the clean image's, divided by the SNR, except
    that its mean is 0: its signal-to-noise ratio is the same at every frequency.

    Args:
        clean: (N, n, n).
        snr: ratio of the variances.
        noise: "white" or "coloured".
        generator: on the device of ``clean``.

    Returns:
        (N, n, n).
    """
    n = clean.shape[-1]
    white = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    if noise == "white":
        return white * (clean.var(dim=(1, 2), correction=0, keepdim=True) / snr).sqrt()
    power = radial_power(clean)  # (N, R)
    power[:, 0].zero_()
    amplitude = (power / (n**2 * snr)).sqrt()[:, fourier_rings(n, clean.device)]  # (N, n, n//2 + 1)
    return torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(n, n))


def stretched(images: Tensor) -> Tensor:
    """Images (N, n, n), each stretched to integers from 0 to 255 by its own minimum and maximum, as in an 8-bit file.

    Scale and offset differ from image to image, so brightness and noise are no longer comparable between images.
    """
    lowest, highest = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    return (255 * (images - lowest) / (highest - lowest)).round()


def fourier_rings(n: int, device: torch.device) -> Tensor:
    """Ring number (n, n//2 + 1) of each Fourier pixel of the half plane: its distance from 0, rounded."""
    rows = torch.fft.fftfreq(n, d=1 / n, device=device)[:, None]
    return torch.hypot(rows, torch.arange(n // 2 + 1, device=device).float()).round().long()

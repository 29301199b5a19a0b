"""Sets of training tiles, composed on the fly: specimens in front of drifting flat fields, with photon noise."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.background.simulation.sessions import log_tiles, raw_counts
from workflow_scripts.background.simulation.specimens import uniform
from workflow_scripts.background.simulation.tile_files import TrainingTiles

_BARE, _DOUBLE = 0.1, 0.2  # fractions of tiles without a specimen, and with the sum of two


@dataclass(frozen=True)
class DeviceTiles:
    """Specimens and flat fields on a device.

    Attributes:
        specimens: ln of transmissions (S, P, P).
        flats: ln of flat fields (K, J, H, W).
        dose: smallest and largest dose of a pixel without a specimen, photons.
        dark: mean of the dark frame, counts.
        flipped: whether flat fields are flipped and transposed at random; False for a single known microscope.
    """

    specimens: Tensor
    flats: Tensor
    dose: tuple[float, float]
    dark: float
    flipped: bool = True

    @classmethod
    def of(cls, tiles: TrainingTiles, device: torch.device, flipped: bool = True) -> "DeviceTiles":
        """The training tiles on a device."""
        arrays = (np.ascontiguousarray(array) for array in (tiles.log_transmission, tiles.log_flat))
        return cls(*(torch.as_tensor(array).float().to(device) for array in arrays), tiles.dose, tiles.dark, flipped)


def counted_set(source: DeviceTiles, rows: int, tiles: int, span: float, generator: torch.Generator):
    """Noisy sets of tiles, each from one session: ln of the tiles, valid pixels and true log flat fields (B, N, H, W).

    Args:
        source: specimens and sessions.
        rows: number of sets, B.
        tiles: tiles in each set, N.
        span: fraction of a session during which a set is recorded.
        generator: the only source of randomness, on the device of the source.
    """
    flats = _flats(source, rows, tiles, span, generator)
    specimens = _specimens(source, rows * tiles, generator).view(flats.shape)
    low, high = source.dose
    dose = low * (high / low) ** torch.rand(rows, 1, 1, 1, generator=generator, device=flats.device)
    counts = raw_counts(specimens + flats, dose, source.dark, generator)
    logs, dead = log_tiles(counts.flatten(0, 1), source.dark)
    return logs.view(flats.shape), ~dead.view(flats.shape), flats


def training_session(
    source: DeviceTiles, session: int, tiles: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Tiles taken one after the other through a whole session, as in the test: counts and log flat fields (M, H, W).

    Args:
        source: specimens and sessions.
        session: its number.
        tiles: M; their flat fields are interpolated between the recorded moments.
        generator: the only source of randomness, on the device of the source.
    """
    flats = source.flats[session]
    place = torch.linspace(0, len(flats) - 1, tiles, device=flats.device)
    before = place.long().clamp(max=len(flats) - 2)
    share = (place - before)[:, None, None]
    log_flat = torch.lerp(flats[before], flats[before + 1], share)
    low, high = source.dose
    dose = low * (high / low) ** uniform(generator)(1, 1, 1)
    counts = raw_counts(_specimens(source, tiles, generator) + log_flat, dose, source.dark, generator)
    return counts.cpu().numpy(), log_flat.cpu().numpy()


def idealised_pair(source: DeviceTiles, rows: int, mixed_normalisation: bool, generator: torch.Generator):
    """The recipe's noise-free pairs, two specimens in front of one flat field.

    Args:
        mixed_normalisation: each specimen is stretched by its own minimum and maximum, and flat fields are divided by
            the largest value of all flat fields; otherwise both keep their physical values.

    Returns:
        Intensities (B, 2, H, W) and the flat fields (B, 1, H, W).
    """
    flat = _flats(source, rows, 1, 0.0, generator).exp()
    specimens = _specimens(source, 2 * rows, generator).exp().view(rows, 2, *flat.shape[-2:])
    if mixed_normalisation:
        specimens, flat = stretched(specimens), flat / source.flats.max().exp()
    return specimens * flat, flat


def stretched(images: Tensor) -> Tensor:
    """Images (..., H, W), each stretched to [0, 1] by its own minimum and maximum; a constant image becomes 1."""
    low, high = images.amin(dim=(-2, -1), keepdim=True), images.amax(dim=(-2, -1), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-12), torch.ones_like(images))


def _flats(source: DeviceTiles, rows: int, tiles: int, span: float, generator: torch.Generator) -> Tensor:
    """Log flat fields (B, N, H, W) at N times of one session per set, flipped and transposed together."""
    flats, random = source.flats, uniform(generator)
    sessions, times = flats.shape[:2]
    session = torch.randint(sessions, (rows, 1), generator=generator, device=flats.device)
    width = min(times, 1 if span == 0 else max(2, round(span * times)))
    first = (random(rows, 1) * (times - width + 1)).long().clamp(max=times - width)
    moment = first + (random(rows, tiles) * width).long().clamp(max=width - 1)
    images = flats[session, moment]
    if not source.flipped:
        return images
    left_right, up_down, transposed = (random(3, rows) < 0.5).view(3, rows, 1, 1, 1)
    images = torch.where(left_right, images.flip(-1), images)
    images = torch.where(up_down, images.flip(-2), images)
    return torch.where(transposed, images.mT, images) if flats.shape[-1] == flats.shape[-2] else images


def _specimens(source: DeviceTiles, number: int, generator: torch.Generator) -> Tensor:
    """Log transmissions (number, H, W): flipped and transposed crops, some empty, some the sum of two crops."""
    share = uniform(generator)(number, 1, 1)
    crops = [_crops(source, number, generator) for _ in range(2)]
    return crops[0] * (share >= _BARE) + crops[1] * (share >= 1 - _DOUBLE)


def _crops(source: DeviceTiles, number: int, generator: torch.Generator) -> Tensor:
    specimens, random, device = source.specimens, uniform(generator), source.specimens.device
    image = torch.randint(len(specimens), (number,), generator=generator, device=device)
    places = []
    for size in source.flats.shape[-2:]:
        margin = specimens.shape[-1] - size
        start = (random(number, 1) * (margin + 1)).long().clamp(max=margin)
        steps = torch.arange(size, device=device)
        places.append(start + torch.where(random(number, 1) < 0.5, steps, size - 1 - steps))
    transposed = random(number, 1, 1) < 0.5
    rows, columns = places[0][:, :, None], places[1][:, None, :]
    return specimens[
        image[:, None, None], torch.where(transposed, columns, rows), torch.where(transposed, rows, columns)
    ]

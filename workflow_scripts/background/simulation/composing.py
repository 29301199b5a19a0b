"""Sets of tiles composed on the fly: specimens before the drifting flat field of a session, counted."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.background.networks.conditions import stretched
from workflow_scripts.background.simulation.counting import log_tiles, raw_counts
from workflow_scripts.background.simulation.tile_files import Bank

_BARE, _DOUBLE = 0.1, 0.2  # shares of tiles without any specimen, and with the sum of two


@dataclass(frozen=True)
class Material:
    """What sets are made of, on a device.

    Attributes:
        specimens: ln of transmissions (S, P, P).
        flats: ln of flat fields (K, J, H, W).
        dose: smallest and largest of an open pixel, photons.
        dark: mean of the dark frame, counts.
        turned: whether flat fields are flipped and turned at random; those of one known microscope are not.
    """

    specimens: Tensor
    flats: Tensor
    dose: tuple[float, float]
    dark: float
    turned: bool = True

    @classmethod
    def of(cls, bank: Bank, device: torch.device, turned: bool = True) -> "Material":
        """The material of a bank; of flat fields that are wider than the specimens the middle is taken."""
        specimens, flats = (torch.as_tensor(np.ascontiguousarray(a)) for a in (bank.log_transmission, bank.log_flat))
        return cls(specimens.float().to(device), flats.float().to(device), bank.dose, bank.dark, turned)


def counted_set(material: Material, rows: int, tiles: int, span: float, generator: torch.Generator):
    """`rows` sets of tiles, every set of one session, with noise: ln of the tiles (B, N, H, W), valid pixels, and their
    true log flat fields (B, N, H, W).

    Args:
        material: specimens and sessions.
        rows, tiles: B and N.
        span: share of a session during which the set is taken.
        generator: of everything that is drawn, on the device of the material.
    """
    flats = _flats(material, rows, tiles, span, generator)
    specimens = _specimens(material, rows * tiles, generator).view(flats.shape)
    device = flats.device
    low, high = material.dose
    dose = low * (high / low) ** torch.rand(rows, 1, 1, 1, generator=generator, device=device)
    counts = raw_counts(specimens + flats, dose, material.dark, generator)
    logs, dead = log_tiles(counts.flatten(0, 1), material.dark)
    return logs.view(flats.shape), ~dead.view(flats.shape), flats


def idealised_pair(material: Material, rows: int, mixed_normalisation: bool, generator: torch.Generator):
    """The recipe's pairs: two specimens before one flat field, without noise: intensities (B, 2, H, W) and the flat
    field (B, 1, H, W).

    mixed_normalisation: every specimen is stretched by its own minimum and maximum, a flat field is divided by the
    largest value of all; else both have their physical values.
    """
    flat = _flats(material, rows, 1, 0.0, generator).exp()
    specimens = _specimens(material, 2 * rows, generator).exp().view(rows, 2, *flat.shape[-2:])
    if mixed_normalisation:
        specimens, flat = stretched(specimens), flat / material.flats.max().exp()
    return specimens * flat, flat


def _flats(material: Material, rows: int, tiles: int, span: float, generator: torch.Generator) -> Tensor:
    """Log flat fields (B, N, H, W) at moments of one session a set, flipped and turned alike."""
    flats, device = material.flats, material.flats.device
    sessions, times = flats.shape[:2]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    session = torch.randint(sessions, (rows, 1), generator=generator, device=device)
    width = min(times, 1 if span == 0 else max(2, round(span * times)))
    first = (uniform(rows, 1) * (times - width + 1)).long().clamp(max=times - width)
    moment = first + (uniform(rows, tiles) * width).long().clamp(max=width - 1)
    images = flats[session, moment]
    if not material.turned:
        return images
    turns = (uniform(3, rows) < 0.5).view(3, rows, 1, 1, 1)
    for axis, turn in zip((-1, -2), turns, strict=False):
        images = torch.where(turn, images.flip(axis), images)
    return torch.where(turns[2], images.mT, images) if flats.shape[-1] == flats.shape[-2] else images


def _specimens(material: Material, number: int, generator: torch.Generator) -> Tensor:
    """Log transmissions (number, H, W): pieces of the specimens, turned; often none, sometimes the sum of two."""
    device = material.specimens.device
    share = torch.rand(number, 1, 1, generator=generator, device=device)
    pieces = [_pieces(material, number, generator) for _ in range(2)]
    return pieces[0] * (share >= _BARE) + pieces[1] * (share >= 1 - _DOUBLE)


def _pieces(material: Material, number: int, generator: torch.Generator) -> Tensor:
    specimens, device = material.specimens, material.specimens.device
    (height, width), side = material.flats.shape[-2:], specimens.shape[-1]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    image = torch.randint(len(specimens), (number,), generator=generator, device=device)
    places = []
    for size in (height, width):
        start = (uniform(number, 1) * (side - size + 1)).long().clamp(max=side - size)
        steps = torch.arange(size, device=device)
        places.append(start + torch.where(uniform(number, 1) < 0.5, steps, size - 1 - steps))
    turned = uniform(number, 1, 1) < 0.5
    rows, columns = places[0][:, :, None], places[1][:, None, :]
    return specimens[image[:, None, None], torch.where(turned, columns, rows), torch.where(turned, rows, columns)]

"""The arrays in the files of the stage synthesize, drawn from one seed."""

import math

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.background.settings import Synthesize
from workflow_scripts.background.simulation import backgrounds, specimens
from workflow_scripts.background.simulation.sessions import raw_counts
from workflow_scripts.learning.seeds import derived_seed
from workflow_scripts.workflow.settings import Split

SPECIMEN_SHARE = 1.5  # side of a specimen in the training files over that of a tile, which is cropped from it
BEYOND_TRAINING = 1.25  # contrast of flat fields in the test over that in training
OPEN_SHARE = 0.25  # side of the open-beam region in a test tile over that of the tile
FADE_PX = 4  # distance around that region over which the specimen fades in
_TRAIN, _MICROSCOPE, _EARLIER, _LATER = range(4)  # purposes of random numbers


def make(settings: Synthesize, split: Split, shard: int, device: torch.device) -> dict[str, np.ndarray]:
    """The arrays of one file, described in tile_files.py."""
    return _training_tiles(settings, shard, device) if split == "train" else _test_tiles(settings, device)


def _training_tiles(settings: Synthesize, shard: int, device: torch.device) -> dict[str, np.ndarray]:
    """Specimens and sessions for training; the first file also has earlier sessions of the test microscopes."""
    generator = _generator(settings, device, _TRAIN, shard)
    side_px = settings.side_px
    pieces = specimens.log_transmission(settings.specimens, round(SPECIMEN_SHARE * side_px), generator)
    times = torch.linspace(0, settings.drift, settings.times, device=device)
    flats = [_flats(settings, generator, generator, times, 1.0) for _ in range(settings.instruments)]
    earlier = [] if shard else [_tested_flats(settings, k, _EARLIER, times) for k in range(settings.test_instruments)]
    return {
        "log_transmission": pieces.cpu().numpy(),
        "log_flat": torch.stack(flats + earlier).cpu().numpy(),
        "held_out": np.arange(len(flats) + len(earlier)) >= len(flats),
        "dose": np.array([settings.dose_min, settings.dose_max]),
        "dark": np.array(settings.dark),
    }


def _test_tiles(settings: Synthesize, device: torch.device) -> dict[str, np.ndarray]:
    """A later session of every test microscope: tiles while it drifts, references of this and an earlier session."""
    rows = []
    for k in range(settings.test_instruments):
        generator = _generator(settings, device, _LATER, k, 1)
        n_tiles, side_px = settings.test_tiles, settings.side_px
        dose = settings.dose_min * (settings.dose_max / settings.dose_min) ** backgrounds.between(generator, 0, 1)
        flats = _tested_flats(settings, k, _LATER, torch.linspace(0, settings.drift, n_tiles, device=device))
        pieces = specimens.log_transmission(n_tiles, side_px, generator)
        open_beam = torch.stack([_cleared(piece, generator) for piece in pieces])
        moments = torch.linspace(0, settings.drift, settings.references, device=device)
        references, earlier_references = (
            raw_counts(_tested_flats(settings, k, purpose, moments), dose, settings.dark, generator)
            for purpose in (_LATER, _EARLIER)
        )
        row = {
            "counts": raw_counts(pieces + flats, dose, settings.dark, generator),
            "log_transmission": pieces,
            "log_flat": flats,
            "open_beam": open_beam,
            "references": references,
            "earlier_references": earlier_references,
            "dose": torch.tensor(dose, dtype=torch.float64),
        }
        rows.append(row)
    arrays = {name: torch.stack([row[name] for row in rows]).cpu().numpy() for name in rows[0]}
    return arrays | {"dark": np.array(settings.dark)}


def _cleared(piece: Tensor, generator: torch.Generator) -> Tensor:
    """Clear a random square of a specimen (H, W), in place; returns its [top, left, bottom, right], px.

    The specimen fades in over a few pixels around it, so that the square has no visible edge.
    """
    side_px = piece.shape[-1]
    open_px = round(OPEN_SHARE * side_px)
    top, left = (int(backgrounds.between(generator, 0, 1) * (side_px - open_px + 1)) for _ in range(2))
    line = torch.arange(side_px, device=piece.device)
    outside = [(first - line).clamp(min=0) + (line - first - open_px + 1).clamp(min=0) for first in (top, left)]
    away_px = torch.hypot(outside[0][:, None].float(), outside[1][None].float())
    piece *= torch.sin(0.5 * math.pi * (away_px / FADE_PX).clamp(max=1)) ** 2
    return torch.tensor([top, left, top + open_px, left + open_px])


def _tested_flats(settings: Synthesize, instrument: int, purpose: int, times: Tensor) -> Tensor:
    """ln of the flat fields (J, H, W) of a test microscope in its earlier or later session."""
    generators = (_generator(settings, times.device, kind, instrument) for kind in (_MICROSCOPE, purpose))
    return _flats(settings, *generators, times, BEYOND_TRAINING)


def _flats(
    settings: Synthesize, of_microscope: torch.Generator, of_session: torch.Generator, times: Tensor, severity: float
) -> Tensor:
    detector = backgrounds.draw_detector(settings.side_px, of_microscope, severity)
    lasting = backgrounds.draw_illumination(settings.side_px, of_microscope)
    persistence = settings.shading_persistence, settings.structure_persistence
    session = backgrounds.draw_session(detector, lasting, persistence, of_session, severity)
    return backgrounds.log_flats(session, times)


def _generator(settings: Synthesize, device: torch.device, *purpose: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(derived_seed(settings.seed, *purpose))

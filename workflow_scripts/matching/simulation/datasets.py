"""What the files of the stage synthesize hold, drawn from one seed."""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.seeds import derived_seed
from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings, Split, Synthesize
from workflow_scripts.matching.simulation import cells, observed
from workflow_scripts.matching.simulation.crystals import crystal, load
from workflow_scripts.matching.simulation.kinematic import Diffraction, Simulator
from workflow_scripts.matching.simulation.orientations import (
    from_direction,
    gallery_directions,
    random_rotations,
    small_rotations,
)
from workflow_scripts.matching.simulation.pattern_files import (
    DYNAMICAL,
    MAP,
    NOT_CRYSTAL,
    PLAIN,
    SEEN,
    TWO_CRYSTALS,
    UNSEEN,
    Queries,
)
from workflow_scripts.matching.simulation.structure_factors import laue_rotations

STRANGER = "silicon"  # half of the patterns that no orientation explains are of this crystal, half have no spots
GRAINS = 12  # of the synthetic polycrystal
_GRAIN_SPREAD_DEG = 0.3  # of the orientation inside a grain, about each axis
_SECOND_SHARE = 0.4  # of the spots' intensity in the second crystal
_TRAIN, _TEST = range(2)  # purposes of random numbers


def make(settings: Synthesize, split: Split, shard: int, device: torch.device) -> dict[str, np.ndarray]:
    """The arrays of one file, see pattern_files.py.

    Raises:
        InputError: the crystal's file cannot be used.
    """
    specimen = load(settings.crystal)
    simulator = Simulator(specimen, diffraction_of(settings.diffraction), device)
    symmetry = laue_rotations(specimen)
    middles = cells.tested_middles(settings.cells, symmetry)
    if split == "train":
        return _pairs(settings, shard, simulator, symmetry, middles)
    return asdict(_queries(settings, simulator, symmetry, middles))


def diffraction_of(settings: DiffractionSettings) -> Diffraction:
    """Illumination, camera and crystal size for the simulator."""
    return Diffraction(**settings.model_dump())


def ranges_of(settings: ObservationSettings) -> observed.ObservationRanges:
    """From what observed patterns draw their distortions."""
    return observed.ObservationRanges(**settings.model_dump())


def _pairs(
    settings: Synthesize, shard: int, simulator: Simulator, symmetry: Tensor, middles: Tensor
) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, _TRAIN, shard))
    rotation = cells.seen_rotations(settings.train_patterns, middles, symmetry, generator)
    seen = _expected(settings, simulator, rotation, generator)
    return {
        "calculated": simulator.patterns(rotation).cpu().numpy(),
        "spots": seen.spots.cpu().numpy(),
        "background": seen.background.cpu().numpy(),
        "rotation": rotation.numpy(),
    }


def _queries(settings: Synthesize, simulator: Simulator, symmetry: Tensor, middles: Tensor) -> Queries:
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, _TEST))
    split = middles, symmetry, generator
    number, first = settings.queries, settings.dose_e[0]
    none = torch.zeros(number, 3, 3, dtype=torch.float64)
    rows = []

    def add(
        kind: str, region: str, dose_e: float, rotation: Tensor, second: Tensor | None = None, two_beam: bool = False
    ) -> None:
        patterns = _expected(settings, simulator, rotation, generator, second, two_beam)
        rows.append((kind, region, dose_e, rotation, none if second is None else second, patterns))

    for dose_e in settings.dose_e:
        add(PLAIN, UNSEEN, dose_e, cells.unseen_rotations(number, *split))
    add(PLAIN, SEEN, first, cells.seen_rotations(number, *split))
    add(DYNAMICAL, UNSEEN, first, cells.unseen_rotations(number, *split), two_beam=True)
    add(TWO_CRYSTALS, UNSEEN, first, *(cells.unseen_rotations(number, *split) for _ in range(2)))
    stranger = Simulator(crystal(STRANGER), simulator.diffraction, simulator.device)
    patterns = _expected(settings, stranger, random_rotations(number, generator), generator)
    patterns.spots[::2] = patterns.background[::2]
    rows.append((NOT_CRYSTAL, UNSEEN, first, none, none, patterns))
    rotation = _polycrystal(settings.map_px, cells.unseen_rotations(GRAINS, *split), generator)
    patterns = _expected(settings, simulator, rotation, generator)
    rows.append((MAP, UNSEEN, first, rotation, torch.zeros_like(rotation), patterns))

    directions = gallery_directions(settings.gallery, symmetry)
    gallery = from_direction(directions)
    count = [len(row[3]) for row in rows]
    dose_e = np.repeat([row[2] for row in rows], count)
    counts = [
        observed.counts(
            patterns.spots.cpu(), patterns.background.cpu(), dose, settings.background_share * dose, generator
        )
        for _, _, dose, _, _, patterns in rows
    ]
    return Queries(
        gallery=simulator.patterns(gallery).cpu().numpy(),
        gallery_rotation=gallery.numpy(),
        counts=torch.cat(counts).numpy(),
        rotation=torch.cat([row[3] for row in rows]).numpy(),
        second_rotation=torch.cat([row[4] for row in rows]).numpy(),
        kind=np.repeat([row[0] for row in rows], count),
        region=np.repeat([row[1] for row in rows], count),
        dose_e=dose_e.astype(np.float64),
        symmetry=symmetry.numpy(),
    )


def _expected(
    settings: Synthesize,
    simulator: Simulator,
    rotation: Tensor,
    generator: torch.Generator,
    second: Tensor | None = None,
    two_beam: bool = False,
) -> observed.Expected:
    observation = observed.draw(ranges_of(settings.observation), simulator.diffraction, len(rotation), generator)
    return observed.expected(simulator, rotation, observation, two_beam, second, _SECOND_SHARE)


def _polycrystal(side_px: int, grains: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (side², 3, 3), row by row, of a map of Voronoi grains."""
    seeds = torch.rand(len(grains), 2, generator=generator) * side_px
    line = torch.arange(side_px) + 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = torch.stack([y, x], dim=-1).flatten(0, 1)
    grain = torch.cdist(place, seeds).argmin(dim=1)
    return small_rotations((side_px**2,), _GRAIN_SPREAD_DEG, generator) @ grains[grain]

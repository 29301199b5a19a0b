"""The arrays of the stage synthesize: training pairs, or gallery and queries."""

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.seeds import derived_seed
from workflow_scripts.matching.settings import Synthesize
from workflow_scripts.matching.simulation import cells, observed, orientations
from workflow_scripts.matching.simulation import pattern_files as files
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.pairs import pair_arrays
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.settings import Split

_FOREIGN_CRYSTAL = "silicon"  # half of the queries `not_crystal` are patterns of it, the other half have no spots
GRAINS = 12  # of the synthetic polycrystal
_GRAIN_SPREAD_DEG = 0.3  # standard deviation of the orientation inside a grain, about each axis
_SECOND_SHARE = 0.4  # of the spots' intensity in the second crystal
_TRAIN, _TEST = range(2)  # purposes of random numbers


def make(settings: Synthesize, split: Split, shard: int, device: torch.device) -> dict[str, np.ndarray]:
    """The arrays of one file, see pairs.py and pattern_files.py.

    Raises:
        InputError: the crystal's file cannot be used.
    """
    specimen = load(settings.crystal)
    simulator = Simulator(specimen, settings.diffraction, device)
    symmetry = laue_rotations(specimen)
    middles = cells.tested_middles(settings.cells, symmetry)
    if split == "train":
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, _TRAIN, shard))
        rotation = cells.seen_rotations(settings.train_patterns, middles, symmetry, generator)
        observation = observed.draw(settings.observation, settings.diffraction, len(rotation), generator)
        return pair_arrays(simulator, rotation, observation)
    return asdict(_queries(settings, simulator, symmetry, middles))


class _Group(NamedTuple):
    """Queries of one kind; rotation, second: (Q, 3, 3) of the crystal and of a second one, or zeros."""

    kind: str
    region: str
    dose_e: float
    rotation: Tensor
    second: Tensor
    patterns: observed.Expected


def _queries(settings: Synthesize, simulator: Simulator, symmetry: Tensor, middles: Tensor) -> files.Queries:
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, _TEST))
    groups = _groups(settings, simulator, symmetry, middles, generator)
    gallery = orientations.from_direction(orientations.gallery_directions(settings.gallery, symmetry))
    sizes = [len(group.rotation) for group in groups]
    counts = []
    for group in groups:
        spots, background = group.patterns.spots.cpu(), group.patterns.background.cpu()
        background_e = settings.background_share * group.dose_e
        counts.append(observed.counts(spots, background, group.dose_e, background_e, generator))
    return files.Queries(
        gallery=simulator.patterns(gallery).cpu().numpy(),
        gallery_rotation=gallery.numpy(),
        counts=torch.cat(counts).numpy(),
        rotation=torch.cat([group.rotation for group in groups]).numpy(),
        second_rotation=torch.cat([group.second for group in groups]).numpy(),
        kind=np.repeat([group.kind for group in groups], sizes),
        region=np.repeat([group.region for group in groups], sizes),
        dose_e=np.repeat([group.dose_e for group in groups], sizes).astype(np.float64),
        symmetry=symmetry.numpy(),
    )


def _groups(
    settings: Synthesize, simulator: Simulator, symmetry: Tensor, middles: Tensor, generator: torch.Generator
) -> list[_Group]:
    """Queries of all kinds, in the order of the test file."""
    number, first = settings.queries, settings.dose_e[0]
    groups = []

    def unseen(count: int = number) -> Tensor:
        return cells.unseen_rotations(count, middles, symmetry, generator)

    def add(
        kind: str, region: str, dose_e: float, rotation: Tensor, second: Tensor | None = None, two_beam: bool = False
    ) -> None:
        patterns = _expected(settings, simulator, rotation, generator, second, two_beam)
        second = torch.zeros_like(rotation) if second is None else second
        groups.append(_Group(kind, region, dose_e, rotation, second, patterns))

    for dose_e in settings.dose_e:
        add(files.PLAIN, files.UNSEEN, dose_e, unseen())
    add(files.PLAIN, files.SEEN, first, cells.seen_rotations(number, middles, symmetry, generator))
    add(files.DYNAMICAL, files.UNSEEN, first, unseen(), two_beam=True)
    add(files.TWO_CRYSTALS, files.UNSEEN, first, unseen(), unseen())
    foreign = Simulator(load(_FOREIGN_CRYSTAL), simulator.diffraction, simulator.device)
    patterns = _expected(settings, foreign, orientations.random_rotations(number, generator), generator)
    patterns.spots[::2] = patterns.background[::2]
    zeros = torch.zeros(number, 3, 3, dtype=torch.float64)
    groups.append(_Group(files.NOT_CRYSTAL, files.UNSEEN, first, zeros, zeros, patterns))
    add(files.MAP, files.UNSEEN, first, _polycrystal(settings.map_px, unseen(GRAINS), generator))
    return groups


def _expected(
    settings: Synthesize,
    simulator: Simulator,
    rotation: Tensor,
    generator: torch.Generator,
    second: Tensor | None = None,
    two_beam: bool = False,
) -> observed.Expected:
    observation = observed.draw(settings.observation, simulator.diffraction, len(rotation), generator)
    return observed.expected(simulator, rotation, observation, two_beam, second, _SECOND_SHARE)


def _polycrystal(side_px: int, grains: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (side², 3, 3), row by row, of a map of Voronoi grains."""
    seeds = torch.rand(len(grains), 2, generator=generator) * side_px
    line = torch.arange(side_px) + 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = torch.stack([y, x], dim=-1).flatten(0, 1)
    grain = torch.cdist(place, seeds).argmin(dim=1)
    return orientations.small_rotations((side_px**2,), _GRAIN_SPREAD_DEG, generator) @ grains[grain]

"""The arrays of the stage synthesize: training pairs, or gallery and queries."""

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.seeds import derived_seed
from workflow_scripts.matching.settings import Synthesize
from workflow_scripts.matching.simulation import cells, observed, orientations
from workflow_scripts.matching.simulation import pattern_files as files
from workflow_scripts.matching.simulation.bloch import BlochSimulator
from workflow_scripts.matching.simulation.crystals import load
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.pairs import pair_arrays
from workflow_scripts.matching.simulation.structure_factors import laue_rotations
from workflow_scripts.workflow.settings import Split

_FOREIGN_CRYSTAL = "silicon"  # half of the queries `not_crystal` are patterns of it, the other half have no spots
GRAINS = 12  # of the synthetic polycrystal
_GRAIN_SPREAD_DEG = 0.3  # standard deviation of the orientation inside a grain, about each axis
_SECOND_SHARE = 0.4  # of the spots' intensity in the second crystal
# Damaged by the beam: disorder fades the outer spots, and more of the specimen is amorphous
_DAMPING_A2, _AMORPHOUS = 20.0, 3.0
_THICKEST = 3.0  # of the crystals of the dynamical queries, times the calculated thickness, the thinnest being 1
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
    """Queries of one kind.

    rotation, second: (Q, 3, 3) of the crystal and of a second one, or zeros. session: (Q,) of the microscope.
    """

    kind: str
    region: str
    dose_e: float
    rotation: Tensor
    second: Tensor
    session: Tensor
    patterns: observed.Expected


def _queries(settings: Synthesize, simulator: Simulator, symmetry: Tensor, middles: Tensor) -> files.Queries:
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, _TEST))
    groups = _groups(settings, simulator, symmetry, middles, generator)
    gallery = orientations.from_direction(orientations.gallery_directions(settings.gallery, symmetry))
    sizes = [len(group.rotation) for group in groups]
    counts = []
    for group in groups:
        spots, background = group.patterns.spots.cpu(), group.patterns.background.cpu()
        amorphous = _AMORPHOUS if group.kind == files.DAMAGED else 1.0
        background_e = amorphous * settings.background_share * group.dose_e
        counts.append(observed.counts(spots, background, group.dose_e, background_e, generator))
    return files.Queries(
        gallery=simulator.patterns(gallery).cpu().numpy(),
        gallery_rotation=gallery.numpy(),
        counts=torch.cat(counts).numpy(),
        rotation=torch.cat([group.rotation for group in groups]).numpy(),
        second_rotation=torch.cat([group.second for group in groups]).numpy(),
        session=torch.cat([group.session for group in groups]).numpy(),
        kind=np.repeat([group.kind for group in groups], sizes),
        region=np.repeat([group.region for group in groups], sizes),
        dose_e=np.repeat([group.dose_e for group in groups], sizes).astype(np.float64),
        symmetry=symmetry.numpy(),
    )


class _Microscope:
    """Observes queries in the sessions of the test, those of a group one after another."""

    def __init__(self, settings: Synthesize, generator: torch.Generator) -> None:
        self._settings, self._generator = settings, generator
        self._sessions = self._draw(settings.sessions)

    def _draw(self, number: int) -> observed.Observation:
        return observed.draw(self._settings.observation, self._settings.diffraction, number, self._generator)

    def observe(
        self, simulator: Simulator, rotation: Tensor, session: Tensor, thickest: float = 1.0, **options
    ) -> observed.Expected:
        """Expected patterns of orientations (Q, 3, 3); options: of `observed.expected`."""
        variation = self._settings.observation.session_variation
        observation = observed.in_session(self._draw(len(rotation)), self._sessions[session], variation)
        thicker = 1 + (thickest - 1) * torch.rand(len(rotation), generator=self._generator)
        observation = replace(observation, thickness_nm=observation.thickness_nm * thicker)
        return observed.expected(simulator, rotation, observation, **options)


def _groups(
    settings: Synthesize, simulator: Simulator, symmetry: Tensor, middles: Tensor, generator: torch.Generator
) -> list[_Group]:
    """Queries of all kinds, in the order of the test file."""
    number, first = settings.queries, settings.dose_e[0]
    microscope = _Microscope(settings, generator)
    groups = []

    def unseen(count: int = number) -> Tensor:
        return cells.unseen_rotations(count, middles, symmetry, generator)

    def add(
        kind: str,
        rotation: Tensor,
        dose_e: float = first,
        region: str = files.UNSEEN,
        made: Simulator = simulator,
        second: Tensor | None = None,
        **options,
    ) -> None:
        # A scan is one session
        session = torch.arange(len(rotation)) % (1 if kind == files.MAP else settings.sessions)
        patterns = microscope.observe(made, rotation, session, second=second, **options)
        second = torch.zeros_like(rotation) if second is None else second
        groups.append(_Group(kind, region, dose_e, rotation, second, session, patterns))

    for dose_e in settings.dose_e:
        add(files.PLAIN, unseen(), dose_e)
    add(files.PLAIN, cells.seen_rotations(number, middles, symmetry, generator), region=files.SEEN)
    dynamical = BlochSimulator(simulator.crystal, simulator.diffraction, simulator.device)
    add(files.DYNAMICAL, unseen(), made=dynamical, thickest=_THICKEST)
    add(files.DAMAGED, unseen(), damping_a2=_DAMPING_A2)
    add(files.TWO_CRYSTALS, unseen(), second=unseen(), second_share=_SECOND_SHARE)
    foreign = Simulator(load(_FOREIGN_CRYSTAL), simulator.diffraction, simulator.device)
    add(files.NOT_CRYSTAL, orientations.random_rotations(number, generator), made=foreign)
    groups[-1].rotation.zero_()
    groups[-1].patterns.spots[::2] = groups[-1].patterns.background[::2]
    add(files.MAP, _polycrystal(settings.map_px, unseen(GRAINS), generator))
    return groups


def _polycrystal(side_px: int, grains: Tensor, generator: torch.Generator) -> Tensor:
    """Orientations (side², 3, 3), row by row, of a map of Voronoi grains."""
    seeds = torch.rand(len(grains), 2, generator=generator) * side_px
    line = torch.arange(side_px) + 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = torch.stack([y, x], dim=-1).flatten(0, 1)
    grain = torch.cdist(place, seeds).argmin(dim=1)
    return orientations.small_rotations((side_px**2,), _GRAIN_SPREAD_DEG, generator) @ grains[grain]

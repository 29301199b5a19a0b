"""Samples of crystals that fill the field of view, and of the recipe's crystal patches in vacuum."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import ImageSeries, Probe
from workflow_scripts.potential.settings import Synthesize, is_file
from workflow_scripts.potential.simulation.patches import patch
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, PATCH, RING, Microscope, Samples, joined
from workflow_scripts.potential.simulation.specimens import View, compute, low_pass
from workflow_scripts.potential.simulation.structures import Crystal, crystal, read_structure
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import Split

_SPLITS = ("train", "test")
_KINDS = (FILLED, PATCH)
_MONOLAYER = "MoS2"


def crystals(settings: Synthesize) -> list[Crystal]:
    """The crystals of the settings, with their names as in the tables.

    Raises:
        InputError: a file is not a structure that can be used.
    """
    return [read_structure(Path(name)) if is_file(name) else crystal(name) for name in settings.materials]


def make_samples(settings: Synthesize, split: Split, shard: int, device: torch.device) -> Samples:
    """The samples of one file, with orientations that no other file has.

    A training file holds as many patches as views of filled crystals.

    Raises:
        InputError: a structure cannot be used, or the settings do not fit each other.
    """
    counts = {FILLED: settings.orientations, PATCH: settings.orientations * settings.views}
    if split == "test":
        counts = {FILLED: settings.test_orientations, PATCH: settings.test_patches}
    materials = crystals(settings)
    samples = []
    try:
        with Progress(len(materials) * sum(counts.values()), "specimens") as progress:
            for (index, material), (kind, count) in product(enumerate(materials), counts.items()):
                make = _filled if kind == FILLED else _patched
                for number in range(count):
                    # Each specimen has a separate seed, so that it does not depend on the others
                    seed = [settings.seed, _SPLITS.index(split), shard, index, _KINDS.index(kind), number]
                    name = f"{material.material}-{kind}-{split}{shard}-{number}"
                    samples += make(settings, material, name, np.random.default_rng(seed), device)
                    progress.advance()
    except ValueError as error:
        raise InputError(f"potential.synthesize: {error}") from None
    return joined(samples)


def _filled(
    settings: Synthesize, material: Crystal, name: str, rng: np.random.Generator, device: torch.device
) -> Iterator[Samples]:
    """Every view and thickness of one orientation, from one multislice in the frame of the crystal."""
    tilt_deg = rng.normal(0, settings.tilt_std_deg, 2)
    views = [View(rng.uniform(0, 360), tuple(rng.uniform(0, material.cell_a[1:]))) for _ in range(settings.views)]
    detectors = [_detectors(settings, -view.rotation_deg) for view in views]
    computed = compute(
        material,
        _probe(settings, tuple(1e3 * np.radians(tilt_deg))),
        [detector for pair in detectors for detector in pair],
        settings.thickness_nm,
        settings.multislice,
        _generator(rng),
        device,
    )
    n_segments = sum(detector.segments for detector in detectors[0])
    shape = (settings.side_px, settings.side_px)
    for index, view in enumerate(views):
        positions_a = view.positions_a(settings.side_px, settings.pixel_size_a)
        of_view = computed.images.coefficients[:, index * n_segments : (index + 1) * n_segments]
        series = (ImageSeries(of_view, computed.images.period_a), *_potentials(settings, computed.potential))
        arrays = [part.at(positions_a).unflatten(-1, shape).numpy().astype(np.float32) for part in series]
        rotation_deg = (view.rotation_deg, *view.to_scan(tilt_deg))
        yield _described(settings, arrays, computed.thickness_nm, rotation_deg, material, name, FILLED)


def _patched(
    settings: Synthesize, material: Crystal, name: str, rng: np.random.Generator, device: torch.device
) -> Iterator[Samples]:
    """Every thickness of one patch. MoS2 is always a single layer, whatever its nominal thickness, as in the recipe."""
    side_a = settings.side_px * settings.pixel_size_a
    rotation_deg, tilt_deg = rng.uniform(0, 360), rng.normal(0, settings.tilt_std_deg, 2)
    single_layer = material.material == _MONOLAYER
    block = material.layer() if single_layer else material
    simulated_nm = (0.1 * block.cell_a[0],) if single_layer else settings.thickness_nm
    floating = patch(
        block,
        cell_a=(side_a, side_a),
        side_a=settings.patch.side_share * side_a,
        thickness_a=10 * simulated_nm[-1],
        # A patch counts angles from x to y, and its tilts move the atoms where ours move the beam
        rotation_deg=-rotation_deg,
        tilt_deg=(-tilt_deg[1], tilt_deg[0]),
        centre_a=tuple(rng.uniform(0, material.cell_a[1:])),
    )
    computed = compute(
        floating,
        _probe(settings, (0.0, 0.0)),
        _detectors(settings, 0.0),
        simulated_nm,
        settings.multislice.model_copy(update={"slice_a": settings.patch.slice_a, "field_a": side_a}),
        _generator(rng),
        device,
    )
    shape = (settings.side_px, settings.side_px)
    series = (computed.images, *_potentials(settings, computed.potential))
    arrays = [part.raster(shape).numpy().astype(np.float32) for part in series]
    labels_nm = computed.thickness_nm
    if single_layer:
        labels_nm = settings.thickness_nm
        arrays = [array.repeat(len(labels_nm), axis=0) for array in arrays]
    yield _described(settings, arrays, labels_nm, (rotation_deg, *tilt_deg), material, name, PATCH)


def _described(
    settings: Synthesize,
    arrays: Sequence[np.ndarray],
    thickness_nm: Sequence[float],
    rotation_deg: tuple[float, float, float],
    material: Crystal,
    name: str,
    kind: str,
) -> Samples:
    """Images (T, D, H, W), potential and limited potential (T, H, W) of one view as samples."""
    images, potential, limited = arrays
    microscope, n = settings.microscope, len(thickness_nm)
    half = images.shape[1] // 2
    return Samples(
        images={RING: images[:, :half], MATCHED: images[:, half:]},
        potential=potential,
        potential_limited=limited,
        thickness_nm=np.array(thickness_nm, dtype=np.float64),
        rotation_deg=np.tile(np.array(rotation_deg, dtype=np.float64), (n, 1)),
        material=np.array([material.material] * n),
        specimen=np.array([name] * n),
        kind=np.array([kind] * n),
        microscope=Microscope(
            pixel_size_a=settings.pixel_size_a,
            ring_mrad={RING: microscope.ring_mrad, MATCHED: microscope.matched_ring_mrad},
            voltage_kv=microscope.voltage_kv,
            semiangle_mrad=microscope.semiangle_mrad,
        ),
    )


def _probe(settings: Synthesize, tilt_mrad: tuple[float, float]) -> Probe:
    scope = settings.microscope
    return Probe(scope.voltage_kv, scope.semiangle_mrad, scope.defocus_a, scope.cs_mm, tilt_mrad, scope.source_size_a)


def _detectors(settings: Synthesize, rotation_deg: float) -> list[Detector]:
    """The recipe's ring and the matched one, in the order of their images."""
    rings_mrad = (settings.microscope.ring_mrad, settings.microscope.matched_ring_mrad)
    return [Detector(*ring_mrad, segments=4, rotation_deg=rotation_deg) for ring_mrad in rings_mrad]


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _potentials(settings: Synthesize, potential: ImageSeries) -> tuple[ImageSeries, ImageSeries]:
    """The potential up to the Nyquist frequency of the raster, and up to that of an image of the microscope."""
    nyquist_per_a = 0.5 / settings.pixel_size_a
    limit_per_a = min(nyquist_per_a, 2 * _probe(settings, (0.0, 0.0)).radius_per_a)
    return low_pass(potential, nyquist_per_a), low_pass(potential, limit_per_a)

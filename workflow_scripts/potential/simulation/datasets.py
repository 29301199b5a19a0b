"""Samples of crystals that fill the field of view, and of the recipe's crystal patches in vacuum."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import ImageSeries, Probe
from workflow_scripts.potential.settings import MicroscopeSettings, Synthesize, is_file, material_name
from workflow_scripts.potential.simulation.patches import patch
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, PATCH, RING, Microscope, Samples, joined
from workflow_scripts.potential.simulation.specimens import Computed, View, compute, low_pass, with_source
from workflow_scripts.potential.simulation.structures import Crystal, crystal, read_structure
from workflow_scripts.study.conditions import condition
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

    A training file holds as many patches as views of filled crystals; in the test file the samples under other settings
    of the microscope come last.

    Raises:
        InputError: a structure cannot be used, or the settings do not fit each other.
    """
    materials = crystals(settings)
    specimens = [
        (material, kind, number, [settings.seed, _SPLITS.index(split), shard, index, _KINDS.index(kind), number])
        for (index, material), kind in product(enumerate(materials), _KINDS)
        for number in range(_count(settings, split, material.material, kind))
    ]
    samples = []
    try:
        with Progress(len(specimens), "specimens") as progress:
            for material, kind, number, seed in specimens:
                make = _patched if kind == PATCH else _filled if split == "train" else _filled_test
                name = f"{material.material}-{kind}-{split}{shard}-{number}"
                # Each specimen has a separate seed, so that it does not depend on the others
                samples += make(settings, material, name, np.random.default_rng(seed), device)
                progress.advance()
    except ValueError as error:
        raise InputError(f"potential.synthesize: {error}") from None
    return joined(sorted(samples, key=lambda part: part.setting[0] != ""))


def _count(settings: Synthesize, split: Split, material: str, kind: str) -> int:
    """Number of specimens of a material and kind in a file."""
    if split == "train":
        return settings.orientations * (settings.views if kind == PATCH else 1)
    if kind == PATCH:
        return settings.test_patches
    held_out = material == material_name(settings.held_out_material)
    return settings.test_orientations_held_out if held_out else settings.test_orientations


def _filled(
    settings: Synthesize, material: Crystal, name: str, rng: np.random.Generator, device: torch.device
) -> Iterator[Samples]:
    """The views of one orientation for the training, at thicknesses from all parts of the range."""
    on_axis = rng.random() < settings.zone_axis_share
    tilt_deg = np.zeros(2) if on_axis else rng.normal(0, settings.tilt_std_deg, 2)
    edges = np.log(settings.thickness_nm[0]), np.log(settings.thickness_nm[-1])
    n = len(settings.thickness_nm)
    thickness_nm = np.exp(edges[0] + (edges[1] - edges[0]) * (np.arange(n) + rng.random(n)) / n).tolist()
    views = _views(material, settings.views, rng)
    computed = _computed(
        settings, settings.microscope, material, tilt_deg, views, thickness_nm, _generator(rng), device
    )
    yield from _scans(settings, computed, material, name, tilt_deg, views)


def _filled_test(
    settings: Synthesize, material: Crystal, name: str, rng: np.random.Generator, device: torch.device
) -> Iterator[Samples]:
    """The views of one orientation for the test; of a seen material also under the other settings of the microscope."""
    tilt_deg = np.zeros(2) if name.endswith("-0") else rng.normal(0, settings.tilt_std_deg, 2)
    scope, views = settings.microscope, _views(material, settings.test_views, rng)
    specimen = material, tilt_deg, views
    computed = _computed(settings, scope, *specimen, settings.test_thickness_nm, _generator(rng), device)
    yield from _scans(settings, computed, material, name, tilt_deg, views)
    if material.material == material_name(settings.held_out_material):
        return
    thickness_nm = settings.conditions.thickness_nm
    nominal = computed.after(settings.test_thickness_nm.index(thickness_nm))
    changed = {}
    for size_a in settings.conditions.source_size_a:
        images = with_source(nominal.images, scope.source_size_a, size_a)
        changed[condition(source_size_a=size_a)] = replace(nominal, images=images)
    for error_a in settings.conditions.defocus_a:
        defocused = scope.model_copy(update={"defocus_a": scope.defocus_a + error_a})
        computed = _computed(settings, defocused, *specimen, [thickness_nm], _generator(rng), device)
        changed[condition(defocus_a=error_a)] = computed
    for setting, computed in changed.items():
        for samples in _scans(settings, computed, material, name, tilt_deg, views):
            yield replace(samples, setting=np.array([setting]))


def _views(material: Crystal, count: int, rng: np.random.Generator) -> list[View]:
    return [View(rng.uniform(0, 360), tuple(rng.uniform(0, material.cell_a[1:]))) for _ in range(count)]


def _computed(
    settings: Synthesize,
    scope: MicroscopeSettings,
    material: Crystal,
    tilt_deg: np.ndarray,
    views: Sequence[View],
    thickness_nm: Sequence[float],
    generator: torch.Generator,
    device: torch.device,
) -> Computed:
    """One multislice in the frame of the crystal; both detectors of every view, one view after the other."""
    detectors = [detector for view in views for detector in _detectors(settings, -view.rotation_deg)]
    probe = _probe(scope, tuple(1e3 * np.radians(tilt_deg)))
    return compute(material, probe, detectors, thickness_nm, settings.multislice, generator, device)


def _scans(
    settings: Synthesize, computed: Computed, material: Crystal, name: str, tilt_deg: np.ndarray, views: Sequence[View]
) -> Iterator[Samples]:
    """Every thickness of each view."""
    n_segments = computed.images.coefficients.shape[1] // len(views)
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
        _probe(settings.microscope, (0.0, 0.0)),
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
        cell_a=np.tile(np.array(material.cell_a[1:], dtype=np.float64), (n, 1)),
        material=np.array([material.material] * n),
        specimen=np.array([name] * n),
        kind=np.array([kind] * n),
        setting=np.array([""] * n),
        microscope=Microscope(
            pixel_size_a=settings.pixel_size_a,
            ring_mrad={RING: microscope.ring_mrad, MATCHED: microscope.matched_ring_mrad},
            voltage_kv=microscope.voltage_kv,
            semiangle_mrad=microscope.semiangle_mrad,
        ),
    )


def _probe(scope: MicroscopeSettings, tilt_mrad: tuple[float, float]) -> Probe:
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
    limit_per_a = min(nyquist_per_a, 2 * _probe(settings.microscope, (0.0, 0.0)).radius_per_a)
    return low_pass(potential, nyquist_per_a), low_pass(potential, limit_per_a)

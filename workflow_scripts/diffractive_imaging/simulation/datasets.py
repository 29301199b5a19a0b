"""Training and test files: which arrays they hold, and how these are simulated and read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.diffractive_imaging.settings import CrystalName, ProbeSettings, Synthesize
from workflow_scripts.diffractive_imaging.simulation import crystals, forward, objects, perturbations, photographs
from workflow_scripts.diffractive_imaging.simulation.perturbations import PERTURBATIONS
from workflow_scripts.learning.devices import host_work
from workflow_scripts.optics.probe import make_probe, pixel_size_a
from workflow_scripts.workflow.arrays import ArrayError, open_npy
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays

PHOTOGRAPH, DEAD_LEAVES, STEP_EDGE = "photograph", "dead_leaves", "step_edge"
# A patch that receives fewer of the electrons explains little of the pattern: the probe is not centred or not focused.
LEAST_LIT_SHARE = 0.5
_WEAKEST = 1e-100  # smallest amplitude whose square does not underflow
CALIBRATION = "calibration"  # a 1/f object, scanned only to calibrate uncertainties
# Arrays of an illumination: axes, and kinds of type
_ILLUMINATION = {"probe": (2, "c"), "pixel_size_a": (0, "f"), "dose_e": (0, "f"), "upsampling": (0, "i")}
SYNTHETIC = ("dead leaves", "1/f")


@dataclass(frozen=True)
class Illumination:
    """The probe and the dose.

    probe: complex128 (n, n), centred at [n//2, n//2], ∑|P|² = 1.
    pixel_size_a: side of an object pixel, Å.
    dose_e: electrons per pattern at full dose.
    upsampling: fine pixels per object pixel in a patch.
    """

    probe: Tensor
    pixel_size_a: float
    dose_e: float
    upsampling: int = forward.UPSAMPLING

    @property
    def n(self) -> int:
        """Pixels along each side of pattern, probe and patch."""
        return self.probe.shape[-1]

    def mask(self) -> Tensor:
        """Where a patch is predicted: bool (n, n) on the fine grid."""
        return forward.patch_mask(self.probe, self.upsampling)

    def patch_weights(self) -> Tensor:
        """|P|² inside the mask, zero outside: float64 (n, n) on the fine grid."""
        return forward.patch_illumination(self.probe, self.upsampling) * self.mask()

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that every file of this module holds of it."""
        return {
            "probe": self.probe.numpy(),
            "pixel_size_a": np.float64(self.pixel_size_a),
            "dose_e": np.float64(self.dose_e),
            "upsampling": np.int64(self.upsampling),
        }

    @classmethod
    def read(cls, path: Path) -> "Illumination":
        """The illumination of a file of this module.

        Raises:
            InputError: the file is broken.
        """
        arrays = _read(path, _ILLUMINATION)
        numbers = float(arrays["pixel_size_a"]), float(arrays["dose_e"]), int(arrays["upsampling"])
        return cls(torch.from_numpy(arrays["probe"]), *numbers)


@dataclass(frozen=True)
class Scan:
    """The recorded patterns and positions of one scan, without its truth.

    counts: float32 (P, n, n) as the detector recorded them.
    positions_px: float64 (P, 2) [y, x], object pixels.
    detector_transposed: whether the recorded patterns have x and y exchanged.
    """

    counts: Tensor
    positions_px: Tensor
    detector_transposed: bool

    def along_object(self) -> "Scan":
        """The same scan with the axes of its patterns along the object's."""
        if not self.detector_transposed:
            return self
        return Scan(self.counts.transpose(1, 2).contiguous(), self.positions_px, detector_transposed=False)

    def thinned(self, every: int) -> "Scan":
        """Every how many-th row and column of a square raster, rows first."""
        if every == 1:
            return self
        side = math.isqrt(len(self.counts))
        kept = torch.arange(side * side).reshape(side, side)[::every, ::every].flatten()
        return Scan(self.counts[kept], self.positions_px[kept], self.detector_transposed)


@host_work()
def read_scan(path: Path, name: str, dose_e: float) -> Scan:
    """One scan of a test file, without its truth, at one of the file's test_dose_e.

    Raises:
        InputError: the file is broken, or does not hold that dose.
    """
    counts, positions = f"{name}.counts", f"{name}.positions_px"
    kinds = {counts: (4, "fui"), positions: (2, "f"), "detector_transposed": (0, "b"), "test_dose_e": (1, "f")}
    arrays = _read(path, kinds)
    if arrays[counts].shape[:2] != (len(arrays["test_dose_e"]), len(arrays[positions])):
        raise InputError(
            f"{path}: {counts} is {arrays[counts].shape}, which does not fit its positions; synthesize again"
        )
    doses = arrays["test_dose_e"].tolist()
    if dose_e not in doses:
        raise InputError(f"{path} holds no scan of {dose_e:g} electrons per pattern; it holds those of {doses}")
    return Scan(
        torch.from_numpy(arrays[counts][doses.index(dose_e)].astype(np.float32)),
        torch.from_numpy(arrays[positions]),
        bool(arrays["detector_transposed"]),
    )


def _read(path: Path, kinds: dict[str, tuple[int, str]]) -> dict[str, np.ndarray]:
    """Arrays with the given number of axes and kinds of dtype, checked to be finite and not empty."""
    arrays = read_arrays(path, kinds)
    for name, (axes, types) in kinds.items():
        array = arrays[name]
        if array.ndim != axes or not array.size or array.dtype.kind not in types or not np.isfinite(array).all():
            raise InputError(
                f"{path}: {name} is {array.dtype} {array.shape}, or not finite, expected {axes} axes; synthesize again"
            )
    return arrays


def scan_names(path: Path) -> list[str]:
    """The scans of a test file: names of photographs, of dead leaves, `STEP_EDGE`, and those of `CrystalName`."""
    return read_arrays(path, ["scans"])["scans"].tolist()


class ScanSet(NamedTuple):
    """The scans of one kind of object under one condition.

    where: the values of their condition in metrics.csv: object and dose_e; phase_std_rad, but for a crystal, which
        sets its own phase; step_px of a sparse scan; perturbation, if the experiment is not what the file says.
    scans: their names in the test file.
    dose_e: electrons per pattern.
    every: every how many rows and columns of the raster are used.
    perturbation: one of `PERTURBATIONS`, or empty.
    """

    where: dict[str, str | float]
    scans: list[str]
    dose_e: float
    every: int = 1
    perturbation: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether these are whole scans by the experiment that the file describes."""
        return self.every == 1 and not self.perturbation

    def read(self, path: Path) -> list[Scan]:
        """The scans, without their truth.

        Raises:
            InputError: the file is broken.
        """
        if self.perturbation:
            return [_read_perturbed(path, name, self.perturbation) for name in self.scans]
        return [read_scan(path, name, self.dose_e).thinned(self.every) for name in self.scans]


def scan_sets(path: Path) -> list[ScanSet]:
    """The scans of a test file by kind of object: at each dose, then at full dose sparse ones and perturbed ones.

    `CALIBRATION` is a kind of its own.
    """
    names = ["scans", "scan_objects", "test_dose_e", "dose_e", "scan_phase_std_rad", "scan_step_px", "sparse_every"]
    arrays = read_arrays(path, [*names, "perturbations", "perturbed_scans"])
    full_dose_e, step_px = float(arrays["dose_e"]), float(arrays["scan_step_px"])
    sets = []
    for kind in dict.fromkeys([*arrays["scan_objects"].tolist(), CALIBRATION]):
        scans = arrays["scans"][arrays["scan_objects"] == kind].tolist() or [CALIBRATION]
        where = {"object": kind}
        if kind not in get_args(CrystalName):
            where["phase_std_rad"] = float(arrays["scan_phase_std_rad"])
        sets += [ScanSet({**where, "dose_e": dose}, scans, dose) for dose in arrays["test_dose_e"].tolist()]
        where["dose_e"] = full_dose_e
        if kind in (PHOTOGRAPH, DEAD_LEAVES):
            sets += [
                ScanSet({**where, "step_px": every * step_px}, scans, full_dose_e, every)
                for every in arrays["sparse_every"].tolist()
            ]
        perturbed = [name for name in scans if name in arrays["perturbed_scans"]]
        for name in arrays["perturbations"].tolist() if perturbed else ():
            sets.append(ScanSet({**where, "perturbation": name}, perturbed, full_dose_e, perturbation=name))
    return sets


def full_dose_photographs(path: Path) -> ScanSet:
    """The photographs of a test file at full dose."""
    full = Illumination.read(path).dose_e
    return next(scans for scans in scan_sets(path) if (scans.where["object"], scans.dose_e) == (PHOTOGRAPH, full))


def _read_perturbed(path: Path, name: str, perturbation: str) -> Scan:
    counts, positions = f"{name}.{perturbation}.counts", f"{name}.positions_px"
    arrays = _read(path, {counts: (3, "fui"), positions: (2, "f"), "detector_transposed": (0, "b")})
    return Scan(
        torch.from_numpy(arrays[counts].astype(np.float32)),
        torch.from_numpy(arrays[positions]),
        bool(arrays["detector_transposed"]),
    )


def illumination(settings: ProbeSettings, dose_e: float, file: Path | None) -> Illumination:
    """The probe of the parameters, or of a file.

    Raises:
        InputError: the file does not hold one finite complex wave of the detector's size, or the probe is too wide,
            or lies off the centre.
    """
    n = settings.detector_px
    size = pixel_size_a(n, settings.voltage_kv, settings.semiangle_mrad, settings.aperture_radius_px)
    if file is None:
        probe = make_probe(
            n,
            settings.voltage_kv,
            settings.semiangle_mrad,
            settings.aperture_radius_px,
            settings.defocus_a,
            settings.cs_mm,
            settings.skirt_amplitude,
            settings.skirt_decay_px,
        )
    else:
        probe = read_probe(file, n)
    light = Illumination(probe, size, dose_e)
    share = forward.lit_share(light.probe, light.upsampling)
    if share < LEAST_LIT_SHARE:
        raise InputError(
            f"{file or 'the probe'}: only {share:.0%} of the electrons fall on the patch, expected at least"
            f" {LEAST_LIT_SHARE:.0%}; is the wave centred at [{n // 2}, {n // 2}] (numpy's fftshift), in real space and"
            " focused?"
        )
    return light


def read_probe(path: Path, n: int) -> Tensor:
    try:
        wave = open_npy(path)
    except ArrayError as error:
        raise InputError(f"{path}: the probe is not a whole .npy file ({error}); save it with numpy.save") from None
    if not np.issubdtype(wave.dtype, np.number):
        raise InputError(f"{path}: the probe file holds no array of numbers; expected complex ({n}, {n})")
    if wave.shape != (n, n):
        raise InputError(f"{path}: the probe has the shape {wave.shape}, expected ({n}, {n}) as probe.detector_px says")
    if not np.iscomplexobj(wave):
        raise InputError(f"{path}: the probe is {wave.dtype}, expected the complex wave, not its intensity")
    if not np.isfinite(wave).all():
        raise InputError(f"{path}: the probe holds values that are not finite")
    wave = wave.astype(np.complex128)
    largest = float(np.abs(wave).max())
    if largest == 0:
        raise InputError(f"{path}: the probe is zero everywhere")
    if not _WEAKEST < largest < 1 / _WEAKEST:
        raise InputError(f"{path}: the probe's largest amplitude is {largest:.3g}, which is no wave; export it again")
    return torch.from_numpy(wave / np.sqrt((np.abs(wave) ** 2).sum()))


def training_set(
    settings: Synthesize,
    light: Illumination,
    train: Sequence[Path],
    validation: Sequence[Path],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One file of training objects and, with photographs of their own, validation objects.

    Returns:
        phase_rad float32 (N, n, n); counts uint32 (N, n, n), drawn once at the full dose; validation bool (N,);
        source int64 (N,), an index of source_names; and the illumination.
    """
    n_validation = max(1, round(settings.validation_share * settings.samples_per_shard))
    parts = [
        _mixture(settings, light.n, train, settings.samples_per_shard - n_validation, rng),
        _mixture(settings, light.n, validation, n_validation, rng),
    ]
    names = [*SYNTHETIC, *(path.name for path in train), *(path.name for path in validation)]
    source = np.concatenate([parts[0][1], np.where(parts[1][1] < 2, parts[1][1], parts[1][1] + len(train))])
    unit = np.concatenate([objects for objects, _ in parts])
    low, high = np.log(settings.phase_std_min_rad), np.log(settings.phase_std_max_rad)
    std = np.exp(rng.uniform(low, high, len(unit))).astype(np.float32)
    phase = unit * std[:, None, None]
    return {
        "phase_rad": phase,
        "counts": _count(light, phase, light.dose_e, rng),
        "validation": np.arange(len(unit)) >= len(parts[0][0]),
        "source": source,
        "source_names": np.array(names),
        **light.arrays(),
    }


def _mixture(
    settings: Synthesize, n: int, files: Sequence[Path], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Objects of all three kinds, shuffled, and the source of each: 0 dead leaves, 1 1/f, 2 … photographs."""
    n_leaves = round(settings.dead_leaves_share * count)
    n_fractal = round(settings.one_over_f_share * count)
    n_photographs = count - n_leaves - n_fractal
    images = [objects.dead_leaves(n_leaves, n, rng), objects.power_law_noise(n_fractal, n, rng)]
    source = [np.zeros(n_leaves, np.int64), np.ones(n_fractal, np.int64)]
    if n_photographs:
        pictures = {str(path): photographs.read_grey(path, minimum_px=2 * n) for path in files}
        crops, origin = objects.photograph_crops(pictures, n_photographs, n, rng)
        images.append(crops)
        source.append(origin + len(SYNTHETIC))
    order = rng.permutation(count)
    return np.concatenate(images)[order], np.concatenate(source)[order]


def test_set(
    settings: Synthesize, light: Illumination, files: Sequence[Path], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The frozen 1/f test set and the simulated scans.

    Returns:
        unit_phase float32 (M, n, n), to be multiplied by phase_std_rad (S,); counts uint32 (S, D, M, n, n) for
        test_dose_e (D,); scans (C,), as `scan_names` lists them, and scan_objects (C,), which kind of object each is;
        for each <scan>.phase_rad float32 (H, W) on the fine grid, <scan>.positions_px float64 (P, 2), <scan>.counts
        (D, P, n, n) for test_dose_e, of the smallest unsigned type that holds them, and the same for `CALIBRATION`;
        perturbations (X,), perturbed_scans (Y,), and for these <scan>.<perturbation>.counts (P, n, n) at full dose;
        sparse_every (Z,); scan_step_px; scan_phase_std_rad, which the crystals do not have; detector_transposed bool;
        and the illumination.
    """
    unit = objects.power_law_noise(settings.test_samples, light.n, rng)
    counts = [
        [_count(light, unit * np.float32(std), dose, rng) for dose in settings.test_dose_e]
        for std in settings.test_phase_std_rad
    ]
    arrays = {
        "unit_phase": unit,
        "phase_std_rad": np.array(settings.test_phase_std_rad),
        "test_dose_e": np.array(settings.test_dose_e),
        "counts": np.array(counts),
        "detector_transposed": np.bool_(settings.scan.detector_transposed),
        "scan_phase_std_rad": np.float64(settings.scan.phase_std_rad),
        "scan_step_px": np.float64(settings.scan.step_px),
        "sparse_every": np.array(settings.scan.sparse_every, dtype=np.int64),
    }
    return arrays | _scans(settings, light, files, rng) | light.arrays()


def _scans(
    settings: Synthesize, light: Illumination, files: Sequence[Path], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The arrays of a test file from `scans` on: of every scan, and of the perturbed ones."""
    scan = settings.scan
    # Half a window, and two more pixels for the interpolation between fine pixels.
    positions, side = raster(scan.points, scan.step_px, scan.jitter_px, light.n / 2 + 2, rng)
    doses = torch.tensor(settings.test_dose_e, dtype=torch.float32)[:, None, None, None]
    # Separate generators, so that the other arrays are the same with these scans and without.
    calibration_rng, perturbation_rng, leaves_rng = rng.spawn(3)

    def scan_shape(shape: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        fine = torch.from_numpy(objects.refine(shape * scan.phase_std_rad, forward.UPSAMPLING))
        return fine, forward.simulate_scan(light.probe, fine, positions, doses, _generator(rng))

    # By name: the true phase on the fine grid, and what the detector counts at every dose.
    scanned, kinds = {}, {}
    for path in files[: scan.photographs]:
        picture = photographs.read_grey(path, minimum_px=2 * light.n)
        scanned[path.name] = scan_shape(objects.large_photograph(str(path), picture, side), rng)
        kinds[path.name] = PHOTOGRAPH
    for number in range(scan.dead_leaves):
        name = f"{DEAD_LEAVES}_{number + 1}"
        scanned[name] = scan_shape(objects.dead_leaves(1, side, leaves_rng)[0], leaves_rng)
        kinds[name] = DEAD_LEAVES
    arrays = {}
    perturbed = list(scanned)[: scan.perturbed]
    for name in perturbed:
        assumed = light.probe, light.pixel_size_a, settings.probe.voltage_kv, scanned[name][0], positions, light.dose_e
        for perturbation in PERTURBATIONS:
            counts = perturbations.simulate(perturbation, *assumed, _generator(perturbation_rng))
            arrays[f"{name}.{perturbation}.counts"] = _recorded(counts, scan.detector_transposed)
    scanned[STEP_EDGE] = scan_shape(objects.step_edge(side), rng)
    for name in scan.crystals:
        crystal = crystals.build(name, side, light.pixel_size_a, settings.probe.voltage_kv, scan.twist_deg)
        counts = crystals.simulate_scan(light.probe, crystal, positions, doses, _generator(rng))
        scanned[name] = crystal.phase_rad, counts
    arrays |= {
        "scans": np.array(list(scanned)),
        "scan_objects": np.array([kinds.get(name, name) for name in scanned]),
        "perturbations": np.array(PERTURBATIONS if perturbed else (), dtype=str),
        "perturbed_scans": np.array(perturbed, dtype=str),
    }
    scanned[CALIBRATION] = scan_shape(objects.power_law_noise(1, side, calibration_rng)[0], calibration_rng)
    for name, (phase, counts) in scanned.items():
        arrays[f"{name}.phase_rad"] = phase.numpy()
        arrays[f"{name}.positions_px"] = positions.numpy()
        arrays[f"{name}.counts"] = _recorded(counts, scan.detector_transposed)
    return arrays


def _recorded(counts: Tensor, transposed: bool) -> np.ndarray:
    """Counts (…, n, n) as the detector records them, of the smallest unsigned type that holds them."""
    recorded = counts.transpose(-2, -1) if transposed else counts
    return recorded.numpy().astype(np.min_scalar_type(int(counts.max())))


def inside_raster(positions_px: Tensor, margin_px: float) -> Tensor:
    """Whether each position (N, 2) lies at least `margin_px` inside the bounding box of the scan: bool (N,)."""
    low, high = positions_px.amin(0) + margin_px, positions_px.amax(0) - margin_px
    return ((positions_px >= low) & (positions_px <= high)).all(dim=1)


def raster(
    points: int, step_px: float, jitter_px: float, margin_px: float, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """A jittered square raster in object pixels.

    Args:
        points: along each side.
        step_px: mean step.
        jitter_px: standard deviation of each coordinate, cut at three of them.
        margin_px: how far the object must extend around every position.

    Returns:
        positions float64 (points², 2) [y, x]; pixels along each side of an object that contains them with the margin.
    """
    first = np.ceil(margin_px + 3 * jitter_px)
    axis = first + step_px * np.arange(points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)  # (points², 2)
    jitter = np.clip(rng.standard_normal(grid.shape), -3, 3) * jitter_px
    return torch.from_numpy(grid + jitter), int(np.ceil(axis[-1] + first)) + 1


def _count(light: Illumination, phase: np.ndarray, dose_e: float, rng: np.random.Generator) -> np.ndarray:
    generator = _generator(rng)
    parts = [
        forward.measure(light.probe, part.double(), dose_e, generator) for part in torch.from_numpy(phase).split(512)
    ]
    return torch.cat(parts).numpy().astype(np.uint32)


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**63)))

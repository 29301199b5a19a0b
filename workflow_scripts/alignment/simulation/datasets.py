"""Noisy stacks of known particles whose poses are known, and clean random particles to train on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.settings import MicroscopeSettings, Split, Synthesize, is_file, particle_name
from workflow_scripts.alignment.simulation import analytic
from workflow_scripts.alignment.simulation.centres import read_centre
from workflow_scripts.alignment.simulation.imaging import DrawnPoses, Microscope, Simulator
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, stack_name
from workflow_scripts.alignment.simulation.particle_files import CtfParameters
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.alignment.simulation.pose_files import write_star
from workflow_scripts.alignment.simulation.projections import project_map, project_molecule
from workflow_scripts.alignment.variants import VARIANTS
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.progress import Progress

_SPLITS = ("train", "test")
_BATCH = 256
_MOLECULES = (".pdb", ".cif")
_BUILT_IN: dict[str, Callable[[int, float], Particle]] = {
    "groel_side": lambda n, size_a: analytic.groel_like("side", n, size_a),
    "groel_top": lambda n, size_a: analytic.groel_like("top", n, size_a),
    "asymmetric": analytic.asymmetric,
}


@dataclass(frozen=True)
class StackPlan:
    """One stack of a file.

    particle: None where the images are pure noise.
    snr: 0 where they are.
    published: made as the recipe makes it, faults of the contrast transfer and of the 8-bit files included.
    """

    name: str
    particle: Particle | None
    noise: str
    snr: float
    count: int
    published: bool = False


def study_particles(settings: Synthesize) -> list[Particle]:
    """The particles of the settings in their order, each in the box and called as in the tables.

    Raises:
        InputError: a file cannot be used, or a particle does not fit into the box.
    """
    return [_particle(settings, name, index) for index, name in enumerate(settings.particles)]


def random_particles(settings: Synthesize, shard: int) -> Iterator[Particle]:
    """The random particles of one training file, the same whatever else is made."""
    for number in range(settings.random_particles):
        seed = (settings.seed * 1000 + shard) * 1_000_000 + number
        yield analytic.random_particle(seed, settings.box_px, settings.pixel_size_a)


def test_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """Every particle at every SNR, with white and then with coloured noise, and a stack of nothing but noise."""
    noises = (("white", settings.snr), ("coloured", settings.coloured_snr))
    plans = [
        StackPlan(stack_name(one.name, noise, snr), one, noise, snr, settings.test_images)
        for noise, ratios in noises
        for one in particles
        for snr in ratios
    ]
    return [*plans, StackPlan(NOISE_ONLY, None, "white", 0.0, settings.test_images)]


def train_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """What the published arm trains on: the study's own particles at the first SNR, as the recipe images them."""
    snr = settings.snr[0]
    return [
        StackPlan(stack_name(one.name, "white", snr), one, "white", snr, settings.train_images, published=True)
        for one in particles
    ]


def write_files(
    settings: Synthesize,
    split: Split,
    shard: int,
    paths: dict[str, Path],
    stack_file: str,
    device: torch.device,
) -> None:
    """Write the stack, its list with the truth, and the clean images of one file, batch by batch.

    Args:
        paths: `stack` (.mrcs), `star` (.star) and `centres` (.mrcs).
        stack_file: what the stack will be called when it is in place; the list names it.

    Raises:
        InputError: as of `study_particles`.
    """
    particles = study_particles(settings)
    plan = (train_plan if split == "train" else test_plan)(settings, particles)
    with StackWriter(paths["centres"], settings.box_px, settings.pixel_size_a) as writer:
        for one in particles if split == "test" else random_particles(settings, shard):
            writer.write(one.image[None].numpy())
    listed: list[tuple[StackPlan, DrawnPoses]] = []
    with (
        StackWriter(paths["stack"], settings.box_px, settings.pixel_size_a) as writer,
        Progress(sum(one.count for one in plan), "images") as progress,
    ):
        for index, one in enumerate(plan):
            words = [settings.seed, _SPLITS.index(split), shard, index]
            seed = int(np.random.SeedSequence(words).generate_state(1)[0])
            generator = torch.Generator(device).manual_seed(seed)
            simulator = _simulator(settings, one, particles, device)
            # The recipe shifts by whole pixels; what is judged may lie between them.
            poses = simulator.draw_poses(one.count, generator, settings.largest_shift_px, whole_px=one.published)
            for start in range(0, one.count, _BATCH):
                images = _images(simulator, one, poses[slice(start, start + _BATCH)], generator)
                writer.write(images.cpu().numpy())
                progress.advance(len(images))
            listed.append((one, poses))
    _write_list(settings, listed, paths["star"], stack_file)


def microscope_of(settings: MicroscopeSettings) -> Microscope:
    """The optics that images are made with."""
    return Microscope(
        voltage_kv=settings.voltage_kv,
        cs_mm=settings.cs_mm,
        amplitude_contrast=settings.amplitude_contrast,
        b_factor_a2=settings.b_factor_a2,
        defocus_um=(settings.defocus_min_um, settings.defocus_max_um),
    )


def _simulator(settings: Synthesize, plan: StackPlan, particles: list[Particle], device: torch.device) -> Simulator:
    variant = VARIANTS["published"]
    return Simulator(
        [plan.particle or particles[0]],
        microscope_of(settings.microscope),
        plan.snr or 1.0,
        plan.noise,
        device,
        faulty_ctf=plan.published and variant.faulty_ctf,
        eight_bit=plan.published and variant.eight_bit,
    )


def _images(simulator: Simulator, plan: StackPlan, poses: DrawnPoses, generator: torch.Generator) -> Tensor:
    if plan.particle is not None:
        return simulator.draw(poses, generator)
    shape = (len(poses), simulator.n, simulator.n)
    return torch.randn(shape, generator=generator, device=simulator.device)


def _write_list(settings: Synthesize, listed: list[tuple[StackPlan, DrawnPoses]], path: Path, stack_file: str) -> None:
    """The .star: poses and defocus as RELION has them, and in columns of our own what each image is."""
    counts = [plan.count for plan, _ in listed]
    total = sum(counts)
    optics = settings.microscope

    def of_poses(name: str) -> np.ndarray:
        return np.concatenate([getattr(poses, name).cpu().double().numpy() for _, poses in listed])

    def of_plans(values: list) -> list:
        return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]

    defocus_a = of_poses("defocus_a")
    constants = (optics.voltage_kv, optics.cs_mm, optics.amplitude_contrast, optics.b_factor_a2, 0.0)
    plans = [plan for plan, _ in listed]
    sources = [plan.particle for plan in plans]
    write_star(
        path,
        [f"{number:06d}@{stack_file}" for number in range(1, total + 1)],
        of_poses("angle_deg"),
        of_poses("shift_px"),
        box_px=settings.box_px,
        pixel_size_a=settings.pixel_size_a,
        ctf=CtfParameters(defocus_a, defocus_a, np.zeros(total), *(np.full(total, value) for value in constants)),
        added={
            "beamtimeStack": of_plans([plan.name for plan in plans]),
            "beamtimeParticle": of_plans([one.name if one else NOISE_ONLY for one in sources]),
            "beamtimeNoise": of_plans([plan.noise for plan in plans]),
            "beamtimeSnr": of_plans([float(plan.snr) for plan in plans]),
            "beamtimeSymmetry": of_plans([one.symmetry_fold if one else 1 for one in sources]),
            "beamtimePixelSize": of_plans([one.pixel_size_a if one else settings.pixel_size_a for one in sources]),
        },
    )


def _particle(settings: Synthesize, name: str, index: int) -> Particle:
    n, size_a = settings.box_px, settings.pixel_size_a
    if not is_file(name):
        try:
            return replace(_BUILT_IN[name](n, size_a), name=name)
        except ValueError as error:
            raise InputError(
                f"alignment.synthesize: {name}: {error}; raise box_px or pixel_size_a, or leave it out of particles"
            ) from None
    path, rng = Path(name), np.random.default_rng([settings.seed, index])
    if path.suffix in _MOLECULES:
        (found,) = project_molecule(path, n, 1, rng, size_a)
    elif path.suffix == ".mrc" and _is_volume(path):
        (found,) = project_map(path, n, 1, rng)
    elif path.suffix == ".mrc":
        found = read_centre(path, n, dark_on_light=name in settings.dark_files)
    else:
        # A picture does not say its pixel: that of the box holds once it is resampled.
        found = replace(read_centre(path, n, 1.0, name in settings.dark_files), pixel_size_a=size_a)
    return replace(found, name=particle_name(name))


def _is_volume(path: Path) -> bool:
    """Whether an .mrc has several sections; what cannot be read is left to the reader's own sentence."""
    try:
        with mrcfile.open(path, header_only=True, permissive=True) as file:
            return int(file.header.nz) > 1
    except (OSError, ValueError):
        return False

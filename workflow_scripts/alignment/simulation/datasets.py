"""Noisy stacks of known particles whose poses are known, and clean random particles to train on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.settings import VARIANTS, Synthesize, is_file, particle_name
from workflow_scripts.alignment.simulation.analytic import asymmetric, groel_like, random_particle
from workflow_scripts.alignment.simulation.imaging import DrawnPoses, Simulator
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, stack_name
from workflow_scripts.alignment.simulation.particle_files import CtfParameters
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.alignment.simulation.pose_files import write_star
from workflow_scripts.alignment.simulation.sources import read_particle
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import Split

_SPLITS = ("train", "test")
_BATCH = 256
_RECIPE = VARIANTS["published"]
_BUILT_IN: dict[str, Callable[[int, float], Particle]] = {
    "groel_side": lambda n, size_a: groel_like("side", n, size_a),
    "groel_top": lambda n, size_a: groel_like("top", n, size_a),
    "asymmetric": asymmetric,
}


@dataclass(frozen=True)
class StackPlan:
    """One stack of a file.

    particle: None where the images are pure noise.
    snr: 0 where they are.
    published: made by the recipe, with its faults of the contrast transfer and of the 8-bit files.
    """

    particle: Particle | None
    noise: str
    snr: float
    count: int
    published: bool = False

    @property
    def name(self) -> str:
        """What the stack is called in files."""
        return stack_name(self.particle.name, self.noise, self.snr) if self.particle else NOISE_ONLY


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
        yield random_particle(seed, settings.box_px, settings.pixel_size_a)


def test_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """Every particle at every SNR, with white and then with coloured noise, and a stack of nothing but noise."""
    plans = [
        StackPlan(particle, noise, snr, settings.test_images)
        for noise, ratios in (("white", settings.snr), ("coloured", settings.coloured_snr))
        for particle in particles
        for snr in ratios
    ]
    return [*plans, StackPlan(None, "white", 0.0, settings.test_images)]


def train_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """What the published arm trains on: the study's own particles at the first SNR, as the recipe images them."""
    return [
        StackPlan(particle, "white", settings.snr[0], settings.train_images, published=True) for particle in particles
    ]


def write_files(
    settings: Synthesize, split: Split, shard: int, paths: dict[str, Path], stack_file: str, device: torch.device
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
        for particle in particles if split == "test" else random_particles(settings, shard):
            writer.write(particle.image[None].numpy())
    listed: list[tuple[StackPlan, DrawnPoses]] = []
    with (
        StackWriter(paths["stack"], settings.box_px, settings.pixel_size_a) as writer,
        Progress(sum(stack.count for stack in plan), "images") as progress,
    ):
        for index, stack in enumerate(plan):
            numbers = [settings.seed, _SPLITS.index(split), shard, index]
            seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
            generator = torch.Generator(device).manual_seed(seed)
            poses, batches = _draw(settings, stack, particles, generator)
            for images in batches:
                writer.write(images.cpu().numpy())
                progress.advance(len(images))
            listed.append((stack, poses))
    _write_list(settings, listed, paths["star"], stack_file)


def _draw(
    settings: Synthesize, plan: StackPlan, particles: list[Particle], generator: torch.Generator
) -> tuple[DrawnPoses, Iterator[Tensor]]:
    """Poses and images, batch by batch, of one stack; pure noise gets poses too, on which no image depends."""
    faulty_ctf, eight_bit = (plan.published and fault for fault in (_RECIPE.faulty_ctf, _RECIPE.eight_bit))
    shown, snr = [plan.particle or particles[0]], plan.snr or 1.0
    simulator = Simulator(shown, settings.microscope, snr, plan.noise, generator.device, faulty_ctf, eight_bit)
    # The recipe shifts by whole pixels; test images may lie between them.
    poses = simulator.draw_poses(plan.count, generator, settings.largest_shift_px, whole_px=plan.published)

    def images(batch: DrawnPoses) -> Tensor:
        if plan.particle:
            return simulator.draw(batch, generator)
        shape = (len(batch), simulator.n, simulator.n)
        return torch.randn(shape, generator=generator, device=generator.device)

    return poses, (images(poses[slice(start, start + _BATCH)]) for start in range(0, plan.count, _BATCH))


def _write_list(settings: Synthesize, listed: list[tuple[StackPlan, DrawnPoses]], path: Path, stack_file: str) -> None:
    """The .star: poses and defocus as RELION has them, and columns of ours that describe each image."""
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
    particles = [plan.particle for plan in plans]
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
            "beamtimeParticle": of_plans([item.name if item else NOISE_ONLY for item in particles]),
            "beamtimeNoise": of_plans([plan.noise for plan in plans]),
            "beamtimeSnr": of_plans([float(plan.snr) for plan in plans]),
            "beamtimeSymmetry": of_plans([item.symmetry_fold if item else 1 for item in particles]),
            "beamtimePixelSize": of_plans([item.pixel_size_a if item else settings.pixel_size_a for item in particles]),
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
    return replace(read_particle(path, n, size_a, name in settings.dark_files, rng), name=particle_name(name))

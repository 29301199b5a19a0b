"""Noisy stacks of given particles with known poses, and clean images of random particles to train on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.alignment.settings import VARIANTS, Synthesize, is_file, particle_name
from workflow_scripts.alignment.simulation.analytic import built_in_particle, random_particle
from workflow_scripts.alignment.simulation.imaging import DrawnPoses, Simulator
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY
from workflow_scripts.alignment.simulation.particles import Particle
from workflow_scripts.alignment.simulation.sources import read_particle
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.formats.particles import CtfParameters, write_star
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.progress import Progress
from workflow_scripts.workflow.settings import Split

_SPLITS = ("train", "test")
_BATCH = 256
_RECIPE = VARIANTS["published"]


@dataclass(frozen=True)
class StackPlan:
    """One stack of a file, before its images are drawn.

    particle: an empty image named `NOISE_ONLY` for pure noise.
    noise: white or coloured.
    snr: 0 for pure noise.
    count: number of images.
    published: made as in the recipe, with its faults in the contrast transfer and its 8-bit files.
    """

    particle: Particle
    noise: str
    snr: float
    count: int
    published: bool = False

    def labels(self) -> dict[str, str | float]:
        """The values of this project's columns in the .star, the same for all images of the stack."""
        particle = self.particle
        return {
            "beamtimeStack": f"{particle.name}-{self.noise}-{self.snr:g}" if self.snr else NOISE_ONLY,
            "beamtimeParticle": particle.name,
            "beamtimeNoise": self.noise,
            "beamtimeSnr": float(self.snr),
            "beamtimeSymmetry": particle.symmetry_fold,
            "beamtimePixelSize": particle.pixel_size_a,
        }


def study_particles(settings: Synthesize) -> list[Particle]:
    """The particles of the settings in their order, on the grid of the box, with their names in tables.

    Raises:
        InputError: a file cannot be used, or a particle does not fit into the box.
    """
    n, size_a = settings.box_px, settings.pixel_size_a
    particles = []
    for index, name in enumerate(settings.particles):
        if is_file(name):
            generator = np.random.default_rng([settings.seed, index])
            particle = read_particle(Path(name), n, size_a, name in settings.dark_files, generator)
            particles.append(replace(particle, name=particle_name(name)))
            continue
        try:
            particles.append(built_in_particle(name, n, size_a))
        except ValueError as error:
            raise InputError(
                f"alignment.synthesize: {name}: {error}; raise box_px or pixel_size_a, or leave it out of particles"
            ) from None
    return particles


def random_particles(settings: Synthesize, shard: int) -> Iterator[Particle]:
    """The random particles of one training file; they depend on the seed and the shard only."""
    for number in range(settings.random_particles):
        seed = (settings.seed * 1000 + shard) * 1_000_000 + number
        yield random_particle(seed, settings.box_px, settings.pixel_size_a)


def test_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """Every particle at every SNR, with white and then with coloured noise, and a stack of pure noise."""
    plans = [
        StackPlan(particle, noise, snr, settings.test_images)
        for noise, ratios in (("white", settings.snr), ("coloured", settings.coloured_snr))
        for particle in particles
        for snr in ratios
    ]
    nothing = Particle(NOISE_ONLY, torch.zeros(settings.box_px, settings.box_px), settings.pixel_size_a)
    return [*plans, StackPlan(nothing, "white", 0.0, settings.test_images)]


def train_plan(settings: Synthesize, particles: list[Particle]) -> list[StackPlan]:
    """The training stacks of the published arm: the test particles at the first SNR, simulated as in the recipe."""
    snr, count = settings.snr[0], settings.train_images
    return [StackPlan(particle, "white", snr, count, published=True) for particle in particles]


def write_files(settings: Synthesize, split: Split, shard: int, paths: dict[str, Path], device: torch.device) -> None:
    """Write one file in three parts, batch by batch: noisy images, their list with true poses, and clean images.

    Args:
        paths: `stack` (.mrcs), `star`, which names the stack shard<i>.mrcs, and `centres` (.mrcs), the clean images.

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
            poses, batches = _draw(settings, stack, generator)
            for images in batches:
                writer.write(images.cpu().numpy())
                progress.advance(len(images))
            listed.append((stack, poses))
    _write_list(settings, listed, paths["star"], f"shard{shard}.mrcs")


def _draw(settings: Synthesize, plan: StackPlan, generator: torch.Generator) -> tuple[DrawnPoses, Iterator[Tensor]]:
    """Poses, and images batch by batch, of one stack; pure noise gets random poses too, as a control."""
    faulty_ctf, eight_bit = (plan.published and fault for fault in (_RECIPE.faulty_ctf, _RECIPE.eight_bit))
    simulator = Simulator(
        [plan.particle], settings.microscope, plan.snr or 1.0, plan.noise, generator.device, faulty_ctf, eight_bit
    )
    # The recipe shifts by whole pixels; test images may lie between them.
    poses = simulator.draw_poses(plan.count, generator, settings.largest_shift_px, whole_px=plan.published)

    def images(batch: DrawnPoses) -> Tensor:
        if plan.snr:
            return simulator.draw(batch, generator)
        return torch.randn(len(batch), simulator.n, simulator.n, generator=generator, device=generator.device)

    return poses, (images(poses[slice(start, start + _BATCH)]) for start in range(0, plan.count, _BATCH))


def _write_list(settings: Synthesize, listed: list[tuple[StackPlan, DrawnPoses]], path: Path, stack_file: str) -> None:
    """The .star: poses and defocus in RELION's columns, and this project's columns that describe each image."""
    angle_deg, shift_px, defocus_a = (
        np.concatenate([getattr(poses, name).cpu().double().numpy() for _, poses in listed])
        for name in ("angle_deg", "shift_px", "defocus_a")
    )
    total, optics = len(angle_deg), settings.microscope
    constants = (optics.voltage_kv, optics.cs_mm, optics.amplitude_contrast, optics.b_factor_a2, 0.0)
    labels = [plan.labels() for plan, _ in listed for _ in range(plan.count)]
    write_star(
        path,
        [f"{number:06d}@{stack_file}" for number in range(1, total + 1)],
        angle_deg,
        shift_px,
        box_px=settings.box_px,
        pixel_size_a=settings.pixel_size_a,
        ctf=CtfParameters(defocus_a, defocus_a, np.zeros(total), *(np.full(total, value) for value in constants)),
        added={column: [values[column] for values in labels] for column in labels[0]},
    )

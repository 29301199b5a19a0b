"""What the training stages read: clean random particles, and noisy stacks without a look at their poses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.alignment.networks.branch import align_stack
from workflow_scripts.alignment.networks.model import CorrelationNetwork
from workflow_scripts.alignment.networks.polar_alignment import joint
from workflow_scripts.alignment.networks.tasks import features_of
from workflow_scripts.alignment.simulation.labels import NOISE_ONLY, read_labelled
from workflow_scripts.alignment.simulation.particle_files import open_particles
from workflow_scripts.alignment.simulation.particles import Particle, particle
from workflow_scripts.formats.mrc import open_stack
from workflow_scripts.workflow.errors import InputError

_VALIDATION_SHARE = 0.1  # of the random particles
_BATCH = 128


def random_particles(paths: Sequence[Path]) -> tuple[list[Particle], list[Particle]]:
    """Clean random particles to train on, and others that validate.

    Raises:
        InputError: a file is broken, or there are too few particles.
    """
    found = []
    for path in paths:
        stack = open_stack(path)
        if stack.pixel_size_a is None:
            raise InputError(f"{path}: the file does not say its pixel size; run the stage synthesize again")
        images = torch.from_numpy(stack.read(np.arange(stack.n_images)))
        found += [particle(f"random{number}", image, stack.pixel_size_a) for number, image in enumerate(images)]
    held_out = max(1, round(_VALIDATION_SHARE * len(found)))
    if len(found) <= held_out:
        raise InputError(f"{paths[0]}: holds {len(found)} particles; raise alignment.synthesize.random_particles")
    return found[:-held_out], found[-held_out:]


def noisy_stacks(stars: Sequence[Path]) -> list[torch.Tensor]:
    """The images (N, n, n) of every stack in the lists; poses are not looked at."""
    stacks = []
    for star in stars:
        particles = open_particles(star)
        names = np.array(particles.columns["beamtimeStack"])
        for name in dict.fromkeys(names.tolist()):
            stacks.append(torch.from_numpy(particles.read(np.flatnonzero(names == name))))
    return stacks


def stack_images(star: Path, stack: Path) -> list[torch.Tensor]:
    """The images (N, n, n) of every stack to align but those of pure noise, which are a control."""
    labelled = read_labelled(star, stack)
    return [torch.from_numpy(one.read()) for one in labelled if one.name != NOISE_ONLY]


@torch.no_grad()
def own_averages(
    star: Path, stack: Path, network: CorrelationNetwork, rounds: int, device: torch.device
) -> list[Particle]:
    """What each stack looks like by its own joint alignment: no pose and no clean image enters.

    Args:
        star, stack: list and images of noisy stacks; those of pure noise are left out, they are a control.
        network: whose features are aligned.
        rounds: of averaging and aligning, at most.
        device: where it is done.
    """
    found = []
    for labelled in read_labelled(star, stack):
        if labelled.name == NOISE_ONLY:
            continue
        images = torch.from_numpy(labelled.read()).to(device)
        angle_deg, _ = joint(features_of(network, images, _BATCH), rounds)
        _, average = align_stack(images, angle_deg)
        found.append(particle(labelled.name, _in_disc(average).cpu(), labelled.pixel_size_a))
    return found


def _in_disc(average: torch.Tensor) -> torch.Tensor:
    """The average (n, n) less its rim's level, faded out towards the rim: noise around the particle is no particle."""
    n = average.shape[-1]
    axis = torch.arange(n, device=average.device) - n // 2
    radius = torch.hypot(axis[:, None].float(), axis.float()) / n
    level = average[(radius > 0.42) & (radius < 0.5)].mean()
    window = 0.5 + 0.5 * torch.cos(torch.pi * ((radius - 0.36) / 0.12).clamp(0, 1))
    return (average - level) * window

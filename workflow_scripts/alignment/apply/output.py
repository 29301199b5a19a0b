"""Output files of the alignment: stack, lists for RELION and Xmipp, and a picture of particles before and after."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from workflow_scripts.alignment.apply.alignment import AlignmentResult, mean_image
from workflow_scripts.alignment.apply.data import UserParticles
from workflow_scripts.alignment.evaluation.averages import HALF_SET_FRC
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.formats.particles import index_batches, write_star, write_xmd
from workflow_scripts.study.figures import BLUE, PAGE_MM, PURPLE, new_figure, scale_bar, style, without_ticks

_SHOWN = 6
_COLOURS = BLUE, PURPLE  # of our estimator and of the baseline


def write_aligned(path: Path, user: UserParticles, result: AlignmentResult, batch_size: int) -> None:
    """Write the aligned stack in batches: images of the files, shifted and rotated; contrast and CTF are unchanged."""
    with StackWriter(path, user.particles.box_px, user.particles.pixel_size_a) as writer:
        for indices in index_batches(len(user), batch_size):
            moved = aligned(user.raw(indices), result.angle_deg[indices], result.shift_px[indices])
            writer.write(moved.cpu().numpy())


def aligned(images: Tensor, angle_deg: np.ndarray, shift_px: np.ndarray) -> Tensor:
    """Images (k, n, n) with the poses angle_deg (k,) and shift_px (k, 2) undone."""
    return align(images, torch.from_numpy(angle_deg).to(images), torch.from_numpy(shift_px).to(images))


def write_lists(star: Path, xmd: Path, user: UserParticles, result: AlignmentResult) -> None:
    """Write the poses as .star and .xmd, which name the user's images relative to the folder of each list."""
    particles = user.particles
    poses = particles.image_names(star.parent), result.angle_deg, result.shift_px
    optional = {"score": result.score, "ctf": particles.ctf}
    sizes = {"box_px": particles.box_px, "pixel_size_a": particles.pixel_size_a}
    write_star(star, *poses, **sizes, **optional, carried=particles.columns)
    write_xmd(xmd, *poses, **optional)


def write_picture(path: Path, user: UserParticles, results: dict[str, AlignmentResult], batch_size: int) -> None:
    """Write particles before and after alignment, averages, ring correlation and scores as a .png without dates.

    Args:
        results: by estimator: the network's first, then the baseline's.
    """
    ours, pixel_size_a = next(iter(results.values())), user.particles.pixel_size_a
    first = np.arange(min(_SHOWN, len(user)))
    recorded = user.raw(first) * user.particles.sign
    rows = {"recorded": recorded, "aligned": aligned(recorded, ours.angle_deg[first], ours.shift_px[first])}
    unaligned = mean_image(user, batch_size).cpu().numpy()
    with style():
        figure = new_figure(PAGE_MM, 130.0)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
        for axes, (title, images) in zip(top.subplots(2, _SHOWN), rows.items(), strict=True):
            without_ticks(axes)
            for number, image in enumerate(images.cpu().numpy()):
                _image(axes[number], image, f"{number + 1}, {title}", pixel_size_a)
        averages = {"not aligned": unaligned} | {name: result.average for name, result in results.items()}
        *image_axes, correlation, scores = bottom.subplots(1, len(averages) + 2)
        without_ticks(image_axes)
        for axis, (title, image) in zip(image_axes, averages.items(), strict=True):
            _image(axis, image, f"average, {title}", pixel_size_a)
        frequency = ours.curve["frequency_per_px"] / pixel_size_a
        for (estimator, result), colour in zip(results.items(), _COLOURS, strict=False):
            correlation.plot(frequency, result.curve["frc"], color=colour, label=estimator)
        limit = np.maximum(ours.curve["noise"], HALF_SET_FRC)
        correlation.plot(frequency, limit, color="black", linewidth=0.5, linestyle=":", label="limit")
        correlation.set(title="halves aligned apart", xlabel="frequency (1/Å)", ylabel="ring correlation")
        correlation.set_ylim(-0.2, 1.02)
        correlation.legend()
        bins = np.histogram_bin_edges(np.concatenate([ours.cross_score, ours.null_score]), 30)
        scores.hist(ours.cross_score, bins, color=_COLOURS[0], label="particles")
        scores.hist(ours.null_score, bins, histtype="step", color="black", label="random phases")
        scores.set(title="fit to the other half", xlabel="correlation", ylabel="particles")
        scores.margins(y=0.3)  # room for the legend
        scores.legend()
        figure.savefig(path, format="png", metadata={"Software": None})


def _image(axis: Axes, image: np.ndarray, title: str, pixel_size_a: float) -> None:
    low, high = np.percentile(image, [0.5, 99.5])
    axis.imshow(image, vmin=low, vmax=high)
    axis.set_title(title)
    scale_bar(axis, pixel_size_a)

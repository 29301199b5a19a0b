"""Aligned particles in files: the stack, RELION's and Xmipp's lists, the average, and a picture of before and after."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from workflow_scripts.alignment.apply.alignment import AlignmentResult
from workflow_scripts.alignment.apply.data import UserParticles
from workflow_scripts.alignment.evaluation.averages import HALF_SETS
from workflow_scripts.alignment.simulation.geometry import align
from workflow_scripts.formats.mrc import StackWriter
from workflow_scripts.formats.particles import index_batches, write_star, write_xmd
from workflow_scripts.study.figures import BLUE, PAGE_MM, PURPLE, new_figure, scale_bar, style, without_ticks

_SHOWN = 6
_COLOURS = BLUE, PURPLE  # of our estimator and of the baseline


@dataclass(frozen=True)
class Written:
    """Images for the figure, taken while the stack was written: float32, density bright.

    unaligned: (n, n), mean of the particles as they lie in their boxes, phases flipped.
    before, after: (k, n, n), the first few particles.
    """

    unaligned: np.ndarray
    before: np.ndarray
    after: np.ndarray


def write_aligned(path: Path, user: UserParticles, result: AlignmentResult, batch_size: int) -> Written:
    """Write the aligned stack in batches: the images of the files, moved; contrast and CTF as they are there."""
    sign = user.particles.sign
    total = torch.zeros(user.particles.box_px, user.particles.box_px, device=user.device)
    before, after = [], []
    with StackWriter(path, user.particles.box_px, user.particles.pixel_size_a) as writer:
        for indices in index_batches(len(user), batch_size):
            images = user.raw(indices)
            moved = aligned(images, result.angle_deg[indices], result.shift_px[indices])
            writer.write(moved.cpu().numpy())
            total += user.corrected(indices).sum(dim=0)
            if indices[0] < _SHOWN:
                before.append(sign * images[:_SHOWN].cpu().numpy())
                after.append(sign * moved[:_SHOWN].cpu().numpy())
    return Written((total / len(user)).cpu().numpy(), np.concatenate(before)[:_SHOWN], np.concatenate(after)[:_SHOWN])


def aligned(images: Tensor, angle_deg: np.ndarray, shift_px: np.ndarray) -> Tensor:
    """Images (k, n, n) with the poses angle_deg (k,) and shift_px (k, 2) undone."""
    return align(images, torch.from_numpy(angle_deg).to(images), torch.from_numpy(shift_px).to(images))


def write_lists(star: Path, xmd: Path, user: UserParticles, result: AlignmentResult) -> None:
    """The poses as .star and .xmd, which name the user's images relative to the folder of the list."""
    particles = user.particles
    names = particles.image_names(star.parent)
    write_star(
        star,
        names,
        result.angle_deg,
        result.shift_px,
        box_px=particles.box_px,
        pixel_size_a=particles.pixel_size_a,
        score=result.score,
        ctf=particles.ctf,
        carried=particles.columns,
    )
    write_xmd(xmd, names, result.angle_deg, result.shift_px, score=result.score, ctf=particles.ctf)


def write_average(path: Path, average: np.ndarray, pixel_size_a: float) -> None:
    """The average (n, n), an .mrc of one section."""
    with StackWriter(path, average.shape[-1], pixel_size_a) as writer:
        writer.write(average[None])


def write_picture(path: Path, written: Written, results: dict[str, AlignmentResult], pixel_size_a: float) -> None:
    """Particles before and after, averages, ring correlation and scores, .png; no dates, equal bytes.

    Args:
        results: by estimator, ours first, then the baseline.
    """
    ours = next(iter(results.values()))
    with style():
        figure = new_figure(PAGE_MM, 130.0)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
        for row, images, title in zip(
            top.subplots(2, _SHOWN), (written.before, written.after), ("recorded", "aligned"), strict=True
        ):
            without_ticks(row)
            for number, (axis, image) in enumerate(zip(row, images, strict=False), start=1):
                _image(axis, image, f"{number}, {title}", pixel_size_a)
        panels = {"not aligned": written.unaligned} | {name: result.average for name, result in results.items()}
        axes = bottom.subplots(1, len(panels) + 2)
        for axis, (title, image) in zip(axes, panels.items(), strict=False):
            without_ticks([axis])
            _image(axis, image, f"average, {title}", pixel_size_a)
        correlation, scores = axes[-2:]
        for (estimator, result), colour in zip(results.items(), _COLOURS, strict=False):
            frequency = result.curve["frequency_per_px"] / pixel_size_a
            correlation.plot(frequency, result.curve["frc"], color=colour, label=estimator)
        limit = np.maximum(ours.curve["noise"], HALF_SETS)
        grey = {"color": "black", "linewidth": 0.5, "linestyle": ":", "label": "limit"}
        correlation.plot(ours.curve["frequency_per_px"] / pixel_size_a, limit, **grey)
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

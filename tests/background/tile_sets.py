"""Toy tiles that judge: shells over smooth and grainy flat fields, some bare, and files of predictions for them."""

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.tile_files import RawTiles
from workflow_scripts.workflow.files import write_arrays

DARK = 20.0


def toy_tiles(sessions: int = 3, tiles: int = 16, side_px: int = 32, seed: int = 0) -> RawTiles:
    """The first tile of every session is bare; every other one has an open-beam region, its left columns."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side_px, :side_px] / side_px - 0.5
    flats, densities, regions = [], [], []
    for _ in range(sessions):
        shading = rng.normal(0, 0.5) * x + rng.normal(0, 0.5) * y - rng.uniform(0.5, 1.5) * (x**2 + y**2)
        grain = gaussian_filter(rng.normal(0, 0.3, (side_px, side_px)), 1, mode="wrap")
        for number in range(tiles):
            flats.append(shading + grain + 0.02 * number / tiles * x)
            centre, radius = rng.uniform(-0.2, 0.4, 2), rng.uniform(0.1, 0.25)
            depth = radius**2 - (y - centre[0]) ** 2 - (x - centre[1]) ** 2
            density = 0.0 * x if number == 0 else 2 * np.sqrt(np.maximum(depth, 0)) / radius * rng.uniform(0.2, 0.6)
            density[:, :4] = 0
            densities.append(density)
            regions.append([0, 0, side_px, 4] if number % 2 else [0, 0, 0, 0])
    shape = sessions, tiles, side_px, side_px
    log_flat, density = (np.array(parts, np.float32).reshape(shape) for parts in (flats, densities))
    dose = np.full(sessions, 4000.0)
    counts = rng.poisson(dose[:, None, None, None] * np.exp(log_flat - density)) + rng.poisson(DARK, shape)
    references = (rng.poisson(4000 * np.exp(log_flat[:, :4])) + DARK).astype(np.float32)
    return RawTiles(
        counts=counts.astype(np.float32),
        log_transmission=-density,
        log_flat=log_flat,
        open_beam=np.array(regions).reshape(sessions, tiles, 4),
        references=references,
        earlier_references=references,
        dose=dose,
        dark=DARK,
    )


def write_predictions(
    folder, estimator, tiles: RawTiles, answers: dict[str, float], *, seed=0, spread=True, curve=True
):
    """A file as the stage predict writes it: the truth with white noise of a standard deviation for every answer.

    answers: by the array's name without `.log_flat`, `finetuned.n2` and so on.
    """
    rng = np.random.default_rng(seed)
    arrays = {
        "estimator": estimator,
        "seed": seed,
        "stages": list(dict.fromkeys(name.split(".")[0] for name in answers)),
    }
    for name, noise in answers.items():
        wrong = tiles.log_flat + noise * rng.standard_normal(tiles.log_flat.shape)
        arrays[f"{name}.log_flat"] = wrong.astype(np.float32)
        if spread:
            arrays[f"{name}.spread"] = np.full(wrong.shape, noise, np.float32)
    if curve:
        steps, chosen = np.array([1, 2, 10, 50]), np.array([0, len(tiles.counts[0]) - 1])
        wrong = rng.standard_normal(tiles.log_flat[:, chosen].shape)
        sizes = (0.05 + 0.05 / steps)[:, None, None, None, None]  # the same error, ever smaller
        arrays["curve.steps"], arrays["curve.tiles"] = steps, chosen
        arrays["curve.log_flat"] = (tiles.log_flat[:, chosen] + sizes * wrong).astype(np.float32)
    path = folder / f"{estimator}_seed{seed}.npz"
    write_arrays(path, arrays)
    return path

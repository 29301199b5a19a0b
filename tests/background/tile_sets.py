"""Toy test tiles: shells over smooth and grainy flat fields, some bare, and files of predictions for them."""

import numpy as np
from scipy.ndimage import gaussian_filter

from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.predictions import write_predictions

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


def write(folder, estimator, tiles: RawTiles, noise_of_parts: dict[str, float], *, seed=0, spread=True, curve=True):
    """A file as the stage predict writes it: the truth with white noise of a standard deviation for every part.

    noise_of_parts: by stage and condition, `finetuned/tiles=2` and so on.
    """
    rng = np.random.default_rng(seed)
    parts = {}
    for name, noise in noise_of_parts.items():
        flats_with_noise = tiles.log_flat + noise * rng.standard_normal(tiles.log_flat.shape)
        arrays = {"log_flat": flats_with_noise.astype(np.float32)}
        if spread:
            arrays["spread"] = np.full(flats_with_noise.shape, noise, np.float32)
        parts[tuple(name.split("/"))] = arrays
    if curve:
        numbers = np.array([0, len(tiles.counts[0]) - 1])
        noise = rng.standard_normal(tiles.log_flat[:, numbers].shape)
        for steps in (1, 2, 10, 50):  # the same error, ever smaller
            flats = (tiles.log_flat[:, numbers] + (0.05 + 0.05 / steps) * noise).astype(np.float32)
            parts["finetuned", f"steps={steps};tiles=2"] = {"log_flat": flats, "tile_numbers": numbers}
    path = folder / f"{estimator}_seed{seed}.npz"
    write_predictions(path, estimator, seed, parts)
    return path

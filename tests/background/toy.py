"""Toy specimens and flat fields for tests that need no generator: random shells, smooth shading and fixed grain."""

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from workflow_scripts.background.simulation.tile_files import RawTiles, TrainingTiles

DOSE, DARK = (300.0, 3000.0), 100.0


def toy_specimens(rng: np.random.Generator, count: int, side_px: int) -> np.ndarray:
    """ln of the transmission (count, side, side): shells and discs from 2 px to the whole side, edges bright."""
    y, x = np.mgrid[:side_px, :side_px].astype(np.float32)
    depth = np.zeros((count, side_px, side_px), np.float32)
    for image in depth:
        for _ in range(rng.integers(1, 9)):
            r = np.exp(rng.uniform(np.log(1.5), np.log(0.5 * side_px)))
            a, b = rng.uniform(-0.1, 1.1, 2) * side_px
            aspect, angle = np.exp(rng.normal(0, 0.4)), rng.uniform(0, np.pi)
            u, v = np.cos(angle) * (y - a) + np.sin(angle) * (x - b), np.cos(angle) * (x - b) - np.sin(angle) * (y - a)
            rho = (aspect * u) ** 2 + (v / aspect) ** 2
            solid = np.sqrt(np.clip(1 - rho / r**2, 0, None))
            if rng.random() < 0.5:
                solid = solid - 0.8 * np.sqrt(np.clip(0.64 - rho / r**2, 0, None))
            image += rng.uniform(0.1, 0.9) * solid
    smooth = gaussian_filter(depth, (0, 0.6, 0.6))
    edges = gaussian_filter(depth, (0, 1.2, 1.2)) - smooth
    return -(smooth - 0.3 * edges).astype(np.float32)


def toy_session(rng: np.random.Generator, times: int, side_px: int, drift: float = 1.0, strong: float = 1.0):
    """ln of a flat field at so many moments (times, side, side): the illumination moves against fixed grain."""
    n = side_px + 16

    def noise(sigma: float) -> np.ndarray:
        field = gaussian_filter(rng.normal(size=(n, n)), sigma)
        return field / field.std()

    y, x = (np.mgrid[:n, :n] / n - 0.5) * 2
    angle = rng.uniform(0, np.pi)
    waves = np.sin(rng.uniform(0.2, 0.8) * (np.cos(angle) * y + np.sin(angle) * x) * n + rng.uniform(0, 6))
    illumination = (
        -rng.uniform(0, 0.5) * strong * ((y - rng.normal(0, 0.3)) ** 2 + (x - rng.normal(0, 0.3)) ** 2)
        + rng.uniform(0.05, 0.15) * strong * noise(side_px / 8)
        + rng.uniform(0.03, 0.08) * strong * noise(side_px / 24)
        + rng.uniform(0, 0.05) * waves * np.exp(-2 * noise(side_px / 10) ** 2)
    )
    grain = rng.uniform(0.02, 0.05) * noise(0.7) + rng.uniform(0.02, 0.05) * noise(2)
    for _ in range(rng.integers(0, 6)):
        grain -= rng.uniform(0.1, 0.5) * np.exp(
            -(((y - rng.uniform(-1, 1)) ** 2 + (x - rng.uniform(-1, 1)) ** 2) * n**2 / rng.uniform(4, 40))
        )
    velocity, change = drift * rng.normal(0, 1, 2), drift * rng.normal(0, 0.02, 2)
    fields = []
    for time in np.linspace(0, 1, times):
        moved = shift(illumination, velocity * time, order=1, mode="nearest") + time * (change[0] * y + change[1] * x)
        fields.append((moved + grain)[8:-8, 8:-8])
    fields = np.array(fields) + drift * 0.02 * rng.normal(size=(times, 1, 1))
    return (fields - fields[0].mean()).astype(np.float32)


def toy_training_tiles(
    specimens: int = 32, sessions: int = 8, times: int = 4, side_px: int = 32, seed: int = 0, held_out: int = 2
) -> TrainingTiles:
    """Training tiles whose last sessions are those of tested microscopes."""
    rng = np.random.default_rng(seed)
    flats = np.stack([toy_session(rng, times, side_px) for _ in range(sessions)])
    marks = np.arange(sessions) >= sessions - held_out
    return TrainingTiles(toy_specimens(rng, specimens, 2 * side_px), flats, marks, DOSE, DARK)


def toy_tiles(
    sessions: int = 2, tiles: int = 16, side_px: int = 32, seed: int = 1, dose: float = 1000.0, references: int = 4
) -> RawTiles:
    """Test tiles of other sessions, a fifth of them bare."""
    rng = np.random.default_rng(seed)
    flats, logs = [], []
    for _ in range(sessions):
        flats.append(toy_session(rng, tiles, side_px))
        images = toy_specimens(rng, tiles, 2 * side_px)[:, :side_px, :side_px]
        logs.append(images * (rng.random((tiles, 1, 1)) > 0.2))
    log_flat, log_transmission = np.stack(flats), np.stack(logs)
    counts = rng.poisson(dose * np.exp(log_flat + log_transmission)) + DARK
    bare = rng.poisson(dose * np.exp(log_flat[:, :references])) + DARK
    return RawTiles(
        counts=counts.astype(np.float32),
        log_transmission=log_transmission,
        log_flat=log_flat,
        open_beam=np.zeros((sessions, tiles, 4), np.int64),
        references=bare.astype(np.float32),
        earlier_references=bare.astype(np.float32),
        dose=np.full(sessions, dose),
        dark=DARK,
    )

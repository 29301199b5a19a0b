"""Time the simulation of diffraction patterns: orientations to calculated and to observed patterns per second.

    python -m benchmarks.kinematic
    python -m benchmarks.kinematic --crystal silicon --side 64 128 256 --device cuda

Random orientations; the same field of view on the detector whatever its pixels. Where diffsims is installed it
simulates the spots of the same crystal in the same orientations, and draws them into images one by one.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

import torch

from workflow_scripts.matching.networks.encoding import polar_patterns
from workflow_scripts.matching.settings import DiffractionSettings, ObservationSettings
from workflow_scripts.matching.simulation.crystals import Crystal, load
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.observed import counts, draw, expected
from workflow_scripts.matching.simulation.orientations import gallery_directions, random_rotations
from workflow_scripts.matching.simulation.structure_factors import laue_rotations

_FIELD_PER_A = 0.96  # from the middle to the rim
_PEER = 500  # orientations of diffsims
_VOLTAGE_KV, _THICKNESS_NM, _DOSE_E = 200.0, 10.0, 300.0


def timed(make: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The median wall time of `repeats` runs after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        make()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def line(name: str, number: int, seconds: float) -> None:
    """Print one measurement."""
    print(f"{name:44}{seconds:9.3f} s{number / seconds:12,.0f} patterns/s", flush=True)


def measure(crystal: Crystal, side_px: int, number: int, repeats: int, device: torch.device) -> None:
    """Time every step at one size of pattern."""
    light = DiffractionSettings(
        voltage_kv=_VOLTAGE_KV,
        side_px=side_px,
        pixel_size_per_a=2 * _FIELD_PER_A / side_px,
        spot_px=side_px / 64,
        thickness_nm=_THICKNESS_NM,
    )
    simulator = Simulator(crystal, light, device)
    generator = torch.Generator(device).manual_seed(0)
    rotations = random_rotations(number, generator)
    ranges = ObservationSettings(
        mosaic_deg=1.0,
        centre_px=side_px / 64,
        ellipticity=0.03,
        camera_length=0.03,
        beam_stop_px=3 * side_px / 64,
        halo=0.7,
        session_variation=0.1,
    )
    observation = draw(ranges, light, number, generator)
    made = expected(simulator, rotations, observation)
    counted = counts(made.spots, made.background, _DOSE_E, _DOSE_E, generator)
    spots = simulator.spots(rotations)
    each = float((spots.intensity > 0).sum(dim=1).double().mean())
    print(f"{side_px} px, {len(simulator.hkl)} reflections, {each:.0f} spots in a pattern on average")
    steps = {
        "spots": lambda: simulator.spots(rotations),
        "calculated patterns": lambda: simulator.patterns(rotations),
        "observed patterns, 4 domains": lambda: expected(simulator, rotations, observation),
        "counts": lambda: counts(made.spots, made.background, _DOSE_E, _DOSE_E, generator),
        "polar patterns": lambda: polar_patterns(counted, side_px // 2, 120),
    }
    for name, make in steps.items():
        line(f"  {name}", number, timed(make, repeats, device))


def galleries(crystal: Crystal, device: torch.device) -> None:
    """Time what is done once for a crystal."""
    start = time.perf_counter()
    symmetry = laue_rotations(crystal)
    print(f"{'symmetry':44}{time.perf_counter() - start:9.3f} s, {len(symmetry)} rotations")
    for number in (2000, 20000):
        seconds = timed(lambda number=number: gallery_directions(number, symmetry), 1, device)
        line(f"beam directions of a gallery of {number:,}", number, seconds)


def diffsims(crystal: Crystal, side_px: int, number: int) -> None:
    """Time diffsims with the same crystal, resolution and range of excitation errors."""
    import numpy as np
    from diffpy.structure import Atom, Lattice, Structure
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.crystal_map import Phase
    from orix.quaternion import Rotation

    atoms = [
        Atom(symbol, place, occupancy=share)
        for symbol, place, share in zip(crystal.symbols, crystal.fractional, crystal.occupancy, strict=True)
    ]
    phase = Phase(name=crystal.name, space_group=1, structure=Structure(atoms, Lattice(base=crystal.lattice_a)))
    rotations = random_rotations(number, torch.Generator().manual_seed(0))
    generator = SimulationGenerator(accelerating_voltage=_VOLTAGE_KV)
    start = time.perf_counter()
    simulation = generator.calculate_diffraction2d(
        phase,
        rotation=Rotation.from_matrix(np.asarray(rotations)),
        reciprocal_radius=2**0.5 * _FIELD_PER_A,
        max_excitation_error=10 / (10 * _THICKNESS_NM),
    )
    line("diffsims, spots", number, time.perf_counter() - start)
    for fast, name in {True: "spots at whole pixels", False: "spots between pixels"}.items():
        start = time.perf_counter()
        for one in range(number):
            simulation.rotation_index = one
            simulation.get_diffraction_pattern(
                shape=(side_px, side_px), sigma=side_px / 64, calibration=2 * _FIELD_PER_A / side_px, fast=fast
            )
        line(f"diffsims, images, {name}", number, time.perf_counter() - start)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystal", default="polyethylene", help="a built-in crystal or the path of a .cif")
    parser.add_argument("--orientations", type=int, default=2000, help="patterns (default 2000)")
    parser.add_argument("--side", type=int, nargs="+", default=[64, 128], help="pixels along a side (default 64 128)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each; the median counts (default 3)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args(arguments)

    crystal, device = load(options.crystal), torch.device(options.device)
    print(f"{crystal.name}, {options.orientations} orientations, {device}, {torch.get_num_threads()} threads")
    galleries(crystal, device)
    with torch.inference_mode():
        for side_px in options.side:
            measure(crystal, side_px, options.orientations, options.repeats, device)
    if importlib.util.find_spec("diffsims"):
        diffsims(crystal, options.side[0], min(options.orientations, _PEER))
    else:
        print("diffsims is not installed: no comparison")
    return 0


if __name__ == "__main__":
    sys.exit(main())

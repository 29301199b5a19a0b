"""Training files of the stage synthesize: what the patterns of pairs are rendered from, one row a pair.

| array | type, shape | meaning |
|---|---|---|
| rotation | float64 (P, 3, 3) | orientation, see orientations.py |
| spots | float32 (S, 3) | y, x (px), intensity: of each pair those of the calculated pattern, then of the observed |
| number | int32 (P, 2) | spots of each of the two patterns |
| places | int32 (P, 2) | over how many spots, empty ones included, their sums run, see `kinematic.render` |
| recording | float32 (P, 16) | fields of `observed.Recording`, one after another |
| diffraction | float64 (5,) | fields of `DiffractionSettings`, one after another |
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.learning.devices import host_work
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation import observed
from workflow_scripts.matching.simulation.kinematic import Simulator, places_of, render, shares
from workflow_scripts.matching.simulation.pattern_files import read_checked
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

_OF_TWO = ("centre_px", "stop_offset_px", "ring_per_a", "ring_width_per_a")
_COLUMNS = [1 + (field.name in _OF_TWO) for field in fields(observed.Recording)]
_EXPECTED = {
    **{"rotation": (3, "f"), "spots": (2, "f"), "number": (2, "i"), "places": (2, "i")},
    **{"recording": (2, "f"), "diffraction": (1, "f")},
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a calculated and an observed pattern of one orientation; as in the file, on one device."""

    rotation: Tensor
    spots: Tensor
    number: Tensor
    places: Tensor
    recording: Tensor
    diffraction: DiffractionSettings

    def __len__(self) -> int:
        return len(self.rotation)

    def to(self, device: torch.device | str) -> "Pairs":
        """The same pairs on a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def render(self, rows: Tensor) -> tuple[Tensor, observed.Expected]:
        """Calculated patterns (B, n, n) of rows (B,), of sum 1, and what is expected of the observed ones.

        On the CPU a pattern is the same to the last bit whatever rows are rendered with it.
        """
        first = (self.number.flatten().cumsum(0) - self.number.flatten()).view_as(self.number)
        first, number, places = (values[rows].T.flatten() for values in (first, self.number, self.places))
        place = torch.arange(int(places.max()), device=rows.device)
        index = (first[:, None] + place).clamp_max(len(self.spots) - 1)
        spots = self.spots[index] * (place < number[:, None])[..., None]
        # A GPU, which rounds in its own way anyhow, takes all patterns together
        fixed = places if rows.device.type == "cpu" else None
        light = self.diffraction
        images = shares(render(spots[..., :2], spots[..., 2], light.side_px, light.spot_px, fixed))
        return images[: len(rows)], observed.recorded(light, images[len(rows) :], self.recordings(rows))

    def recordings(self, rows: Tensor | slice = slice(None)) -> observed.Recording:
        """How the observed patterns of these rows are recorded."""
        columns = self.recording[rows].split(_COLUMNS, dim=1)
        return observed.Recording(*(column.squeeze(1) for column in columns))


def pair_arrays(simulator: Simulator, rotation: Tensor, observation: observed.Observation) -> dict[str, np.ndarray]:
    """The arrays of a training file, of orientations (P, 3, 3) and P observations."""
    # In the batches of `observed.expected`: the patterns of one share the search for excited reflections
    batches = torch.arange(len(rotation)).split(observed.BATCH[simulator.device.type])
    seen = [observed.spots_px(simulator, rotation[rows], observation[rows]) for rows in batches]
    spots, places = [], []
    for parts in ([simulator.spots_px(rotation)], seen):
        columns = (torch.cat([position_px, intensity[..., None]], dim=-1) for position_px, intensity in parts)
        spots.append([pattern[pattern[:, 2] != 0] for part in columns for pattern in part.cpu()])
        places.append(torch.cat([places_of(intensity) for _, intensity in parts]))
    recording = (vars(observation)[field.name] for field in fields(observed.Recording))
    return {
        "rotation": rotation.numpy(),
        "spots": torch.cat([rows for pair in zip(*spots, strict=True) for rows in pair]).numpy(),
        "number": np.array([list(map(len, patterns)) for patterns in spots], np.int32).T,
        "places": torch.stack(places, dim=1).int().cpu().numpy(),
        "recording": torch.cat([values.view(len(rotation), -1) for values in recording], dim=1).numpy(),
        "diffraction": np.array(list(simulator.diffraction.model_dump().values()), np.float64),
    }


@host_work()
def read_pairs(paths: Sequence[Path]) -> Pairs:
    """The pairs of all training files in their order.

    Raises:
        InputError: a file is broken, or was made for another detector than the first.
    """
    parts = [_read(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if (part["diffraction"] != parts[0]["diffraction"]).any():
            raise InputError(f"{path}: its synthesize.diffraction differs from that of {paths[0]}; synthesize again")
    numbers = (int(value) if value.is_integer() else value for value in parts[0].pop("diffraction").tolist())
    light = dict(zip(DiffractionSettings.model_fields, numbers, strict=True))
    joined = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    return Pairs(**joined, diffraction=check(DiffractionSettings, light, f"diffraction of {paths[0]}"))


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays = read_checked(path, _EXPECTED)
    number, places, pairs = arrays["number"], arrays["places"], len(arrays["rotation"])
    shapes = {
        **{"rotation": (pairs, 3, 3), "spots": (number.sum(), 3), "number": (pairs, 2), "places": (pairs, 2)},
        **{"recording": (pairs, sum(_COLUMNS)), "diffraction": (len(DiffractionSettings.model_fields),)},
    }
    fit = {name: array.shape for name, array in arrays.items()} == shapes
    if not fit or not ((number >= 0) & (number <= places) & (places <= number.max())).all():
        raise InputError(f"{path}: its arrays do not fit each other; synthesize again")
    return arrays

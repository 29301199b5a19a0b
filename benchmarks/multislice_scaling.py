"""How the time and the memory of a scanned image grow: with thickness, with the field of view, and with its pixels.

    python -m benchmarks.multislice_scaling scaling.csv scaling.png [--device cuda]

Every point is a process of its own (benchmarks/multislice.py, the recipe's patch of GaN), so that its peak memory is
its own. The table's last column is the slope of log time against log size between a point and the one before.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

# Side in pixels, side of a pixel in Å, thickness in nm
SWEEPS = {
    "thickness_nm": [(128, 0.1, thickness) for thickness in (5.0, 10.0, 20.0, 40.0)],
    "field_a": [(side, 0.1, 5.0) for side in (96, 128, 192, 256)],
    "pixels": [(side, 12.8 / side, 5.0) for side in (96, 128, 192, 256)],
}


def size(sweep: str, side: int, pixel_size_a: float, thickness_nm: float) -> float:
    return {"thickness_nm": thickness_nm, "field_a": side * pixel_size_a, "pixels": side}[sweep]


def measure(side: int, pixel_size_a: float, thickness_nm: float, device: str) -> dict:
    words = ["--side", side, "--pixel-size-a", pixel_size_a, "--thickness-nm", thickness_nm, "--device", device]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.json"
        command = [sys.executable, "-m", "benchmarks.multislice", *words, "--repeats", 3, "--json", path]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="what is written (.csv)")
    parser.add_argument("plot", type=Path, help="what is written (.png)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    options = parser.parse_args()

    rows = []
    figure, axes = plt.subplots(1, len(SWEEPS), figsize=(10, 3.2), layout="constrained")
    for axis, (sweep, points) in zip(axes, SWEEPS.items(), strict=True):
        done = []
        for point in points:
            found = measure(*point, options.device)
            row = {"sweep": sweep, "size": size(sweep, *point), "time_s": found["ours_s"]}
            row["peak_mib"] = found["ours_peak_mib"]
            before = done[-1] if done else None
            row["slope"] = (
                math.log(row["time_s"] / before["time_s"]) / math.log(row["size"] / before["size"]) if before else ""
            )
            done.append(row)
            print(*(f"{value:.4g}" if isinstance(value, float) else value for value in row.values()), sep="\t")
        axis.loglog([row["size"] for row in done], [row["time_s"] for row in done], "o-")
        axis.set(xlabel=sweep, ylabel="time (s)")
        rows += done
    with options.table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    figure.savefig(options.plot, dpi=150)


if __name__ == "__main__":
    main()

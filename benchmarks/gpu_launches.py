"""Count what one training step asks of a GPU: operations that launch kernels, and waits of the CPU for the GPU.

    python -m benchmarks.gpu_launches
    python -m benchmarks.gpu_launches --methods matching --write docs/performance.md

Every training of both arms runs with the networks of the scale `gpu`, a small batch and few data on the pretend GPU of
the tests (tests/pretend_gpu.py), so no GPU is needed: the counts depend on the code and the layers, not on the size of
images or batches. A step goes from one update of the weights to the next; the table has that of median launches.
"""

import argparse
import contextlib
import copy
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, starmap
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.resources import write
from tests.pretend_gpu import Counts, pretend_gpu
from tests.pretend_stages import PretendStudy, changed_words, run_stage, takes_gpu
from workflow_scripts.workflow.dry_run import stage_words
from workflow_scripts.workflow.reference import merged

BEGIN, END = "<!-- counted by benchmarks.gpu_launches -->", "<!-- end of the launches -->"
COLUMNS = (
    *("method", "stage", "arm", "launches", "before", "waits", "before", "in float64"),
    *("most frequent launches", "what waits"),
)
TRAININGS = ("pretrain", "finetune")
# Of each method at `smoke`: few data, several steps in one epoch.
SMALL = {
    "diffractive_imaging": {
        "pretrain": {"epochs": 1, "batch_size": 16},
        "finetune": {"batch_size": 64},
    },
    "potential": {
        "synthesize": {"side_px": 64, "orientations": 3},
        "pretrain": {"epochs": 1, "batch_size": 1},
        "finetune": {"epochs": 4, "batch_size": 1},
    },
    "alignment": {
        "synthesize": {"box_px": 112},
        "pretrain": {"batch_size": 4, "pairs": 16},
        "finetune": {"batch_size": 4, "pairs": 16},
    },
    "background": {
        "pretrain": {"batch_size": 4, "pairs": 16},
        "finetune": {"batch_size": 2, "pairs": 8},
    },
    "matching": {
        "synthesize": {"diffraction": {"side_px": 64, "pixel_size_per_a": 0.03}},
        "pretrain": {"batch_size": 4, "patterns": 16, "optimizer": "adamw"},
        "finetune": {"batch_size": 4, "pairs": 16, "optimizer": "adamw"},
    },
}
# Launches and waits by method, stage and arm, at commit aa28ca4: bfloat16 in the whole step, not in the networks alone.
BEFORE = {
    ("diffractive_imaging", "pretrain", "corrected"): (318, 2),
    ("diffractive_imaging", "pretrain", "published"): (306, 3),
    ("diffractive_imaging", "finetune", "corrected"): (434, 4),
    ("potential", "pretrain", "corrected"): (1404, 4),
    ("potential", "pretrain", "published"): (1421, 4),
    ("potential", "finetune", "corrected"): (1404, 4),
    ("alignment", "pretrain", "published"): (1029, 0),
    ("alignment", "pretrain", "corrected"): (408, 24),
    ("alignment", "finetune", "published"): (1126, 0),
    ("alignment", "finetune", "corrected"): (408, 24),
    ("background", "pretrain", "published"): (609, 1),
    ("background", "pretrain", "corrected"): (635, 3),
    ("background", "finetune", "published"): (608, 1),
    ("background", "finetune", "corrected"): (634, 3),
    ("matching", "pretrain", "corrected"): (368, 4),
    ("matching", "pretrain", "published"): (1227, 4),
    ("matching", "finetune", "corrected"): (488, 5),
    ("matching", "finetune", "published"): (1251, 5),
}


def overlay(method: str) -> dict:
    """What changes of the settings at `smoke`: the networks and the loss are those of the scale `gpu`."""
    settings = {stage: dict(values) for stage, values in SMALL[method].items()}
    large = merged("gpu")[method]
    for stage in TRAININGS:
        of_network = {key: large[stage][key] for key in ("network", "loss") if key in large[stage]}
        settings[stage] = settings.get(stage, {}) | of_network
    return settings


def counted(words: list[str], folder: Path) -> tuple[Counts | None, str]:
    """The median step of a training, none where it has fewer than two; and the error with which it stopped, if any."""
    marks: list[Counts] = []
    error = ""
    with pretend_gpu() as counts:
        hook = register_optimizer_step_post_hook(lambda *_: marks.append(copy.deepcopy(counts)))
        try:
            run_stage(words, folder)
        except (RuntimeError, TypeError) as failure:
            error = str(failure)
        finally:
            hook.remove()
    steps = sorted(starmap(_between, pairwise(marks)), key=lambda step: step.launches.total())
    return (steps[len(steps) // 2] if steps else None), error


def _between(first: Counts, second: Counts) -> Counts:
    """What was counted between two moments."""
    return Counts(
        launches=second.launches - first.launches,
        synchronisations=second.synchronisations - first.synchronisations,
        float64=second.float64 - first.float64,
    )


def table_rows(method: str, folder: Path) -> Iterator[str]:
    """The rows of one method as lines of Markdown."""
    study = PretendStudy(folder, method, overlay(method))
    for name, job in study.jobs.items():
        stage = job.rule.removeprefix(f"{method}_")
        words = stage_words(job.command)
        on_cpu = changed_words(words, {"gpus": "0"}) if takes_gpu(job) else words
        if stage == "synthesize":
            run_stage(on_cpu, study.folder)
        if stage not in TRAININGS:
            continue
        step, error = counted(words, study.folder)
        if error:
            print(f"{name} stops on a GPU: {error}", file=sys.__stderr__)
            run_stage(on_cpu, study.folder)
        if step:
            yield row(method, stage, name.split("_")[1], step)


def row(method: str, stage: str, arm: str, step: Counts) -> str:
    """One training as a line of Markdown."""
    launches, waits = step.launches, step.synchronisations
    before = BEFORE.get((method, stage, arm), ("", ""))
    cells = (
        *(method, stage, arm, launches.total(), before[0], waits.total(), before[1], step.float64.total()),
        *(_listed(launches, 3), _listed(waits, None)),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _listed(operations: Counter[str], most: int | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in operations.most_common(most))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(SMALL), default=list(SMALL), help="default: all")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this document's marks")
    options = parser.parse_args(arguments)

    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    print("\n".join(lines))
    for method in options.methods:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as log:
            try:
                for line in table_rows(method, Path(folder)):
                    print(line, flush=True)
                    lines.append(line)
            except SystemExit:
                raise RuntimeError(f"a stage of {method} refused its input:\n{log.getvalue()}") from None
    if options.write:
        write(options.write, lines, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Evaluate predictions from outside the study beside those of a finished run.

The run's own evaluation is repeated with the further file, in a folder of its own; the results of the run stay as they
are. `snakemake benchmark_sets` writes the test sets, with what has to be predicted.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.study.by_source import read_by_source
from workflow_scripts.study.documents import markdown
from workflow_scripts.study.paired import paired_section, standings
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.study.summaries import read_summary
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.dry_run import dry_run, stage_words
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays

FITTED = "fitted"  # the stage of an estimator that is not trained by the study


def score(method: str, path: Path, scale: str, configuration: Sequence[str] = ()) -> str:
    """Evaluate a file of predictions beside those of a run, and return the headline as text.

    Raises:
        InputError: there is no such method or run, the file is no file of predictions, its estimator has no name of its
            own, or the evaluation refuses it (its sentence is on stderr).
    """
    path = path.resolve()
    check_types(path)
    estimator = read_predictions(path).estimator
    target = f"results/{scale}/{method}/evaluate/metrics.csv"
    if not estimator.isidentifier():
        raise InputError(f"{path}: its estimator is {estimator!r}; give it a name of letters, digits and underscores")
    if not (ROOT / target).is_file():
        raise InputError(
            f"{target} is missing; finish the run with `snakemake --cores all --config scale={scale}` first"
        )
    words = [*(("--configfile", *configuration) if configuration else ()), "--config", f"scale={scale}", "--", target]
    try:
        (job,) = (job for job in dry_run(words) if target in job.outputs)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the evaluation of {method} cannot be planned: {error}") from error
    if any(Path(name).parts[4:5] == (estimator,) for name in job.inputs):
        raise InputError(f"{path}: the study has an estimator {estimator!r} already; give yours another name")
    folder = f"results/{scale}/scores/{method}/{estimator}"
    shutil.rmtree(ROOT / folder, ignore_errors=True)  # of an earlier file of this estimator
    (ROOT / folder).mkdir(parents=True)
    words = [word.replace(str(Path(target).parent), folder) for word in stage_words(job.command)]
    words.insert(words.index("--predictions") + 1, str(path))
    if subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False).returncode:
        raise InputError(f"{path} cannot be evaluated (see above); correct it")
    sentence = f"All numbers: {folder}/metrics.csv and by_source.csv."
    return f"{compared(ROOT / folder, method, estimator)}\n{sentence}"


def check_types(path: Path) -> None:
    """Refuse a file whose arrays are not of the types that predictions have.

    Raises:
        InputError: naming the first array that is wrong.
    """
    named = read_arrays(path, ["estimator", "seed", "parts"])
    kinds = {"estimator": (0, "U", "a text"), "seed": (0, "iu", "a whole number"), "parts": (1, "U", "a list of texts")}
    for name, (axes, types, expected) in kinds.items():
        if named[name].ndim != axes or named[name].dtype.kind not in types:
            raise InputError(
                f"{path}: {name} is {named[name].dtype} of the shape {named[name].shape}, expected {expected}"
            )
    if stages := sorted({text.partition("/")[0] for text in named["parts"].tolist()} - {FITTED}):
        raise InputError(f"{path}: its parts have the stages {', '.join(stages)}, expected {FITTED}")
    predicted = [name for name in array_names(path) if name not in named]
    for name, array in read_arrays(path, predicted).items():
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name} is {array.dtype}, expected real numbers")


def compared(folder: Path, method: str, estimator: str) -> str:
    """The headline of all estimators, with their paired differences to one, as Markdown.

    folder: holds metrics.csv and by_source.csv.
    """
    summary = read_summary(ROOT / "workflow_scripts" / method / "overview.yaml")
    score, benchmark = summary.score, summary.open_benchmark
    metrics, by_source = read_metrics(folder / "metrics.csv"), read_by_source(folder / "by_source.csv")
    conditions = set(metrics.loc[metrics["headline"] & (metrics["estimator"] == estimator), "condition"])
    # Predictions from more than the ranked ones get are shown, but not ranked
    unranked = [estimator] if benchmark and benchmark.ranked and conditions - {benchmark.ranked} else []
    numbers = standings(
        *(metrics, by_source, score.metric, score.statistic, score.condition, score.better),
        arms=[estimator],
        given_more=[*score.given_more, *unranked],
    )
    if estimator not in numbers.index:
        return f"{estimator} predicts nothing for the headline, {score.label} ({score.at})."
    section = paired_section(numbers, score.metric, arms=[estimator])
    return markdown(f"{method}: {estimator}", f"{score.label}: {score.better} is better.", [section])


def main() -> None:
    """Write metrics.csv of the run and the further predictions, and print the headline."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.study.score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", help="of the study")
    parser.add_argument("predictions", type=Path, help="file of predictions (.npz)")
    parser.add_argument("--scale", default="laptop", help="of the finished run (default: laptop)")
    parser.add_argument("--configfile", nargs="+", default=[], help="configuration files of that run, if it had any")
    arguments = parser.parse_args()
    try:
        print(score(arguments.method, arguments.predictions, arguments.scale, arguments.configfile))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Write the open benchmark of a method: its test set without the truth, for estimators from outside the project.

The archive holds the files, their checksums, and a description of them and of the predictions that
`python -m workflow_scripts.study.score` evaluates.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

from workflow_scripts.formats.star import read_tables, write_tables
from workflow_scripts.study.summaries import OpenBenchmark, Summary, read_summary
from workflow_scripts.workflow.command import Command, Job
from workflow_scripts.workflow.files import array_names, read_arrays, sha256, write_arrays
from workflow_scripts.workflow.settings import ScaleChoice


def publish(job: Job[ScaleChoice]) -> None:
    """Write the archive; the same test set gives the same bytes.

    Raises:
        InputError: the test set lacks everything that overview.yaml gives away.
    """
    summary = read_summary(job.input("overview"))
    method = job.input("overview").parent.name
    with TemporaryDirectory() as folder:
        files = [_without_truth(path, Path(folder), summary.open_benchmark) for path in job.inputs["test"]]
        checksums = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
        with ZipFile(job.outputs["archive"], "w") as archive:
            # ZipInfo has a fixed date
            archive.writestr(ZipInfo("README.md"), described(method, job.arguments.scale, summary, files))
            archive.writestr(ZipInfo("SHA256SUMS"), checksums)
            for path in files:
                with path.open("rb") as source, archive.open(ZipInfo(path.name), "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)


def _without_truth(path: Path, folder: Path, benchmark: OpenBenchmark) -> Path:
    """A copy in the folder with the given arrays or columns alone; other formats hold no truth and are copied whole."""
    copy = folder / path.name
    if path.suffix == ".npz":
        write_arrays(copy, read_arrays(path, benchmark.selected(array_names(path), path)))
    elif path.suffix == ".star":
        tables = read_tables(path)
        given = benchmark.selected([label for table in tables.values() for label in table], path)
        write_tables(
            copy, {name: {label: table[label] for label in table if label in given} for name, table in tables.items()}
        )
    else:
        shutil.copyfile(path, copy)
    return copy


def described(method: str, scale: str, summary: Summary, files: Sequence[Path]) -> str:
    """The README of an archive, as Markdown."""
    benchmark = summary.open_benchmark
    parts = [
        f"# {summary.title}: open benchmark `{method}`, scale `{scale}`",
        summary.question,
        "The truth is left out. It could be computed again from the project's code and seeds: please do not.",
        "## Files",
        *(f"`{path.name}`" + "".join(f"\n- {line}" for line in _contents(path)) for path in files),
        "## Predictions",
        "One `.npz` file (`numpy.savez`) with the arrays `estimator` (a name), `seed` (0), `parts` (texts "
        "`<stage>/<condition>`, with the stage `fitted`), and for each part the arrays `<stage>/<condition>/<array>`:",
        "\n".join(f"- `{name}`: {text}" for name, text in benchmark.predicted.items()),
        benchmark.conditions,
        f"`python -m workflow_scripts.study.score {method} predictions.npz --scale {scale}` evaluates it beside all "
        "estimators of the study.",
    ]
    return "\n\n".join(parts) + "\n"


def _contents(path: Path) -> Iterator[str]:
    if path.suffix == ".npz":
        for name, array in read_arrays(path, array_names(path)).items():
            yield f"`{name}` {array.dtype} {array.shape}"
    elif path.suffix == ".star":
        for name, table in read_tables(path).items():
            yield f"`data_{name}`: {', '.join(table)}"


if __name__ == "__main__":
    Command(
        publish,
        ScaleChoice,
        inputs={"test": "Files of the test set.", "overview": "overview.yaml of the method."},
        outputs={"archive": "The test set without the truth (.zip)."},
    ).main()

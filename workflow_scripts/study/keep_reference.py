"""Keep a complete run as the reference of its scale: results/<scale> → results/reference/<scale>, which git keeps.

Metrics with what every source contributes, figures with their source tables, the ledger, tables and provenance are
copied; data, weights, logs and the results of `apply` are not. docs/claims.md is then generated again from the copy.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.study import claims_page
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import partial_name

LARGEST_MB = 20.0
KEPT = (
    *(
        "claims.csv",
        "*/evaluate/metrics.csv",
        "*/evaluate/by_source.csv",
        "figures/*.csv",
        "figures/*.png",
        "figures/*.pdf",
    ),
    *("tables/*.csv", "tables/*.md", "tables/*.tex", "**/*provenance.json"),
)
# A complete run has these.
NEEDED = ("claims.csv", "figures/overview.csv", "tables/cost.csv")


def kept_files(folder: Path) -> Iterator[Path]:
    """The files of results/<scale> that belong in the reference, relative to it, sorted."""
    files = {path.relative_to(folder) for pattern in KEPT for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(files):
        # A reference holds neither its comparison with an older one nor results of `apply`.
        if "apply" not in path.parts and not path.match("tables/compare*"):
            yield path


def keep(folder: Path, reference: Path) -> list[Path]:
    """Copy a run over the reference of its scale, all or nothing; returns what was copied, relative to the folder.

    Raises:
        InputError: the run is not complete, or is larger than git should keep.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    missing += [
        f"{path.relative_to(folder)}/evaluate/metrics.csv"
        for path in sorted(folder.iterdir() if folder.is_dir() else [])
        if (path / "synthesize").is_dir() and not (path / "evaluate" / "metrics.csv").is_file()
    ]
    if missing:
        raise InputError(f"{folder} is no complete run, it lacks {', '.join(missing)}; run `make study` first")
    files = list(kept_files(folder))
    size_mb = sum((folder / path).stat().st_size for path in files) / 1e6
    if size_mb > LARGEST_MB:
        raise InputError(f"{folder} would leave {size_mb:.1f} MB in git; expected at most {LARGEST_MB:g} MB")
    partial = partial_name(reference)
    shutil.rmtree(partial, ignore_errors=True)
    for path in files:
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, partial / path)
    shutil.rmtree(reference, ignore_errors=True)
    partial.replace(reference)
    return files


def main() -> None:
    """Keep results/<scale>."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.study.keep_reference", description=__doc__)
    parser.add_argument("scale", choices=claims_page.SCALES, help="scale of the run")
    scale = parser.parse_args().scale
    try:
        files = keep(ROOT / "results" / scale, ROOT / claims_page.REFERENCE / scale)
    except InputError as error:
        sys.exit(f"error: {error}")
    size_mb = sum((ROOT / claims_page.REFERENCE / scale / path).stat().st_size for path in files) / 1e6
    print(f"{claims_page.REFERENCE}/{scale}: {len(files)} files, {size_mb:.1f} MB")
    claims_page.main()


if __name__ == "__main__":
    main()

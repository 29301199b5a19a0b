"""Count the claims that hold and list those that held in the reference run only: the end of `make study`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from workflow_scripts.study.ledger import UNDECIDED, counted
from workflow_scripts.study.tables import read_text_table
from workflow_scripts.workflow.errors import InputError

_KEYS = ["method", "claim"]


def stopped_holding(ledger: pd.DataFrame, reference: pd.DataFrame) -> Iterator[str]:
    """A line for every claim that holds in the reference but not in this ledger, or one line if there is none."""
    holding = reference[reference["holds"] == "yes"]
    both = holding.merge(ledger, how="left", on=_KEYS, suffixes=("_of_reference", ""))
    lost = both[both["holds"] != "yes"]
    for row in lost.fillna({"verdict": "is no claim of this run"}).itertuples():
        yield f"{row.method}: {row.claim}: held in the reference ({row.verdict_of_reference}), now {row.verdict}"
    if holding.empty:
        yield "no claim held in the reference"
    elif lost.empty:
        yield f"every claim that held in the reference holds: {len(holding)} of {len(holding)}"


def failing(ledger: pd.DataFrame) -> Iterator[str]:
    """The number of claims that hold in this run, and a line for every claim that fails or is undecided."""
    yield counted(ledger)
    for row in ledger[ledger["holds"].isin(["no", UNDECIDED])].sort_values("holds", kind="stable").itertuples():
        yield f"{row.method}: {row.claim}: {row.verdict}"


def read_ledger(path: Path) -> pd.DataFrame:
    """claims.csv as text; raises InputError where it is no ledger."""
    ledger = read_text_table(path, "a ledger of claims")
    missing = {*_KEYS, "holds", "verdict"} - set(ledger.columns)
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}; make it again: snakemake claims")
    return ledger


def main() -> None:
    """Print the lines; a claim that stopped holding is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.study.claims_summary", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<scale>")
    folder = parser.parse_args().folder
    reference = folder.parent / "reference" / folder.name / "claims.csv"
    try:
        ledger = read_ledger(folder / "claims.csv")
        lines = list(failing(ledger))
        if reference.is_file():
            lines += stopped_holding(ledger, read_ledger(reference))
        else:
            lines.append(f"no reference run of this scale is in {reference.parent}, so none can have stopped holding")
    except InputError as error:
        sys.exit(f"error: {error}")
    for line in lines:
        print(f"claims: {line}")
    print(f"claims: docs/claims.md explains each; the verdicts of this run: {folder / 'claims.csv'}")


if __name__ == "__main__":
    main()

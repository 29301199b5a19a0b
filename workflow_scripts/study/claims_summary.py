"""Count the claims that hold, and say which held in the reference run and hold no more: the end of `make study`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from workflow_scripts.workflow.errors import InputError

_KEYS = ["method", "claim"]


def stopped_holding(ledger: pd.DataFrame, reference: pd.DataFrame) -> Iterator[str]:
    """A line for every claim that held in the reference and does not in this ledger; or one that says all hold."""
    held = reference[reference["holds"] == "yes"]
    now = {tuple(row[key] for key in _KEYS): row for row in ledger.to_dict("records")}
    lost = 0
    for row in held.to_dict("records"):
        found = now.get(tuple(row[key] for key in _KEYS))
        if found is None or found["holds"] != "yes":
            lost += 1
            verdict = "is no claim of this run" if found is None else found["verdict"]
            yield f"{row['method']}: {row['claim']}: held in the reference ({row['verdict']}), now {verdict}"
    if len(held) and not lost:
        yield f"every claim that held in the reference holds: {len(held)} of {len(held)}"
    elif not len(held):
        yield "no claim held in the reference"


def counted(ledger: pd.DataFrame) -> Iterator[str]:
    """How many numbers that somebody stated hold in this run, and a line for each that does not."""
    wrong = ledger[ledger["holds"] == "no"]
    hold = int((ledger["holds"] == "yes").sum())
    unmeasured = len(ledger) - hold - len(wrong)
    yield f"{len(ledger)} stated numbers: {hold} hold, {len(wrong)} not, {unmeasured} not measured at this scale"
    for row in wrong.to_dict("records"):
        yield f"{row['method']}: {row['claim']}: {row['verdict']}"


def read_ledger(path: Path) -> pd.DataFrame:
    """claims.csv as text; raises InputError where it is no ledger."""
    try:
        ledger = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a ledger of claims: {error}") from error
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
        lines = list(counted(ledger))
        if reference.is_file():
            lines += stopped_holding(ledger, read_ledger(reference))
        else:
            lines.append(f"no reference run of this scale is in {reference.parent}, so none can have stopped holding")
    except InputError as error:
        sys.exit(f"error: {error}")
    for line in lines:
        print(f"claims: {line}")
    print(f"claims: each in words: docs/claims.md, and as this run found it: {folder / 'claims.csv'}")


if __name__ == "__main__":
    main()

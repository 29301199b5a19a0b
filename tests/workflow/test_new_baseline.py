"""A new baseline is its module and its entry in estimators.yaml, in every method."""

import shutil

import pandas as pd
import pytest

from tests.workflow.conftest import STUDY
from tests.workflow.running import planned, snakemake
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.reference import merged

METHODS = merged("laptop")["methods"]
NAME = "toy_baseline"


@pytest.fixture(scope="module")
def extended(finished, tmp_path_factory):
    """The finished study with a new baseline in every method, and the jobs that it asked for."""
    folder = tmp_path_factory.mktemp("baselines") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    for method in METHODS:
        package = folder / "workflow_scripts" / method
        shutil.copy(ROOT / "tests" / method / f"{NAME}.py", package / "estimators")
        with (package / "estimators.yaml").open("a") as file:
            file.write(f"{NAME}: {{kind: classical, label: toy}}\n")
    jobs = planned(folder, *STUDY, "all")
    done = snakemake(folder, *STUDY, "all")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, jobs


def test_it_runs_and_nothing_that_does_not_depend_on_it(extended):
    _, jobs = extended
    after = {f"{method}_{stage}": 1 for method in METHODS for stage in ("predict", "evaluate", "plot")}
    assert jobs == after | {"ledger": 1, "results_table": len(METHODS), "cost": 1, "overview": 1, "quality_cost": 1}


@pytest.mark.parametrize("method", METHODS)
def test_it_is_in_metrics_figure_table_and_overview(extended, method):
    results = extended[0] / "results" / "smoke"
    assert NAME in set(read_metrics(results / method / "evaluate" / "metrics.csv")["estimator"])
    assert NAME in set(pd.read_csv(results / "figures" / f"{method}.csv")["estimator"])
    assert NAME in set(pd.read_csv(results / "tables" / f"{method}.csv")["estimator"])
    overview = pd.read_csv(results / "figures" / "overview.csv")
    assert NAME in set(overview[overview["method"] == method]["name"])


def test_it_is_left_out_by_name(extended):
    folder, _ = extended
    (folder / "less.yaml").write_text("".join(f"{method}: {{leave_out: [{NAME}]}}\n" for method in METHODS))
    done = snakemake(
        folder, "--dry-run", "--configfile", "my.yaml", "less.yaml", "--config", "scale=smoke", "--", "all"
    )
    assert done.returncode == 0 and f"predict/{NAME}" not in done.stdout
    (folder / "less.yaml").write_text(f"{METHODS[0]}: {{leave_out: [no_such]}}\n")
    done = snakemake(
        folder, "--dry-run", "--configfile", "my.yaml", "less.yaml", "--config", "scale=smoke", "--", "all"
    )
    assert done.returncode != 0 and f"{METHODS[0]}.leave_out: has 'no_such', but may hold" in done.stdout + done.stderr

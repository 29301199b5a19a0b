"""The DAG: its form, its shape at every scale, one run of it, and exactly which jobs rerun."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import STUDY
from tests.workflow.running import ENVIRONMENT, planned, snakemake
from workflow_scripts.study.by_source import MEANS, read_by_source
from workflow_scripts.study.summaries import read_summary
from workflow_scripts.study.tables import read_metrics
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.reference import merged

METHODS = merged("laptop")["methods"]
METHOD, OTHER, THIRD, FOURTH, FIFTH = "diffractive_imaging", "potential", "alignment", "background", "matching"


def of_stages(*stages, method=METHOD, **more):
    """The jobs of one run of these stages, as a dry run counts them."""
    return {f"{method}_{stage}": 1 for stage in stages} | more


AFTER_TRAINING = ("finetune", "predict", "evaluate", "plot")
# What the study makes of all methods: after a figure that was drawn anew, and after numbers that changed
AFTER_FIGURE = {"cost": 1, "overview": 1}
AFTER_NUMBERS = {"ledger": 1, "results_table": 1, "quality_cost": 1, **AFTER_FIGURE}


def everything(method=METHOD):
    """All jobs of a method, and those of the study."""
    both = {f"{method}_synthesize": 2, f"{method}_predict": 2}
    return of_stages(*AFTER_TRAINING, "pretrain", method=method, **AFTER_NUMBERS) | both


def together(*changes):
    """The jobs of several changes at once: the tables of the methods add up, the rest of the study runs once."""
    tables = sum(jobs.get("results_table", 0) for jobs in changes)
    union = {rule: count for jobs in changes for rule, count in jobs.items()}
    return union | ({"results_table": tables} if tables else {})


def test_lint_is_clean():
    done = snakemake(ROOT, "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "rules"],
    ],
    ids=" ".join,
)
def test_the_form_is_in_order(words):
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rule_graph_is_the_same_at_all_scales():
    graphs = {}
    for scale in ("smoke", "laptop", "workstation", "gpu", "paper"):
        done = snakemake(ROOT, "--rulegraph", "--config", f"scale={scale}")
        assert done.returncode == 0, done.stderr
        names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', done.stdout, flags=re.MULTILINE))
        edges = re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, flags=re.MULTILINE)
        graphs[scale] = {(names[start], names[end]) for start, end in edges}
    assert graphs["laptop"]
    assert all(graph == graphs["laptop"] for graph in graphs.values())


def test_smoke_has_at_most_eight_jobs_a_method():
    jobs = planned(ROOT, "--forceall", "--config", "scale=smoke")
    for method in METHODS:
        assert 6 <= sum(count for rule, count in jobs.items() if rule.startswith(method)) <= 8


def test_one_run_makes_every_artifact_with_its_provenance(finished):
    results = finished / "results" / "smoke"
    metrics = read_metrics(results / METHOD / "evaluate" / "metrics.csv")
    assert set(metrics["estimator"]) >= {"corrected", "ridge", "zeros"}
    zeros = metrics[(metrics["estimator"] == "zeros") & (metrics["metric"] == "patch_r2")]
    assert (zeros["value"] == 0).all()
    of_the_other = read_metrics(results / OTHER / "evaluate" / "metrics.csv")
    assert set(of_the_other["estimator"]) >= {"corrected", "ridge", "zeros"}
    of_the_third = read_metrics(results / THIRD / "evaluate" / "metrics.csv")
    assert set(of_the_third["estimator"]) >= {"corrected", "polar_pairwise", "true_poses"}
    of_the_fourth = read_metrics(results / FOURTH / "evaluate" / "metrics.csv")
    assert set(of_the_fourth["estimator"]) >= {"corrected", "median_2", "zeros"}
    of_the_fifth = read_metrics(results / FIFTH / "evaluate" / "metrics.csv")
    assert set(of_the_fifth["estimator"]) >= {"corrected", "polar_template", "chance"}
    for name in (*METHODS, "overview", "quality_cost"):
        for suffix in ("svg", "pdf", "png", "csv"):
            assert (results / "figures" / f"{name}.{suffix}").stat().st_size > 500
    for name in (*METHODS, "cost"):
        for suffix in ("md", "tex", "csv", "html"):
            assert (results / "tables" / f"{name}.{suffix}").stat().st_size > 500
    ledger = pd.read_csv(results / "claims.csv", keep_default_na=False)
    assert list(ledger.columns) == [
        *("method", "claim", "metric", "unit", "stated", "published", "corrected", "baseline"),
        *("target", "holds", "verdict", "computed", "source"),
    ]
    # No claim is about the smoke scale.
    assert set(ledger["holds"]) == {"not measured"}
    record = json.loads((results / METHOD / "pretrain/corrected/seed0/provenance.json").read_text())
    assert record["settings"]["seed"] == 0
    assert f"workflow_scripts/{METHOD}/networks/model.py" in record["code"]


def test_the_numbers_of_every_method_are_the_weighted_means_of_their_sources(finished):
    for method in METHODS:
        folder = finished / "results" / "smoke" / method / "evaluate"
        metrics, by_source = read_metrics(folder / "metrics.csv"), read_by_source(folder / "by_source.csv")
        groups = by_source.groupby(["estimator", "condition", "seed", "metric"], dropna=False)
        means = groups[["value", "weight"]].apply(lambda part: np.average(part["value"], weights=part["weight"]))
        both = means.rename("mean").reset_index().merge(metrics[metrics["statistic"].isin(MEANS)], how="left")
        assert both["value"].notna().all()
        assert np.allclose(both["mean"], both["value"], rtol=1e-4, atol=1e-5 * both["value"].abs().max())
        score = read_summary(ROOT / "workflow_scripts" / method / "overview.yaml").score
        at_headline = both[both["headline"] & (both["metric"] == score.metric)]
        assert set(at_headline["estimator"]) >= {"corrected"} and len(at_headline) >= 2


def test_a_second_run_has_nothing_to_do(finished):
    assert planned(finished, *STUDY) == {}


def test_a_finished_study_leaves_no_checkpoint_and_no_partial_file(finished):
    assert not list((finished / ".checkpoints").glob("*"))
    assert not list(finished.rglob(".partial-*"))


@pytest.fixture
def changed(finished):
    """The finished study, to be changed by a test and put back after it."""
    files = [path for folder in ("workflow_scripts", "photographs") for path in (finished / folder).rglob("*.*")]
    files += [finished / "my.yaml"]
    before = {path: path.read_bytes() for path in files if "__pycache__" not in path.parts}
    yield finished
    for path, content in before.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def test_touched_files_rerun_nothing(changed):
    for path in [*(changed / "workflow_scripts").rglob("*.py"), *(changed / "photographs").iterdir()]:
        path.touch()
    assert planned(changed, *STUDY) == {}


def set_key(project, key, value):
    """Change one key of the configuration of a project."""
    overlay = yaml.safe_load((project / "my.yaml").read_text())
    *sections, name = key.split(".")
    section = overlay
    for part in sections:
        section = section.setdefault(part, {})
    section[name] = value
    (project / "my.yaml").write_text(yaml.safe_dump(overlay))


AFTER_KEYS = [
    ("synthesize.seed", 5, everything),
    ("pretrain.learning_rate", 0.0123, lambda method: of_stages("pretrain", *AFTER_TRAINING, method=method)),
    ("finetune.learning_rate", 0.0123, lambda method: of_stages(*AFTER_TRAINING, method=method)),
    ("evaluate.seed", 5, lambda method: of_stages("evaluate", "plot", method=method)),
]


@pytest.mark.parametrize("unchanged", METHODS)
def test_changed_keys_rerun_their_stages_and_what_follows(changed, unchanged):
    """In each method but one another key is changed, and in five dry runs every key of every method."""
    place = METHODS.index(unchanged)
    expected = []
    for (key, value, jobs), method in zip(AFTER_KEYS, METHODS[place + 1 :] + METHODS[:place], strict=True):
        set_key(changed, f"{method}.{key}", value)
        expected.append(jobs(method) | AFTER_NUMBERS)
    assert planned(changed, *STUDY) == together(*expected)


@pytest.mark.parametrize(
    ("key", "value", "predictions"),
    [
        (f"{METHOD}.predict.network.batch_size", 7, 1),
        (f"{METHOD}.predict.ptychography.iterations", 3, 0),  # left out at this scale
        (f"{OTHER}.predict.ridge.kernel_px", [5], 1),
        (f"{OTHER}.predict.seed", 5, 2),  # shared by all estimators
        (f"{THIRD}.predict.network.rounds", 7, 1),
        (f"{FOURTH}.predict.network.samples", 3, 1),
        (f"{FIFTH}.predict.candidates", 16, 2),
    ],
)
def test_the_settings_of_an_estimator_rerun_its_predictions_alone(changed, key, value, predictions):
    method = key.split(".")[0]
    set_key(changed, key, value)
    jobs = of_stages("evaluate", "plot", method=method, **AFTER_NUMBERS) | {f"{method}_predict": predictions}
    assert planned(changed, *STUDY) == (jobs if predictions else {})


def test_faults_alone_join_the_corrected_arm_and_nothing_else(changed):
    overlay = yaml.safe_load((changed / "my.yaml").read_text())
    overlay[METHOD]["evaluate"] = {"ablations": ["loss_on_first_sample", "noise_drawn_once"]}
    (changed / "my.yaml").write_text(yaml.safe_dump(overlay))
    # Each fault and the recipe without any is trained and applied; no weights are finetuned.
    assert planned(changed, *STUDY) == of_stages("evaluate", "plot", **AFTER_NUMBERS) | {
        f"{METHOD}_pretrain": 3,
        f"{METHOD}_predict": 3,
    }
    words = ("--configfile", "my.yaml", "--config", "scale=smoke", "variants=[published]", "--", "all")
    assert planned(changed, *words)[f"{METHOD}_pretrain"] == 1


# Modules that are changed together, at most one of a method, with the jobs of each: a dry run takes seconds. Those that
# rerun all of a method stand in different rows, so that every row shows whether a change reaches another method.
CHANGED_MODULES = [
    {
        f"{METHOD}/plot.py": of_stages("plot", **AFTER_FIGURE),
        f"{OTHER}/networks/losses.py": of_stages("pretrain", *AFTER_TRAINING, method=OTHER, **AFTER_NUMBERS),
        f"{THIRD}/simulation/datasets.py": everything(THIRD),
        f"{FIFTH}/evaluation/metrics.py": of_stages("evaluate", "plot", method=FIFTH, **AFTER_NUMBERS),
    },
    {
        f"{METHOD}/evaluation/comparison.py": of_stages("evaluate", "plot", **AFTER_NUMBERS),
        "optics/plane_waves.py": everything(OTHER),
        f"{THIRD}/plot.py": of_stages("plot", method=THIRD, **AFTER_FIGURE),
        f"{FOURTH}/estimators/median.py": of_stages("predict", "evaluate", "plot", method=FOURTH, **AFTER_NUMBERS),
    },
    {
        f"{METHOD}/estimators/ridge.py": of_stages("predict", "evaluate", "plot", **AFTER_NUMBERS),
        f"{OTHER}/plot.py": of_stages("plot", method=OTHER, **AFTER_FIGURE),
        f"{FOURTH}/networks/tasks.py": of_stages("pretrain", *AFTER_TRAINING, method=FOURTH, **AFTER_NUMBERS),
        f"{FIFTH}/simulation/kinematic.py": everything(FIFTH),
    },
    {
        f"{METHOD}/networks/scan_task.py": of_stages(*AFTER_TRAINING, **AFTER_NUMBERS),
        f"{OTHER}/evaluation/metrics.py": of_stages("evaluate", "plot", method=OTHER, **AFTER_NUMBERS),
        f"{THIRD}/estimators/polar_pairwise.py": of_stages(
            "predict", "evaluate", "plot", method=THIRD, **AFTER_NUMBERS
        ),
        f"{FIFTH}/plot.py": of_stages("plot", method=FIFTH, **AFTER_FIGURE),
    },
    {
        f"{METHOD}/simulation/objects.py": everything(),
        f"{OTHER}/estimators/ridge.py": of_stages("predict", "evaluate", "plot", method=OTHER, **AFTER_NUMBERS),
        f"{FOURTH}/evaluation/examples.py": of_stages("evaluate", "plot", method=FOURTH, **AFTER_NUMBERS),
        f"{FIFTH}/evaluation/orientation_colours.py": of_stages("plot", method=FIFTH, **AFTER_FIGURE),
    },
    {
        f"{THIRD}/evaluation/average_quality.py": of_stages("evaluate", "plot", method=THIRD, **AFTER_NUMBERS),
        f"{FOURTH}/simulation/backgrounds.py": everything(FOURTH),
        f"{FIFTH}/estimators/polar_template.py": of_stages(
            "predict", "evaluate", "plot", method=FIFTH, **AFTER_NUMBERS
        ),
    },
    {f"{FOURTH}/plot.py": of_stages("plot", method=FOURTH, **AFTER_FIGURE)},
    {
        "learning/training.py": AFTER_NUMBERS
        | {"results_table": len(METHODS)}
        | {f"{method}_{stage}": 1 for method in METHODS for stage in ("pretrain", *AFTER_TRAINING)}
    },
    {"study/cost.py": AFTER_FIGURE},
    {"study/ledger.py": {"ledger": 1}},
    {"study/overview.py": {"overview": 1}, "study/quality_cost.py": {"quality_cost": 1}},
    {"study/result_table.py": {"results_table": len(METHODS), "overview": 1}},
    {f"{METHOD}/estimators/dpc.py": {}, "study/keep_reference.py": {}, "workflow/verify.py": {}},
]


@pytest.mark.parametrize("modules", CHANGED_MODULES, ids=" ".join)
def test_changed_modules_rerun_what_imports_them_and_what_follows(changed, modules):
    for module in modules:
        with (changed / "workflow_scripts" / module).open("a") as file:
            file.write("# a change\n")
    assert planned(changed, *STUDY) == together(*modules.values())


def test_one_changed_photograph_reruns_what_was_cut_from_it(changed):
    record = json.loads((changed / f"results/smoke/{METHOD}/synthesize/test/shard0.provenance.json").read_text())
    tested = {name.rsplit("/", 1)[1] for name in record["inputs"]}
    trained = sorted(path.name for path in (changed / "photographs").iterdir() if path.name not in tested)
    after = of_stages("synthesize", *AFTER_TRAINING, **AFTER_NUMBERS)
    for name, expected in (
        (sorted(tested)[0], after | {f"{METHOD}_predict": 2}),
        (trained[0], after | of_stages("pretrain") | {f"{METHOD}_predict": 2}),
    ):
        path = changed / "photographs" / name
        before = path.read_bytes()
        path.write_bytes(before + b"\0")
        assert planned(changed, *STUDY) == expected, name
        path.write_bytes(before)


def test_single_artifacts_and_named_targets_are_asked_for_by_name(finished):
    artifact = f"results/smoke/{METHOD}/pretrain/published/seed3/weights.safetensors"
    assert planned(finished, *STUDY, artifact) == of_stages("pretrain")
    targets = [*METHODS, *(f"{method}_figures" for method in METHODS), "figures", "tables", "claims", "compare"]
    done = snakemake(finished, "--dry-run", *STUDY, *targets)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_target_of_another_scale_is_refused_with_what_to_type(finished):
    done = snakemake(finished, "--dry-run", *STUDY, f"results/gpu/figures/{METHOD}.svg")
    assert done.returncode != 0
    assert "belongs to the scale gpu" in done.stderr + done.stdout
    assert "--config scale=gpu" in done.stderr + done.stdout


def test_a_scale_that_there_is_not_is_refused_with_those_that_there_are(finished):
    done = snakemake(finished, "--dry-run", "--config", "scale=laptpo")
    assert done.returncode != 0
    assert "scale: is 'laptpo', but must be one of smoke, laptop, workstation, gpu, paper" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "rules_by_name",
    [
        {"figures/potential.png": "potential_plot", "tables/matching.tex": "results_table", "claims.csv": "ledger"},
        {"figures/overview.pdf": "overview"},
    ],
    ids=" ".join,
)
def test_a_deleted_figure_or_table_of_any_format_is_missed(finished, rules_by_name, tmp_path):
    for name in rules_by_name:
        shutil.move(finished / "results/smoke" / name, tmp_path / Path(name).name)
    missed = planned(finished, *STUDY)
    for name in rules_by_name:
        shutil.move(tmp_path / Path(name).name, finished / "results/smoke" / name)
    assert set(rules_by_name.values()) <= missed.keys()
    assert planned(finished, *STUDY) == {}


def test_the_other_arm_joins_without_rerunning_the_first(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    words = ("--configfile", "my.yaml", "--config", "scale=smoke", "variants=[published,corrected]", "--")
    done = snakemake(copy, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read_metrics(copy / f"results/smoke/{METHOD}/evaluate/metrics.csv")
    assert {"published", "corrected"} <= set(metrics["estimator"])
    # The published recipe has no finetuning: its arm hands the pretrained weights on.
    weights = [
        copy / f"results/smoke/{METHOD}/{stage}/published/seed0/weights.safetensors"
        for stage in ("pretrain", "finetune")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    for method in METHODS:
        assert (done.stdout + done.stderr).count(f"rule {method}_pretrain:") == 1


def test_a_printed_command_runs_by_hand(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    figure = copy / f"results/smoke/figures/{THIRD}.svg"
    done = snakemake(copy, "--dry-run", "--printshellcmds", "--forcerun", f"{THIRD}_plot", *STUDY, f"{THIRD}_figures")
    (command,) = re.findall(
        rf"^Shell command: (python -m workflow_scripts.{THIRD}.plot .+)$", done.stdout, re.MULTILINE
    )
    drawn = figure.read_bytes()
    figure.unlink()
    by_hand = subprocess.run(["bash", "-c", command], cwd=copy, env=ENVIRONMENT, capture_output=True, text=True)
    assert by_hand.returncode == 0, by_hand.stderr
    assert figure.read_bytes() == drawn


def test_the_report_is_one_file_that_asks_nothing_of_the_network(finished):
    done = snakemake(finished, "--report", "results/smoke/report.html", *STUDY)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (finished / "results/smoke/report.html").read_text(encoding="utf-8")
    assert "diffractive_imaging: phase from diffraction patterns" in text
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', text)


VERIFY = [sys.executable, "-m", "workflow_scripts.workflow.verify"]


def test_verify_passes_through_snakemake_and_finds_what_changed(finished, tmp_path):
    done = snakemake(finished, *STUDY, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    copy = tmp_path / "elsewhere"
    shutil.copytree(finished / "results" / "smoke", copy)

    def findings(*words):
        checked = subprocess.run([*VERIFY, str(copy), *words], cwd=finished, capture_output=True, text=True)
        return checked.returncode, checked.stdout

    assert findings()[0] == 0
    weights = copy / METHOD / "pretrain/corrected/seed0/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    code, found = findings()
    assert code == 1
    assert f"{weights}: is not what" in found
    content[-1] ^= 1
    weights.write_bytes(content)

    settings = {f"workflow_scripts.{METHOD}.pretrain": {"epochs": 99}}
    code, found = findings("--settings", json.dumps(settings))
    assert code == 1
    assert "epochs = 2; it is 99 now" in found

    (copy / "another.provenance.json").write_text("{}")
    code, found = findings()
    assert code == 1
    assert "another.provenance.json: lacks code" in found
    (copy / "another.provenance.json").unlink()

    (copy / "stray.csv").write_text("what is this\n")
    code, found = findings()
    assert code == 1
    assert "no provenance accounts for it" in found


def test_a_damaged_intermediate_is_named_and_the_command_that_verify_says_repairs_it(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    stack = copy / f"results/smoke/{THIRD}/synthesize/test/shard0.mrcs"  # a format without a checksum
    whole = stack.read_bytes()
    dates = stack.stat()
    stack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(stack, ns=(dates.st_atime_ns, dates.st_mtime_ns))  # as a disk flips it
    done = snakemake(copy, *STUDY, "verify")
    assert done.returncode != 0
    assert f"{stack.relative_to(copy)}: is not what" in done.stdout
    (command,) = re.findall(r"the same snakemake command with (--forcerun \S+ --)\n", done.stdout)
    # What would read it refuses it.
    metrics = copy / f"results/smoke/{THIRD}/evaluate/metrics.csv"
    before = metrics.read_bytes()
    metrics.unlink()
    done = snakemake(copy, *STUDY, str(metrics.relative_to(copy)))
    assert done.returncode != 0
    assert f"error: {stack.relative_to(copy)} is not what its job wrote" in done.stdout + done.stderr
    done = snakemake(copy, *command.split()[:-1], *STUDY, "all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.read_bytes() == whole
    assert metrics.read_bytes() == before
    assert snakemake(copy, *STUDY, "verify").returncode == 0


def test_a_changed_module_that_carries_an_old_date_is_seen(changed):
    path = changed / "workflow_scripts" / THIRD / "plot.py"
    with path.open("a") as file:
        file.write("# a change\n")
    os.utime(path, (0, 0))
    assert planned(changed, *STUDY) == of_stages("plot", method=THIRD, **AFTER_FIGURE)


def test_verify_finds_a_changed_module_and_setting_in_a_copied_project(changed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(changed, copy, ignore=shutil.ignore_patterns(".snakemake"))
    with (copy / "workflow_scripts" / FIFTH / "evaluation" / "metrics.py").open("a") as file:
        file.write("# a change\n")
    overlay = yaml.safe_load((copy / "my.yaml").read_text()) | {OTHER: {"pretrain": {"learning_rate": 0.0123}}}
    (copy / "my.yaml").write_text(yaml.safe_dump(overlay))
    done = snakemake(copy, *STUDY, "verify")
    assert done.returncode != 0
    metrics = f"workflow_scripts/{FIFTH}/evaluation/metrics.py"
    assert f"{FIFTH}/evaluate/provenance.json: was made with another {metrics}" in done.stdout
    assert f"{OTHER}/pretrain/corrected/seed0/provenance.json: was made with learning_rate = " in done.stdout
    assert "the same snakemake command makes it again" in done.stdout

"""The form of the rules: what Snakemake's check for changes sees, unique logs, resources, and how long they are."""

import json
import re

import pytest

from tests.rule_sizes import sizes
from tests.workflow.running import snakemake
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import known_methods

DUMP = """
include: "{root}/Snakefile"
import inspect, json
from pathlib import Path

described = {{}}
for rule in workflow.rules:
    functions = {{key: value for key, value in rule.params.items() if callable(value)}}
    described[rule.name] = {{
        "params": list(rule.params.keys()),
        "functions": {{key: list(inspect.signature(value).parameters) for key, value in functions.items()}},
        "log": [str(path) for path in rule.log],
        "output": [str(path) for path in rule.output],
        "resources": list(rule.resources.keys()),
        "runs": bool(rule.shellcmd),
        "method": rule.wildcard_constraints.get("method"),
    }}
Path("{file}").write_text(json.dumps(described))
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Every rule as Snakemake parses it."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "dump.smk").write_text(DUMP.format(root=ROOT, file=folder / "rules.json"))
    done = snakemake(ROOT, "--snakefile", str(folder / "dump.smk"), "--list-rules")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "rules.json").read_text())


def test_parameters_depend_on_wildcards_alone(rules):
    """Snakemake leaves functions of inputs, outputs or resources out of its check for changed parameters."""
    for name, rule in rules.items():
        for key, names in rule["functions"].items():
            # Parameters made from inputs and outputs need no check: Snakemake compares those.
            assert names == ["wildcards"] or key == "arguments", (name, key, names)


def test_every_stage_carries_its_code_and_settings(rules):
    running = {name: rule for name, rule in rules.items() if "arguments" in rule["params"]}
    assert len(running) > 40
    for name, rule in running.items():
        assert {"module", "code", "settings", "more"} <= set(rule["params"]), name
        if name.endswith("_apply_check"):
            assert "files" in rule["params"], name
    for method in ("diffractive_imaging", "alignment", "matching", "potential"):
        assert "files" in rules[f"{method}_synthesize"]["params"]


def test_every_rule_has_a_log_of_its_own(rules):
    logs = {}
    for name, rule in rules.items():
        for path in rule["log"]:
            log = path.replace("{method}", rule["method"] or "{method}")
            assert logs.setdefault(log, name) == name, f"{name} and {logs[log]} share {log}"
        assert rule["log"] or not rule["runs"], f"{name} has no log"


def test_every_rule_that_runs_something_names_what_it_takes(rules):
    for name, rule in rules.items():
        if rule["runs"]:
            assert {"mem_mb", "runtime"} <= set(rule["resources"]), name


def test_figures_and_tables_are_made_where_snakemake_runs():
    """Snakemake does not inherit `localrule`, and a dry run without a cluster does not show it."""
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk")))
    blocks = dict(re.findall(r"^use rule plot as (\w+) with:\n(.*?)\n\n\n", texts + "\n\n\n", re.M | re.S))
    assert blocks.keys() >= {f"{method}_plot" for method in known_methods()} | {
        "ledger",
        "cost",
        "overview",
        "quality_cost",
    }
    for name, block in blocks.items():
        assert "    localrule: True" in block, name


def test_every_method_has_a_rule_for_every_stage(rules):
    for method in known_methods():
        for stage in ("synthesize", "pretrain", "finetune", "predict", "evaluate", "plot"):
            assert rules[f"{method}_{stage}"]["method"] == method


def test_a_template_makes_nothing(rules):
    templates = ("synthesize", "pretrain", "finetune", "predict", "evaluate", "plot", "check", "apply")
    assert all(not re.search(rules[name]["method"], method) for name in templates for method in known_methods())


def test_a_method_fits_on_one_page():
    counted = sizes()
    for method in known_methods():
        assert counted[f"{method}.smk"][1] <= 120
    rules, lines = (sum(counted[f"{method}.smk"][k] for method in known_methods()) for k in (0, 1))
    assert lines / rules <= 16


def test_nothing_private_of_snakemake_is_touched():
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bworkflow\.|\w\._\w|set_params", text.replace("workflow_scripts.workflow.", "")), path
    for path in (ROOT / "workflow_scripts").rglob("*.py"):
        assert not re.search(
            r"^\s*(import|from) snakemake(?!\.utils\b)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        ), path

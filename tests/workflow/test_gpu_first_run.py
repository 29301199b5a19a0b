"""The prepared run on a borrowed GPU, tried on the CPU: it needs no Snakemake once its commands are planned."""

import json
import tarfile
import time
from pathlib import Path

import pytest

from benchmarks import gpu_first_run
from benchmarks.gpu_first_run import Run, plan
from workflow_scripts.workflow.dry_run import PlannedJob


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(gpu_first_run, "ROOT", tmp_path)
    return Run({"smoke": []}, tmp_path / "output", "cpu", time.monotonic() + 60)


def steps(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.output / "steps.jsonl").read_text().splitlines()]


def job(rule: str, inputs: list[str], outputs: list[str], command: str) -> PlannedJob:
    return PlannedJob(rule, inputs, outputs, f"logs/{rule}.log", 1, {}, command)


def test_jobs_run_in_their_order_and_what_needs_a_failed_one_does_not(run: Run, tmp_path: Path) -> None:
    copy = job("copy", ["made/first"], ["copied/second"], "cp made/first copied/second")
    make = job("make", [], ["made/first"], "python -c \"open('made/first', 'w').write('x')\"")
    fail = job("fail", [], ["nothing"], "false")
    after = job("after", ["nothing"], ["never"], "touch never")
    run.run_jobs("try", [after, copy, make, fail], limit_s=30)
    assert (tmp_path / "copied/second").read_text() == "x"
    assert steps(run)[-1] == {"step": "try", "failed": ["fail"], "stopped": [], "not_started": ["after"]}


def test_a_job_is_stopped_when_the_time_is_over(run: Run) -> None:
    run.run_jobs("try", [job("long", [], ["out"], "sleep 60")], limit_s=0.3)
    assert steps(run)[-1]["stopped"] == ["long"]


def test_a_module_that_is_stopped_or_fails_is_recorded(run: Run) -> None:
    run.call("limit", "timeit", "import time; time.sleep(60)", limit_s=0.3)
    run.call("failure", "no_such_module", limit_s=30)
    assert [step["exit_code"] for step in steps(run)] == ["time limit", 1]
    assert "no_such_module" in (run.output / "failure.log").read_text()


def test_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training files of one method, the steps of its trainings, and the archive; no Snakemake after the plan."""
    jobs = [
        planned for planned in plan("smoke", gpus=0) if planned.rule in ("background_synthesize", "background_pretrain")
    ]
    assert len(jobs) == 4
    monkeypatch.setattr(gpu_first_run, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_first_run, "STEPS_TIMED", 3)
    (tmp_path / "workflow_scripts").symlink_to(Path("workflow_scripts").absolute())
    (tmp_path / "benchmarks").symlink_to(Path("benchmarks").absolute())
    for name in ("config.yaml", "scales"):
        (tmp_path / name).symlink_to(Path(name).absolute())
    run = Run({"smoke": jobs}, tmp_path / "first_run", "cpu", time.monotonic() + 300)
    gpu_first_run.versions(run)
    gpu_first_run.training_steps(run)
    by_step = {step["step"]: step for step in steps(run)}
    assert by_step["versions"]["result"]["packages"]["torch"]
    for arm in ("published", "corrected"):
        assert by_step[f"background_pretrain {arm} eager"]["result"]["step_ms"] > 0
    with tarfile.open(run.archive()) as archive:
        names = archive.getnames()
    assert "first_run/steps.jsonl" in names
    assert "results/smoke/logs/background/synthesize_train_0.log" in names
    assert not any(name.endswith((".npz", ".safetensors")) for name in names)

"""The jobs that a dry run prints."""

from workflow_scripts.workflow.dry_run import parse

PRINTED = """
[Sat Nov 28 06:01:17 2026]
localrule all:
    input: results/smoke/figures/background.svg
    jobid: 0
Shell command: None

[Sat Nov 28 06:01:17 2026]
rule background_pretrain:
    input: results/a.npz, results/b.npz
    output: results/weights.safetensors
    log: results/logs/pretrain.log
    jobid: 3
    wildcards: method=background
    threads: 2
    resources: runtime=40, gpu=1
Shell command: python -m workflow_scripts.background.pretrain --shards results/a.npz results/b.npz
"""


def test_jobs_and_what_they_ask_for() -> None:
    (job,) = parse(PRINTED)
    assert job.rule == "background_pretrain"
    assert job.inputs == ["results/a.npz", "results/b.npz"]
    assert (job.outputs, job.log) == (["results/weights.safetensors"], "results/logs/pretrain.log")
    assert (job.threads, job.resources) == (2, {"runtime": "40", "gpu": "1"})
    assert job.command.startswith("python -m workflow_scripts.background.pretrain")

"""The smoke study of all methods through `--profile slurm` on a real Slurm, disturbed on its way.

While its jobs wait the node is drained and resumed; while a network trains its job is cancelled. `make test-slurm` runs
this; `tests/cluster/one_node_slurm.sh start` makes the Slurm.
"""

import re
import signal
import time
from dataclasses import dataclass

import pytest

from tests.cluster.slurm import Jobs, Study, drained_node, in_state, jobs, slurm
from tests.workflow.running import planned, snakemake
from workflow_scripts.workflow.configuration import known_methods

pytestmark = pytest.mark.slurm

EPOCHS = 400  # long enough to be cancelled in the middle
OVERLAY = f"""
alignment:
  synthesize:
    train_shards: 2
  pretrain:
    epochs: {EPOCHS}
"""
WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke")
TRAINING = "alignment_pretrain"
WEIGHTS = "results/smoke/alignment/pretrain/corrected/seed0/weights.safetensors"


@dataclass
class Course:
    """What happened to the disturbed study."""

    study: Study
    ended_as: int  # the exit code of Snakemake
    waiting: set[str]  # jobs that waited when the node was drained
    asked_for: str  # what one of them asked for
    while_drained: Jobs  # the queue 10 s after the last running job had ended
    cancelled: str  # the job of the training
    step_when_cancelled: int  # of its newest checkpoint
    steps_after: list[int]  # of the newest checkpoint while it ran again


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    assert in_state("RUNNING") | in_state("PENDING") == set(), "this Slurm has other jobs"
    study = Study(tmp_path_factory.mktemp("study"), *WORDS)
    (study.folder / "my.yaml").write_text(OVERLAY)
    with study.running():
        study.wait_for("two run, two wait", lambda: len(in_state("RUNNING")) > 1 and len(in_state("PENDING")) > 1)
        with drained_node():
            waiting = in_state("PENDING")
            asked_for = slurm("scontrol", "show", "job", min(waiting, key=int))
            study.wait_for("what ran has ended", lambda: not in_state("RUNNING") | in_state("COMPLETING"))
            time.sleep(10)  # a free node starts a job within two
            while_drained = jobs()

        cancelled, folder = study.wait_for("the training has checkpoints", lambda: training_at(study, first=10))
        slurm("scancel", cancelled)
        study.wait_for("the training is cancelled", lambda: cancelled in in_state("CANCELLED"))
        step = newest_step(folder)
        study.wait_for("the training runs again", lambda: in_state("RUNNING", TRAINING))
        steps = []
        while in_state("RUNNING", TRAINING):
            if at := newest_step(folder):
                steps.append(at)
            time.sleep(0.1)
        ended_as = study.process.wait(timeout=1800)
    return Course(study, ended_as, waiting, asked_for, while_drained, cancelled, step, steps)


def checkpoints(study):
    """The folder of the training's checkpoints, None before the first."""
    for path in (study.folder / ".checkpoints").glob("*/step*.safetensors"):
        try:
            header = path.read_bytes()[:20_000]
        except FileNotFoundError:  # a newer one has replaced it
            continue
        if rf"\"epochs\": {EPOCHS}".encode() in header:
            return path.parent
    return None


def newest_step(folder):
    """The step of the newest checkpoint in a folder, 0 where there is none."""
    names = (re.match(r"step(\d+)-", path.name) for path in folder.glob("step*"))
    return max((int(name[1]) for name in names), default=0)


def training_at(study, first):
    """The job of the training and the folder of its checkpoints, once they have passed `first` steps."""
    running, folder = in_state("RUNNING", TRAINING), checkpoints(study)
    return (running.pop(), folder) if running and folder and newest_step(folder) >= first else None


def test_the_study_ends_whole(course):
    assert course.ended_as == 0, course.study.output
    results = course.study.folder / "results" / "smoke"
    for method in known_methods():
        assert (results / "figures" / f"{method}.svg").stat().st_size > 500
        assert (results / method / "evaluate" / "metrics.csv").stat().st_size > 100
    assert (results / "claims.csv").is_file()
    assert planned(course.study.folder, *WORDS) == {}
    verified = snakemake(course.study.folder, *WORDS, "--", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_figures_and_ledger_are_no_jobs_of_slurm(course):
    rules = {rule.split("_wildcards_")[0] for seen in course.study.seen for _, rule in seen.values()}
    stages = ("synthesize", "pretrain", "finetune", "predict", "evaluate")
    assert rules == {f"{method}_{stage}" for method in known_methods() for stage in stages}


def test_shards_are_made_in_parallel(course):
    rule = "alignment_synthesize"
    at_once = max(len(in_state("RUNNING", rule, seen)) for seen in course.study.seen)
    in_the_queue = max(
        len(in_state("PENDING", rule, seen) | in_state("RUNNING", rule, seen)) for seen in course.study.seen
    )
    assert (at_once >= 2, in_the_queue) == (True, 3)


def test_a_drained_node_starts_nothing_and_no_job_is_lost(course):
    assert len(course.waiting) >= 2
    assert in_state("RUNNING", among=course.while_drained) == set()
    assert course.waiting <= in_state("PENDING", among=course.while_drained)
    assert course.waiting <= in_state("COMPLETED", among=course.study.seen[-1]) | forgotten(course)


def forgotten(course):
    """Jobs that ended longer ago than the controller remembers; all of them were seen to end well."""
    ended = {number for seen in course.study.seen for number in in_state("COMPLETED", among=seen)}
    return ended - set(course.study.seen[-1])


def test_a_cancelled_training_goes_on_from_its_checkpoint(course, tmp_path):
    tries = {number for seen in course.study.seen for number, (_, rule) in seen.items() if rule.startswith(TRAINING)}
    assert len(tries) == 2
    assert course.cancelled in tries
    assert course.step_when_cancelled < course.steps_after[-1]
    assert min(course.steps_after) >= course.step_when_cancelled
    undisturbed = Study(tmp_path)
    (undisturbed.folder / "my.yaml").write_text(OVERLAY)
    done = snakemake(undisturbed.folder, *WORDS, "--", WEIGHTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (course.study.folder / WEIGHTS).read_bytes() == (undisturbed.folder / WEIGHTS).read_bytes()


def test_no_gpu_is_asked_for_without_gpus(course):
    assert "Partition=main" in course.asked_for
    assert "TresPer" not in course.asked_for


def test_gpus_are_asked_for_and_an_interrupted_study_leaves_no_job(tmp_path):
    target = "results/smoke/alignment/synthesize/train/shard0.star"
    study = Study(tmp_path, "--slurm-partition-config", "partitions.yaml", *WORDS, "--", target)
    (study.folder / "my.yaml").write_text("compute: {gpus: 2}")
    (study.folder / "partitions.yaml").write_text("partitions: {main: {max_runtime: 2880}, gpu: {max_gpu: 2}}")
    with drained_node(), study.running():
        (job,) = study.wait_for("the job is submitted", lambda: in_state("PENDING"))
        asked_for = slurm("scontrol", "show", "job", job)
        assert re.search(r"TresPerJob=gres[:/]gpu[:=]2\b", asked_for)
        assert "NumNodes=1-1 " in asked_for
        assert "Partition=gpu" in asked_for
        study.process.send_signal(signal.SIGINT)
        study.process.wait(timeout=120)
        assert job in in_state("CANCELLED")

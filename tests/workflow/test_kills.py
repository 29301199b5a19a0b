"""kill -9 at random moments of a study, in each of its stages: it ends with the bytes of the undisturbed one."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.running import ENVIRONMENT, copy_project, planned, snakemake
from workflow_scripts.workflow.configuration import STAGES
from workflow_scripts.workflow.provenance import COST

pytestmark = pytest.mark.torture

SEED = 8
ROUNDS = 4  # kills in each stage
# The process of the stage; Snakemake with all that it started; only Snakemake, whose job continues.
VICTIMS = ("the job", "everything", "Snakemake alone")
# Long enough that a training is killed more often than its start, and has checkpoints then.
OVERLAY = "{method}: {{pretrain: &training {{epochs: 200, checkpoint_interval_s: 0}}, finetune: *training}}\n"
VOLATILE = (*COST, "seal")


class Study:
    """A copy of the project in which one method runs at smoke scale."""

    def __init__(self, folder: Path, method: str) -> None:
        self.folder = copy_project(folder)
        self.results = folder / "results" / "smoke"
        self.method = method
        (folder / "my.yaml").write_text(OVERLAY.format(method=method))
        self.words = ("--configfile", "my.yaml", "--config", "scale=smoke", f"methods=[{method}]")

    def run(self, *words: str, target: str | None = None) -> subprocess.CompletedProcess[str]:
        return snakemake(self.folder, *self.words, *words, "--", target or self.method)

    def start(self, *words: str) -> subprocess.Popen:
        line = [sys.executable, "-m", "snakemake", "--cores", "2", *self.words, *words, "--", self.method]
        with (self.folder / "said.txt").open("wb") as said:
            return subprocess.Popen(line, cwd=self.folder, env=ENVIRONMENT, stdout=said, stderr=said)

    def jobs(self, stage: str) -> list[int]:
        """Process numbers of the stage's script in this folder."""
        module = f"workflow_scripts.{self.method}.{stage}"
        return [number for number, words in self._processes() if words[1:3] == ["-m", module]]

    def forget_locks(self) -> None:
        """What `snakemake --unlock` does."""
        for path in (self.folder / ".snakemake" / "locks").glob("*"):
            path.unlink()

    def alive(self) -> list[int]:
        return [number for number, words in self._processes() if "workflow_scripts." in " ".join(words)]

    def _processes(self):
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if (entry / "cwd").readlink() == self.folder:
                    yield int(entry.name), (entry / "cmdline").read_bytes().decode().split("\0")

    def artifacts(self) -> dict[str, object]:
        """All files under final names: their bytes, or what of a provenance is the same in every run."""
        found = {}
        for path in self.results.rglob("*"):
            name = path.relative_to(self.results).as_posix()
            if not path.is_file() or path.name.startswith(".") or name.startswith(("logs/", "benchmarks/")):
                continue
            content = path.read_bytes()
            if name.endswith("provenance.json"):
                content = {key: value for key, value in json.loads(content).items() if key not in VOLATILE}
            found[name] = content
        return found

    def checkpoints(self) -> list[Path]:
        return sorted((self.folder / ".checkpoints").glob("*/step*.safetensors"), key=lambda path: path.stat().st_mtime)

    def durations(self) -> dict[str, float]:
        """The longest job of each stage, s."""
        records = [json.loads(path.read_text()) for path in self.results.rglob("*provenance.json")]
        return {
            stage: max(
                record["wall_time_s"] for record in records if record["module"].endswith(f"{self.method}.{stage}")
            )
            for stage in STAGES
        }


def descendants(number: int) -> list[int]:
    """The process and all that it started, children last."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [number]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def kill(numbers: list[int]) -> None:
    """The session's group is not enough: each process is named, and stopped first so that none escapes."""
    for sign in (signal.SIGSTOP, signal.SIGKILL):
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, sign)


def kill_once(study: Study, stage: str, victim: str, delay_s: float) -> bool:
    """Start the study and kill `delay_s` after a job of the stage began; False where it had ended by then."""
    orphans = study.jobs(stage)
    # Forced, for Snakemake does not miss an intermediate where all that follows is there from an earlier round.
    process = study.start("--forcerun", f"{study.method}_{stage}")
    while not (jobs := [number for number in study.jobs(stage) if number not in orphans]):
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    end = time.monotonic() + delay_s
    while time.monotonic() < end and jobs[0] in study.jobs(stage):
        time.sleep(0.02)
    if jobs[0] not in study.jobs(stage):
        # Not SIGTERM: Snakemake 9.27 waits for ever where it gets that while it books a job that has ended.
        kill(descendants(process.pid))
        process.wait()
        return False
    kill({"the job": jobs[:1], "everything": descendants(process.pid), "Snakemake alone": [process.pid]}[victim])
    code = process.wait()
    said = (study.folder / "said.txt").read_text()
    if victim == "the job":
        assert code == 1, said
        assert "was killed" in said
        assert "Traceback" not in said
    return True


@pytest.mark.parametrize("method", ["alignment", "background", "diffractive_imaging", "matching", "potential"])
def test_a_study_killed_again_and_again_ends_as_the_undisturbed_one(method, tmp_path):
    calm, study = (Study(tmp_path / name, method) for name in ("calm", "killed"))
    done = calm.run()
    assert done.returncode == 0, done.stdout + done.stderr
    expected = calm.artifacts()
    assert {Path(name).suffix for name in expected} >= {".json", ".csv", ".npz", ".safetensors", ".svg", ".png", ".pdf"}

    rng = random.Random(SEED)
    kills, missed, resumable, damaged = Counter(), 0, 0, 0
    for stage, duration_s in calm.durations().items():
        for k in range(ROUNDS):
            victim = VICTIMS[(STAGES.index(stage) + k) % len(VICTIMS)]
            while not kill_once(study, stage, victim, rng.uniform(0, duration_s)):
                missed += 1
                study.forget_locks()
            if victim == "Snakemake alone" and stage == "synthesize":
                refused = study.run()  # its lock is still there
                assert refused.returncode != 0
                assert "--unlock" in refused.stdout + refused.stderr
                assert study.run("--unlock").returncode == 0
            study.forget_locks()
            kills[stage, victim] += 1
            found = study.artifacts()
            assert found.keys() <= expected.keys()
            assert [name for name in found if found[name] != expected[name]] == [], (stage, victim)
            checkpoints = study.checkpoints()
            resumable += bool(checkpoints)
            if checkpoints and victim == "everything":
                content = bytearray(checkpoints[-1].read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                checkpoints[-1].write_bytes(content)
                damaged += 1
            print(f"{kills.total()}: {stage}, {victim}; {len(checkpoints)} checkpoints", flush=True)
    done = study.run("--forcerun", f"{method}_{STAGES[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    while study.alive():
        time.sleep(0.1)

    found = study.artifacts()
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    hidden = [path for path in study.results.rglob(".*") if path.is_file()]
    assert hidden == []
    assert list((study.folder / ".checkpoints").glob("*")) == []
    assert planned(study.folder, *study.words, "--", method) == {}
    checked = study.run(target="verify")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print(
        f"\n{method}: {kills.total()} kills, {missed} more came too late; "
        f"{', '.join(f'{stage} {sum(n for (one, _), n in kills.items() if one == stage)}' for stage in STAGES)}; "
        f"{', '.join(f'{victim} {sum(n for (_, one), n in kills.items() if one == victim)}' for victim in VICTIMS)}; "
        f"{resumable} with checkpoints, {damaged} of them damaged; {len(found)} artifacts identical"
    )
    assert kills.total() >= 20

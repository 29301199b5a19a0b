"""Requests of the rules to a scheduler: complete, sufficient for what was measured, and growing with the data."""

import json
import shutil

import pytest

from benchmarks import resources
from tests.workflow.running import planned
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import checked
from workflow_scripts.workflow.reference import merged

WORDS = ("--configfile", "my.yaml")


def test_the_documented_costs_leave_half_as_much_again():
    documented = resources.read_table((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"))
    jobs = resources.asked("laptop")
    assert set(documented) <= {job.rule for job in jobs}
    for rule, row in documented.items():
        still = [job for job in jobs if job.rule == rule]
        memory_mb, runtime_min = float(row["asked, MB"]), float(row["asked, min"])
        assert 1.5 * float(row["peak memory, MB"]) <= memory_mb <= max(job.memory_mb for job in still), rule
        assert 1.2 * float(row["wall s, longest"]) <= 60 * runtime_min <= 60 * max(job.runtime_min for job in still)


def test_paper_is_planned_with_ten_thousand_samples_in_shards_and_few_jobs():
    jobs = planned(ROOT, "--forceall", "--config", "scale=paper")
    assert sum(jobs.values()) <= 500
    settings = checked(merged("paper")).potential.synthesize
    filled = len(settings.materials) * len(settings.thickness_nm) * settings.orientations * settings.views
    assert settings.train_shards * filled >= 10_000
    assert jobs["potential_synthesize"] == settings.train_shards + 1


@pytest.fixture(scope="module")
def jobs(finished):
    """The request of each job of the finished smoke study."""
    return resources.asked("smoke", WORDS, finished)


def test_every_job_of_a_study_stays_below_what_it_asks(finished, jobs):
    rows = resources.rows(jobs, finished / "results" / "smoke")
    assert sum(row.jobs for row in rows) == len(jobs)
    for row in rows:
        assert 50 < row.peak_mb <= row.memory_mb / 1.5, row
        assert 0 < row.cpu_s < 60 * row.runtime_min, row


def test_the_sizes_that_memory_follows_are_those_of_the_files(finished):
    study = checked(merged("smoke"))
    for method in study.methods:
        folder = finished / "results" / "smoke" / method / "synthesize"
        for split in ("train", "test"):
            files = [path for path in (folder / split).glob("shard0*") if path.suffix in (".npz", ".mrcs")]
            size_mb = sum(path.stat().st_size for path in files) / 1e6
            stated_mb = getattr(study, method).synthesize.file_mb(split)
            # Counts of scans are stored in fewer bytes than they have in memory; the overhead of an archive is small.
            least = 0.2 if (method, split) == ("diffractive_imaging", "test") else 0.6
            assert least * stated_mb <= size_mb <= 1.2 * stated_mb + 0.03, (method, split, size_mb, stated_mb)


def test_a_rule_that_takes_more_than_it_asks_is_named(finished, jobs, tmp_path, monkeypatch, capsys):
    results = tmp_path / "smoke"
    shutil.copytree(finished / "results" / "smoke", results)
    monkeypatch.setattr(resources, "asked", lambda *words: jobs)
    assert resources.main([str(results)]) == 0
    provenance = results / "matching" / "evaluate" / "provenance.json"
    record = json.loads(provenance.read_text())
    provenance.write_text(json.dumps(record | {"peak_memory_mb": 10**6}))
    assert resources.main([str(results)]) == 1
    assert "used more than requested: matching_evaluate" in capsys.readouterr().err
    (results / "figures" / "matching.provenance.json").unlink()
    resources.main([str(results)])
    assert "Not measured: matching_plot." in capsys.readouterr().out


def test_a_table_that_was_written_is_read_again(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{resources.BEGIN}\nold\n{resources.END}\n\nafter\n")
    row = resources.Row("a_rule", 3, 12.4, 8.6, 60, 345.2, 1000)
    resources.write(page, [*resources.table([row]), "", "A sentence."])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert resources.read_table(text)["a_rule"]["peak memory, MB"] == "345"
    assert resources.read_table(text)["a_rule"]["head room"] == "2.9"

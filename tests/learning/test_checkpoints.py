"""Checkpoints: whole or not there; a bad one costs a line and an older start."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.tiny_training import TinyTask, train_tiny
from workflow_scripts.learning import checkpoints, weights
from workflow_scripts.learning.checkpoints import Checkpoint, load_newest, save

RUN = {"seed": 0}


def a_checkpoint(step: int, run: dict = RUN) -> Checkpoint:
    return Checkpoint(step, run, {"model.w": torch.full((4, 4), float(step))}, {"loss_sum": 0.1 + 0.2})


def names(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.iterdir())


def path_of(folder: Path, step: int) -> Path:
    return next(folder.glob(f"step{step}-*"))


def test_the_newest_returns_bit_equal_and_two_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert load_newest(folder, RUN) is None
    for step in (8, 9, 10):
        save(folder, a_checkpoint(step))
    assert names(folder) == ["step10", "step9"]
    newest = load_newest(folder, RUN)
    assert newest.step == 10
    assert torch.equal(newest.tensors["model.w"], torch.full((4, 4), 10.0))
    assert newest.facts == {"loss_sum": 0.1 + 0.2}


@given(st.data())
def test_any_damage_is_seen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    save(folder, a_checkpoint(1))
    save(folder, a_checkpoint(2))
    path = path_of(folder, 2)
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:where]
    else:
        content[where] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert load_newest(folder, RUN).step == 1


def test_bad_ones_are_passed_over_in_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save(tmp_path, a_checkpoint(1))
    save(tmp_path, a_checkpoint(2, {"seed": 1}))
    (tmp_path / "step3-0123456789abcdef.safetensors").write_bytes(b"")
    garbage = b"no safetensors at all"
    (tmp_path / f"step4-{checkpoints._digest(garbage)}.safetensors").write_bytes(garbage)
    (tmp_path / "step5-0123456789abcdef.safetensors").mkdir()
    (tmp_path / "step6.pt").write_bytes(garbage)
    assert load_newest(tmp_path, RUN).step == 1
    lines = capsys.readouterr().err.splitlines()
    reasons = ["cannot be read", "cannot be read", "is damaged", "is of another training"]
    assert len(lines) == len(reasons)
    assert all(reason in line for reason, line in zip(reasons, lines, strict=True))


def test_those_of_another_training_do_not_push_out_the_new(tmp_path: Path) -> None:
    for step in (98, 99):
        save(tmp_path, a_checkpoint(step, {"seed": 1}))
    save(tmp_path, a_checkpoint(1))
    assert names(tmp_path) == ["step1"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".partial-step1-0123456789abcdef.safetensors").write_bytes(b"half")
    save(tmp_path, a_checkpoint(1))
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_disk_that_refuses_costs_only_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    expected = train_tiny(tmp_path / "fine")
    capsys.readouterr()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    trained = train_tiny(tmp_path / "full")
    assert trained.history == expected.history
    assert not list((tmp_path / "full").iterdir())
    assert "checkpoint at step 1 not written ([Errno 28] No space left on device)" in capsys.readouterr().err


def test_a_training_goes_on_from_an_older_one_where_the_newest_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    expected = train_tiny(tmp_path)
    path = path_of(tmp_path, 15)
    path.write_bytes(path.read_bytes()[:-1])
    resumed = train_tiny(tmp_path)
    assert resumed.history == expected.history
    for state in ("best", "last", "kept"):
        a, b = getattr(expected, state), getattr(resumed, state)
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert "is damaged" in capsys.readouterr().err


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    class Untouched(TinyTask):
        def batch(self, indices, generator):
            raise AssertionError("trained again")

    expected = train_tiny(tmp_path)
    resumed = train_tiny(tmp_path, task=Untouched())
    assert resumed.history == expected.history
    assert all(torch.equal(resumed.best[name], expected.best[name]) for name in expected.best)


@pytest.mark.parametrize("changes", [{"learning_rate": 0.01}, {"keep_epoch": 1}, {"epochs": 4}])
def test_other_settings_start_afresh(tmp_path: Path, changes: dict, capsys: pytest.CaptureFixture) -> None:
    train_tiny(tmp_path)
    trained = train_tiny(tmp_path, **changes)
    fresh = train_tiny(tmp_path / "fresh", **changes)
    assert trained.history == fresh.history
    assert "is of another training" in capsys.readouterr().err


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_resumes_too(tmp_path: Path, momentum: float) -> None:
    sgd = {"optimizer": "sgd", "momentum": momentum}
    expected = train_tiny(tmp_path, **sgd)
    path_of(tmp_path, 15).unlink()
    resumed = train_tiny(tmp_path, **sgd)
    assert all(torch.equal(resumed.last[name], expected.last[name]) for name in expected.last)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "step1-0123456789abcdef.safetensors"
    torch.save({"w": torch.ones(2)}, path)
    path.rename(tmp_path / f"step1-{checkpoints._digest(path.read_bytes())}.safetensors")
    assert load_newest(tmp_path, RUN) is None
    assert weights.to_bytes({}, {})  # what is written instead

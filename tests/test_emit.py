"""Carrying out a plan: nothing half-made under a final name, nothing written twice."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from driving import everything
from hypothesis import given, settings
from hypothesis import strategies as st
from wheelmaking import cuda_wheel

from repack.analysis import Analysis, analyse
from repack.config import Build
from repack.emit import Emitted, Ledger, emit, folder_for, settle, staging, stands
from repack.errors import OutputError
from repack.files import sha256_of
from repack.patching import Patched
from repack.plan import Plan, make_plan
from repack.progress import SILENT

TIME = 315_532_800


class Job(NamedTuple):
    """A plan for a wheel, and where it is carried out."""

    analysis: Analysis
    out: Path
    ledger: Ledger

    def plan(self, *, text: bytes = b"new\n", time: int = TIME) -> Plan:
        build = Build(out=self.out, python=("3.12", "3.13"))
        patched = Patched(files={"cv2/__init__.py": text}, notes=())
        return make_plan(build, self.analysis, patched, timestamp=time)

    def emitted(self, plan: Plan, stage: Path) -> tuple[Emitted, ...]:
        wheel = self.analysis.wheel
        return emit(plan, wheel, out=self.out, stage=stage, ledger=self.ledger, progress=SILENT)

    def carried_out(self, plan: Plan | None = None) -> Sequence[Emitted]:
        """Return what was emitted, once it has been settled."""
        with staging(self.out) as stage:
            emitted = self.emitted(plan or self.plan(), stage)
            for each in emitted:
                settle(each, self.out)
        return emitted


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "in").mkdir()
    return Job(
        analysis=analyse(cuda_wheel(tmp_path / "in")),
        out=tmp_path / "dist",
        ledger=Ledger(folder=tmp_path / "ledger"),
    )


class TestEmit:
    def test_writes_beside_and_not_into_the_output_folder(self, job: Job) -> None:
        with staging(job.out) as stage:
            emitted = job.emitted(job.plan(), stage)
            assert [each.path.parent for each in emitted] == [stage, stage]
            assert not list(job.out.glob("*.whl"))
            for each in emitted:
                assert (each.size, each.sha256) == (each.path.stat().st_size, sha256_of(each.path))

    def test_leaves_what_an_earlier_run_wrote_from_the_same(self, job: Job) -> None:
        first = job.carried_out()
        second = job.carried_out()
        assert [each.fresh for each in first] == [True, True]
        assert [each.fresh for each in second] == [False, False]
        assert [each.sha256 for each in second] == [each.sha256 for each in first]
        assert [each.path.parent for each in second] == [job.out, job.out]

    @pytest.mark.parametrize("change", ["text", "time", "damage", "removal", "ledger"])
    def test_writes_anew_what_is_not_the_same(self, change: str, job: Job) -> None:
        first = job.carried_out()
        wheel = job.out / first[0].planned.filename
        plan = job.plan(
            text=b"newer\n" if change == "text" else b"new\n",
            time=TIME + (2 if change == "time" else 0),
        )
        if change == "damage":
            wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
        elif change == "removal":
            wheel.unlink()
        elif change == "ledger":
            for entry in job.ledger.folder.iterdir():
                entry.write_text("what?")
        assert job.carried_out(plan)[0].fresh
        assert [each.fresh for each in job.carried_out(plan)] == [False, False]


class TestSettle:
    def test_moves_a_wheel_that_failed_away_from_where_it_stood(self, job: Job) -> None:
        job.carried_out()
        emitted = job.carried_out()[0]
        path = settle(emitted, job.out, "it crashed\n")
        assert path == job.out / "failed" / emitted.planned.filename
        assert not (job.out / emitted.planned.filename).exists()
        assert Path(f"{path}.log").read_text() == "it crashed\n"

    def test_takes_away_the_older_wheel_of_that_name_when_the_newer_fails(self, job: Job) -> None:
        job.carried_out()
        with staging(job.out) as stage:
            first, _ = job.emitted(job.plan(text=b"newer\n"), stage)
            settle(first, job.out, "it crashed")
        assert not (job.out / first.planned.filename).exists()

    def test_clears_away_what_failed_before(self, job: Job) -> None:
        with staging(job.out) as stage:
            for each in job.emitted(job.plan(), stage):
                settle(each, job.out, "it crashed")
        assert len(list((job.out / "failed").iterdir())) == 4
        job.carried_out()
        assert sorted(path.suffix for path in job.out.iterdir()) == [".whl", ".whl"]

    def test_keeps_what_else_lies_in_failed(self, job: Job) -> None:
        (job.out / "failed").mkdir(parents=True)
        (job.out / "failed" / "notes.txt").write_text("mine")
        job.carried_out()
        assert [path.name for path in (job.out / "failed").iterdir()] == ["notes.txt"]

    def test_says_what_is_in_the_way(self, job: Job) -> None:
        job.out.mkdir()
        (job.out / "failed").write_text("a file")
        with staging(job.out) as stage:
            (first, _) = job.emitted(job.plan(), stage)
            with pytest.raises(OutputError, match="failed: cannot be written: a file"):
                settle(first, job.out, "it crashed")


class TestLedger:
    @settings(max_examples=25, deadline=None)
    @given(
        entries=st.dictionaries(
            st.text("0123456789abcdef", min_size=1, max_size=64),
            st.tuples(st.integers(0, 2**40), st.text("0123456789abcdef", max_size=64)),
        )
    )
    def test_gives_back_what_it_was_given(
        self, tmp_path_factory: pytest.TempPathFactory, entries: dict[str, tuple[int, str]]
    ) -> None:
        ledger = Ledger(folder=tmp_path_factory.mktemp("ledger") / "new")
        for key, (size, sha256) in entries.items():
            ledger.write(key, size, sha256)
        assert {key: ledger.read(key) for key in entries} == entries

    @pytest.mark.parametrize(
        "content", [b"", b"\xff", b"[]", b"7", b'{"size": 1}', b'{"size": "x", "sha256": ""}']
    )
    def test_knows_nothing_where_its_entry_is_damaged(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "key.json").write_bytes(content)
        assert Ledger(folder=tmp_path).read("key") is None

    def test_is_json_that_a_person_can_read(self, tmp_path: Path) -> None:
        Ledger(folder=tmp_path).write("key", 7, "ab")
        assert json.loads((tmp_path / "key.json").read_text()) == {"size": 7, "sha256": "ab"}


class TestStaging:
    def test_folder_is_gone_at_the_end(self, tmp_path: Path) -> None:
        with staging(tmp_path / "new" / "dist") as stage:
            (stage / "half").write_text("x")
        assert everything(tmp_path) == {"new": None, "new/dist": None}

    @pytest.mark.parametrize("error", [OutputError("full"), KeyboardInterrupt(), ValueError()])
    def test_leaves_no_folder_that_was_not_there(
        self, error: BaseException, tmp_path: Path
    ) -> None:
        def fails() -> None:
            with staging(tmp_path / "new" / "dist") as stage:
                (stage / "half").write_text("x")
                raise error

        with pytest.raises(type(error)):
            fails()
        assert everything(tmp_path) == {}

    def test_leaves_a_folder_that_was_there_and_what_was_put_into_a_new_one(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "old").mkdir()

        def fails(name: str, *, keeps: bool) -> None:
            with folder_for(tmp_path / name):
                if keeps:
                    (tmp_path / name / "kept").write_text("x")
                raise OutputError("full")

        for name in ("old", "old/new", "old/new/newer"):
            with pytest.raises(OutputError):
                fails(name, keeps=name == "old/new/newer")
        kept = ["old", "old/new", "old/new/newer", "old/new/newer/kept"]
        assert sorted(everything(tmp_path)) == kept

    def test_sweeps_away_what_a_killed_run_left(self, tmp_path: Path) -> None:
        left = tmp_path / f".work.{2**22 + 1}-0123456789ab.tmp"
        left.mkdir()
        (left / "half.whl").write_bytes(b"PK")
        with staging(tmp_path):
            assert not left.exists()

    def test_says_why_the_folder_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError) as caught, staging(tmp_path / "file" / "dist"):
            raise AssertionError
        assert caught.value.code in {"not-a-folder", "no-folder"}


def test_a_wheel_stands_where_size_and_hash_are_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(b"content")
    digest = sha256_of(path)
    assert stands(path, 7, digest)
    assert not stands(path, 8, digest)
    assert not stands(path, 7, "0" * 64)
    assert not stands(tmp_path / "b.whl", 7, digest)
    os.truncate(path, 0)
    assert not stands(path, 7, digest)

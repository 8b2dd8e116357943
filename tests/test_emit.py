"""Carrying out a plan: nothing half-made under a final name, nothing written twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import test_record
from driving import everything
from wheelmaking import cuda_wheel

from repack.config import Build
from repack.console import SILENT
from repack.emit import Emitted, emit, folder_for, settle, staging
from repack.errors import OutputError
from repack.files import sha256_of
from repack.inspect import Analysis, analyse
from repack.patching import Patched
from repack.plan import Plan, make_plan
from repack.record import BuildRecord, WheelRecord, write_record

TIME = 315_532_800


class Job(NamedTuple):
    """A plan for a wheel, and where it is carried out."""

    analysis: Analysis
    out: Path

    def plan(self, *, text: bytes = b"new\n", time: int = TIME) -> Plan:
        build = Build(out=self.out, python=("3.12", "3.13"))
        patched = Patched(files={"cv2/__init__.py": text}, notes=())
        return make_plan(build, self.analysis, patched, timestamp=time)

    def emitted(self, plan: Plan, stage: Path) -> tuple[Emitted, ...]:
        wheel = self.analysis.wheel
        return emit(plan, wheel, out=self.out, stage=stage, progress=SILENT)

    def carried_out(self, plan: Plan | None = None) -> Sequence[Emitted]:
        """Return what was emitted, once it has been settled."""
        with staging(self.out) as stage:
            emitted = self.emitted(plan or self.plan(), stage)
            for each in emitted:
                settle(each, self.out)
        write_record(self.record(emitted), self.out)
        return emitted

    def record(self, emitted: Sequence[Emitted]) -> BuildRecord:
        """Return what is remembered of the wheels."""
        wheels = [
            WheelRecord(
                path=each.path.name,
                version=each.planned.version,
                tag=each.planned.tag,
                size=each.size,
                sha256=each.sha256,
                recipe=each.planned.recipe,
                seen=(),
            )
            for each in emitted
        ]
        return msgspec.structs.replace(test_record.RECORD, wheels=tuple(wheels))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "in").mkdir()
    return Job(
        analysis=analyse(cuda_wheel(tmp_path / "in")),
        out=tmp_path / "dist",
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

    @pytest.mark.parametrize("change", ["text", "time", "damage", "removal", "record"])
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
        elif change == "record":
            (job.out / "build.json").write_text("what?")
        assert job.carried_out(plan)[0].fresh
        assert [each.fresh for each in job.carried_out(plan)] == [False, False]


class TestSettle:
    def test_keeps_what_else_lies_in_failed(self, job: Job) -> None:
        (job.out / "failed").mkdir(parents=True)
        (job.out / "failed" / "notes.txt").write_text("mine")
        job.carried_out()
        assert [path.name for path in (job.out / "failed").iterdir()] == ["notes.txt"]


class TestStaging:
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

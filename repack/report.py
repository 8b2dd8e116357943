"""Results as values, and as the JSON and the table rows that a command prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repack.archives import Added

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from repack.analysis import Analysis, Finding
    from repack.patching import Note
    from repack.plan import Plan, PlannedWheel, Refusal

#: The version of every JSON object printed; a change that could break a reader raises it.
JSON_VERSION = 1
PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One emitted wheel on one Python; `before` and `after` say what was seen."""

    path: Path
    python: str
    tag: str
    sha256: str
    size: int
    fresh: bool
    status: str
    reason: str
    before: str
    after: str
    #: True where an earlier run tried the very same wheel on the very same Python.
    remembered: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build found, planned and made; `trials` is empty after a dry run."""

    analysis: Analysis
    plan: Plan
    trials: tuple[Trial, ...]
    url: str
    lock_changes: tuple[str, ...]
    dry_run: bool

    @property
    def failed(self) -> bool:
        """Whether a wheel was seen not to work."""
        return any(trial.status == FAILED for trial in self.trials)


def build_json(result: BuildResult) -> Json:
    """Return the object that `repack build --json` prints."""
    return {
        "version": JSON_VERSION,
        "source": source_json(result.analysis, result.url),
        "dry_run": result.dry_run,
        "plan": [_planned_json(planned) for planned in result.plan.wheels],
        "wheels": [_trial_json(trial) for trial in result.trials],
        "refused": [_refusal_json(refusal) for refusal in result.plan.refused],
        "findings": [_finding_json(finding) for finding in findings_of(result)],
        "lock_changes": list(result.lock_changes),
    }


def build_rows(result: BuildResult) -> list[tuple[str, ...]]:
    """Return the before/after table: Python, untouched wheel, fixed wheel, file."""
    rows = [
        (trial.python, trial.before, _after(trial), _file(trial)) for trial in result.trials
    ]
    refused = [
        (refusal.python, "", f"no wheel: {refusal.reason}", "") for refusal in result.plan.refused
    ]
    return sorted([*rows, *refused], key=lambda row: _by_version(row[0]))


BUILD_HEADINGS = ("Python", "untouched wheel", "fixed wheel", "file")


def plan_lines(result: BuildResult) -> list[str]:
    """Return the plan as text: each wheel, and each member that is not copied as it lies."""
    lines = []
    for planned in result.plan.wheels:
        added = [entry for entry in planned.entries if isinstance(entry, Added)]
        copied = len(planned.entries) - len(added)
        lines.append(f"{planned.filename}  for {', '.join(planned.pythons)}")
        lines.append(f"  {copied} members copied as they lie")
        lines += [f"  write {entry.name} ({_size_of(entry)} bytes)" for entry in added]
    lines += [f"no wheel for {refusal.python}: {refusal.reason}" for refusal in result.plan.refused]
    return lines


def findings_of(result: BuildResult) -> list[Finding | Note]:
    """Return what analysis and patching noticed, each thing once."""
    found: dict[tuple[str, str], Finding | Note] = {}
    for item in (*result.plan.notes, *result.analysis.findings):
        found.setdefault((item.code, item.member), item)
    return sorted(found.values(), key=lambda item: (item.code, item.member))


def source_json(analysis: Analysis, url: str) -> Json:
    """Return what is known of the wheel that was started from."""
    wheel = analysis.wheel
    return {
        "filename": wheel.path.name,
        "name": wheel.filename.name,
        "version": str(wheel.filename.version),
        "url": url,
        "size": wheel.size,
        "sha256": wheel.sha256,
        "cuda": cuda_text(analysis),
    }


def cuda_text(analysis: Analysis) -> str | None:
    """Return "12.9" or "12"; None for a binary that needs no CUDA."""
    if analysis.cuda_version is not None:
        return ".".join(map(str, analysis.cuda_version))
    return None if analysis.cuda_major is None else str(analysis.cuda_major)


def inspect_json(analyses: Sequence[Analysis]) -> Json:
    """Return the object that `repack inspect --json` prints."""
    return {"version": JSON_VERSION, "wheels": [_analysis_json(each) for each in analyses]}


def inspect_lines(analysis: Analysis) -> list[str]:
    """Return a wheel's facts and findings as text, one greppable line each."""
    wheel = analysis.wheel
    cuda = cuda_text(analysis)
    lines = [
        wheel.path.name,
        f"  {wheel.filename.name} {wheel.filename.version} for {wheel.filename.tag}, "
        f"{'CUDA ' + cuda if cuda else 'no CUDA'}, NumPy ABI {analysis.numpy or 'unknown'}",
    ]
    for need in analysis.needs:
        where = f"in the wheel: {need.in_wheel}" if need.in_wheel else str(need.dll.kind.value)
        when = "by delay-load" if need.delayed else "at load time"
        lines.append(
            f"  needs {need.dll.name} {when} ({need.dll.family}; {where}), "
            f"for {', '.join(need.needed_by)}"
        )
    lines += [finding_line(wheel.path.name, finding) for finding in analysis.findings]
    return lines


def finding_line(file: str, finding: Finding | Note) -> str:
    """Return one finding as `file: code: message`."""
    place = f" ({finding.member})" if finding.member else ""
    hint = getattr(finding, "hint", "")
    return f"{file}: {finding.code}: {finding.message}{place}{'; ' + hint if hint else ''}"


def _analysis_json(analysis: Analysis) -> Json:
    wheel = analysis.wheel
    return {
        **source_json(analysis, ""),
        "path": str(wheel.path),
        "tags": sorted(map(str, wheel.filename.tags)),
        "abi3": analysis.abi3,
        "numpy": analysis.numpy,
        "native": list(analysis.native),
        "needs": [
            {
                "dll": need.dll.name,
                "kind": need.dll.kind.value,
                "family": need.dll.family,
                "cuda_majors": sorted(need.dll.majors),
                "needed_by": list(need.needed_by),
                "delayed": need.delayed,
                "in_wheel": need.in_wheel,
            }
            for need in analysis.needs
        ],
        "findings": [_finding_json(finding) for finding in analysis.findings],
    }


def _finding_json(finding: Finding | Note) -> Json:
    return {
        "code": finding.code,
        "message": finding.message,
        "member": finding.member,
        "hint": getattr(finding, "hint", ""),
    }


def _trial_json(trial: Trial) -> Json:
    return {
        "path": str(trial.path),
        "python": trial.python,
        "tag": trial.tag,
        "sha256": trial.sha256,
        "size": trial.size,
        "unchanged": not trial.fresh,
        "smoke": {
            "status": trial.status,
            "reason": trial.reason,
            "before": trial.before,
            "after": trial.after,
        },
    }


def _planned_json(planned: PlannedWheel) -> Json:
    added = [entry for entry in planned.entries if isinstance(entry, Added)]
    return {
        "filename": planned.filename,
        "pythons": list(planned.pythons),
        "tag": planned.tag,
        "copied": len(planned.entries) - len(added),
        "written": [{"member": entry.name, "size": _size_of(entry)} for entry in added],
    }


def _refusal_json(refusal: Refusal) -> Json:
    return {"python": refusal.python, "reason": refusal.reason}


def _size_of(entry: Added) -> int:
    content = entry.content
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _after(trial: Trial) -> str:
    if trial.status == NOT_RUN:
        return f"not run: {trial.reason}"
    return trial.after if trial.status == PASSED else f"FAILED: {trial.after or trial.reason}"


def _file(trial: Trial) -> str:
    state = "" if trial.fresh else " (unchanged)"
    return f"{trial.path.name}{state}"


def _by_version(python: str) -> tuple[int, str]:
    minor = python.removeprefix("3.")
    return int(minor.removesuffix("t")), python


def join_lines(lines: Iterable[str]) -> str:
    """Return lines as one text without a trailing line end."""
    return "\n".join(lines)

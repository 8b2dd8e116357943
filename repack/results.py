"""Results as values, and as the JSON and the table rows that a command prints."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repack.dlls import Kind
from repack.patching import BUILD_MODULE, builtin_folder, read_overlay
from repack.plan import megabytes
from repack.record import FAILED
from repack.wheel import Added, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.errors import RepackError
    from repack.inspect import Analysis, Need
    from repack.lock import Pin
    from repack.plan import Plan, PlannedWheel
    from repack.pythons import Interpreter, Unavailable
    from repack.record import Cargo, Finding, Outcome, Refusal
    from repack.wheel import Wheel

#: Of many that need a DLL, so many are named to a person; JSON has all.
_SHOWN = 3
#: The version of every JSON object printed; a change that could break a reader raises it.
JSON_VERSION = 1

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One emitted wheel on one Python: what it did, and what the untouched one did before it."""

    path: Path
    python: str
    tag: str
    sha256: str
    size: int
    fresh: bool
    before: Outcome
    after: Outcome
    #: True where an earlier run tried the very same wheel on the very same Python.
    remembered: bool = False
    #: The wheels of the index that it was tried with.
    beside: tuple[Pin, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoked:
    """A wheel that was tried on one Python."""

    path: Path
    python: str
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build found, planned and made; `rows` is empty after a dry run."""

    analysis: Analysis
    plan: Plan
    rows: tuple[Row, ...]
    url: str
    lock_changes: tuple[str, ...]
    dry_run: bool

    @property
    def failed(self) -> bool:
        """Whether a wheel was seen not to work."""
        return any(row.after.status == FAILED for row in self.rows)


def build_json(result: BuildResult) -> Json:
    """Return the object that `repack build --json` prints."""
    return {
        "version": JSON_VERSION,
        "source": source_json(result.analysis, result.url),
        "dry_run": result.dry_run,
        "plan": [_planned_json(planned) for planned in result.plan.wheels],
        "requires": list(result.plan.requires),
        "carried": [_cargo_json(cargo) for cargo in result.plan.cargo],
        "left_out": list(result.plan.left_out),
        "wheels": [_row_json(row) for row in result.rows],
        "refused": [_refusal_json(refusal) for refusal in result.plan.refused],
        "findings": [_finding_json(finding) for finding in result.plan.findings],
        "lock_changes": list(result.lock_changes),
    }


def builds_json(made: Mapping[str, BuildResult | RepackError], *, dry_run: bool) -> Json:
    """Return the object that `repack build --json` prints for named builds.

    `wheels` has those of all, so that a script finds them where it finds those of one build.
    """
    builds: list[Json] = []
    for name, each in made.items():
        if isinstance(each, BuildResult):
            told = {key: value for key, value in build_json(each).items() if key != "version"}
            builds.append({"name": name, "error": None, **told})
        else:
            builds.append({"name": name, "error": _error_json(each), "wheels": []})
    wheels = [{"build": told["name"], **wheel} for told in builds for wheel in told["wheels"]]
    return {"version": JSON_VERSION, "dry_run": dry_run, "builds": builds, "wheels": wheels}


def failure_line(result: BuildResult) -> str:
    """Return on which Pythons a wheel did not work."""
    failed = [row for row in result.rows if row.after.status == FAILED]
    pythons = ", ".join(row.python for row in failed)
    return f"it does not work on {pythons}: {failed[0].after.reason}"


def build_rows(result: BuildResult) -> list[tuple[str, ...]]:
    """Return the before/after table: Python, untouched wheel, fixed wheel, file."""
    rows = [(row.python, row.before.said, _after(row), _file(row)) for row in result.rows]
    refused = [
        (refusal.python, "", f"no wheel: {refusal.reason}", "") for refusal in result.plan.refused
    ]
    return sorted([*rows, *refused], key=lambda row: _by_version(row[0]))


BUILD_HEADINGS = ("Python", "untouched wheel", "fixed wheel", "file")


def plan_lines(result: BuildResult) -> list[str]:
    """Return the plan as text: each wheel, and each member that is not copied as it lies."""
    lines = []
    plan = result.plan
    carried = {cargo.member for cargo in plan.cargo}
    at_most = "" if all(cargo.packed is not None for cargo in plan.cargo) else "at most "
    for planned in plan.wheels:
        own = [entry for entry in planned.entries if name_of(entry) not in carried]
        added = [entry for entry in own if isinstance(entry, Added)]
        copied = len(own) - len(added)
        pythons = ", ".join(planned.pythons)
        lines.append(f"{planned.filename}  for {pythons}  {at_most}{megabytes(planned.size)}")
        lines.append(f"  {copied} members copied as they lie")
        lines += [f"  write {entry.name} ({_size_of(entry)} bytes)" for entry in added]
    lines += [f"in each: {_cargo_line(cargo)}" for cargo in plan.cargo]
    lines += [f"each requires {line}" for line in plan.requires]
    if plan.left_out:
        lines.append(f"left to the machine: {', '.join(plan.left_out)}")
    lines += [f"no wheel for {refusal.python}: {refusal.reason}" for refusal in result.plan.refused]
    return lines


def _cargo_line(cargo: Cargo) -> str:
    packed = "" if cargo.packed is None else f", {megabytes(cargo.packed)} of the wheel"
    return f"{cargo.member} ({megabytes(cargo.size)}{packed}), from {cargo.origin}"


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


def inspect_json(analyses: Sequence[Analysis], errors: Sequence[RepackError]) -> Json:
    """Return the object that `repack inspect --json` prints."""
    return {
        "version": JSON_VERSION,
        "wheels": [_analysis_json(each) for each in analyses],
        "errors": [_error_json(each) for each in errors],
    }


def error_json(error: RepackError) -> Json:
    """Return the object that a command with --json prints where it ends in an error."""
    return {"version": JSON_VERSION, "error": _error_json(error)}


def inspect_lines(analysis: Analysis) -> list[str]:
    """Return a wheel's facts and findings as text, one greppable line each."""
    wheel = analysis.wheel
    cuda = cuda_text(analysis)
    built_with = f"CUDA {cuda}" if cuda else "no CUDA"
    says = f"{wheel.filename.name} {wheel.filename.version} for {wheel.filename.tag}"
    numpy = analysis.numpy or "unknown"
    return [
        wheel.path.name,
        f"  {says}, {built_with}, NumPy ABI {numpy}",
        *(_need_line(need) for need in analysis.needs if _is_worth_a_line(need)),
        *_everyday_lines(analysis),
        *(f"  {_module_line(module)}" for module in _modules_json(wheel)),
        *(finding_line(wheel.path.name, finding) for finding in analysis.findings),
    ]


def _modules_json(wheel: Wheel) -> list[Json]:
    """Return the hash of each of repack's own files in the wheel, and whether it is today's."""
    own = read_overlay(builtin_folder()).files
    return [
        {
            "member": member,
            "sha256": wheel.record[member].hex,
            "same": wheel.record[member].hex == hashlib.sha256(content).hexdigest(),
        }
        for member, content in own.items()
        if member in wheel.record and BUILD_MODULE in wheel.record
    ]


def _module_line(module: Json) -> str:
    repack = "as this repack has it" if module["same"] else "not as this repack has it"
    return f"{module['member']} has SHA-256 {module['sha256']}, {repack}"


def _is_worth_a_line(need: Need) -> bool:
    """Return whether somebody has to see to it that the DLL is found."""
    return need.in_wheel is None and need.dll.kind in {
        Kind.CUDA,
        Kind.CUDNN,
        Kind.DRIVER,
        Kind.UNKNOWN,
    }


def _need_line(need: Need) -> str:
    when = "by delay-load" if need.delayed else "at load time"
    shown, more = need.needed_by[:_SHOWN], len(need.needed_by) - _SHOWN
    whom = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"  needs {need.dll.name} {when} ({need.dll.family}), for {whom}"


def _everyday_lines(analysis: Analysis) -> list[str]:
    """Return one line for each place that the other DLLs come from: the wheel, Windows, ..."""
    places: dict[str, list[str]] = {}
    for need in analysis.needs:
        if not _is_worth_a_line(need):
            place = "in the wheel" if need.in_wheel else need.dll.family
            places.setdefault(place, []).append(need.dll.name)
    return [f"  {place}: {', '.join(names)}" for place, names in sorted(places.items())]


def finding_line(file: str, finding: Finding) -> str:
    """Return one finding as `file: code: message`."""
    place = f" ({finding.member})" if finding.member else ""
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{file}: {finding.code}: {finding.message}{place}{hint}"


SMOKE_HEADINGS = ("Wheel", "Python", "what it did", "seconds")


def smoke_json(results: Sequence[Smoked]) -> Json:
    """Return the object that `repack smoke --json` prints."""
    return {
        "version": JSON_VERSION,
        "wheels": [
            {
                "path": str(each.path),
                "python": each.python,
                "smoke": {
                    "status": each.outcome.status,
                    "reason": each.outcome.reason,
                    "after": each.outcome.said,
                    "driver": each.outcome.driver,
                    "seconds": round(each.outcome.seconds, 1),
                    "log": each.outcome.log,
                },
            }
            for each in results
        ],
    }


def smoke_rows(results: Sequence[Smoked]) -> list[tuple[str, ...]]:
    """Return the table of `repack smoke`."""
    return [
        (each.path.name, each.python, each.outcome.said, f"{each.outcome.seconds:.1f}")
        for each in results
    ]


PYTHONS_HEADINGS = ("Python", "version", "machine", "where from", "python.exe, or what to do")


def pythons_json(found: Sequence[Interpreter | Unavailable]) -> Json:
    """Return the object that `repack pythons --json` prints."""
    from repack.pythons import Unavailable  # noqa: PLC0415 - slow, and seldom needed

    return {
        "version": JSON_VERSION,
        "pythons": [
            {"python": each.version, "available": False, "reason": each.reason, "hint": each.hint}
            if isinstance(each, Unavailable)
            else {
                "python": each.version,
                "available": True,
                "version": each.full_version,
                "machine": each.machine,
                "origin": each.origin,
                "path": str(each.python),
            }
            for each in found
        ],
    }


def pythons_rows(found: Sequence[Interpreter | Unavailable]) -> list[tuple[str, ...]]:
    """Return the table of `repack pythons`."""
    from repack.pythons import Unavailable  # noqa: PLC0415 - slow, and seldom needed

    return [
        (each.version, "", "", each.reason, each.hint)
        if isinstance(each, Unavailable)
        else (each.version, each.full_version, each.machine, each.origin, str(each.python))
        for each in found
    ]


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
        "modules": _modules_json(wheel),
        "findings": [_finding_json(finding) for finding in analysis.findings],
    }


def _error_json(error: RepackError) -> Json:
    return {
        "file": error.file,
        "member": error.member,
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
    }


def _finding_json(finding: Finding) -> Json:
    return {
        "code": finding.code,
        "message": finding.message,
        "member": finding.member,
        "hint": finding.hint,
    }


def _row_json(row: Row) -> Json:
    return {
        "path": str(row.path),
        "python": row.python,
        "tag": row.tag,
        "sha256": row.sha256,
        "size": row.size,
        "unchanged": not row.fresh,
        "smoke": {
            "status": row.after.status,
            "reason": row.after.reason,
            "before": row.before.said,
            "after": row.after.said,
            "driver": row.after.driver,
            "seconds": round(row.after.seconds, 1),
            "remembered": row.remembered,
        },
    }


def _planned_json(planned: PlannedWheel) -> Json:
    added = [entry for entry in planned.entries if isinstance(entry, Added)]
    return {
        "filename": planned.filename,
        "pythons": list(planned.pythons),
        "tag": planned.tag,
        "size": planned.size,
        "copied": len(planned.entries) - len(added),
        "written": [{"member": entry.name, "size": _size_of(entry)} for entry in added],
    }


def _cargo_json(cargo: Cargo) -> Json:
    return {
        "member": cargo.member,
        "family": cargo.family,
        "origin": cargo.origin,
        "size": cargo.size,
        "packed": cargo.packed,
        "sha256": cargo.sha256,
    }


def _refusal_json(refusal: Refusal) -> Json:
    return {"python": refusal.python, "reason": refusal.reason}


def _size_of(entry: Added) -> int:
    content = entry.content
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _after(row: Row) -> str:
    """Return what the fixed wheel did; a failure stands out without colour."""
    said = f"FAILED: {row.after.said}" if row.after.status == FAILED else row.after.said
    return f"{said} (seen before)" if row.remembered else said


def _file(row: Row) -> str:
    return row.path.name if row.fresh else f"{row.path.name} (unchanged)"


def _by_version(python: str) -> tuple[int, str]:
    minor = python.removeprefix("3.")
    return int(minor.removesuffix("t")), python

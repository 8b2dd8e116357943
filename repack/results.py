"""What commands print: JSON for scripts, and tables and lines for people."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from repack.build import BuildResult
from repack.dlls.families import Kind
from repack.errors import RepackError
from repack.inspect.analysis import Analysis
from repack.inspect.binaries import Need
from repack.patching import BUILD_MODULE, builtin_folder, read_overlay
from repack.plan import PlannedWheel, describe_source, format_megabytes
from repack.pythons.interpreter import Interpreter
from repack.record import FAILED, Cargo, Finding, Outcome, Seen, WheelRecord
from repack.wheel.reader import Wheel
from repack.wheel.writer import Added

BUILD_HEADINGS = ("Python", "untouched wheel", "fixed wheel", "file")
SMOKE_HEADINGS = ("Wheel", "Python", "what it did", "seconds")
PYTHONS_HEADINGS = ("Python", "version", "machine", "where from", "python.exe, or what to do")
#: Of many that need a DLL, so many are named to a person; JSON has all.
_SHOWN = 3
#: Kinds of DLLs that somebody has to see to, where they are not in the wheel.
_WORTH_A_LINE = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER, Kind.UNKNOWN}

Json = dict[str, Any]

_NOT_YET = "not put together yet"
#: A wheel, the Python that it was tried on, and what it did there.
Smoked = tuple[Path, str, Outcome]


def error_json(error: RepackError) -> Json:
    """Return an error as an object."""
    return {
        "file": error.file,
        "member": error.member,
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
    }


def finding_line(file: str, finding: Finding) -> str:
    """Return one finding as `file: code: message`."""
    place = f" ({finding.member})" if finding.member else ""
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{file}: {finding.code}: {finding.message}{place}{hint}"


# A build


def build_json(result: BuildResult) -> Json:
    """Return what a build made, from its record, and what it planned."""
    record = msgspec.to_builtins(result.record)
    fields = ("requires", "carried", "left_out", "refused", "findings")
    return {
        "dry_run": result.dry_run,
        "plan": [_planned_json(planned) for planned in result.plan.wheels],
        "wheels": [
            _tried_json(result, wheel, seen)
            for wheel in result.record.wheels
            for seen in wheel.seen
        ],
        "lock_changes": list(result.lock_changes),
        **{field: record[field] for field in fields},
        "source": {**record["source"], "cuda": result.record.source.cuda or None},
    }


def builds_json(outcomes: Mapping[str, BuildResult | RepackError], *, dry_run: bool) -> Json:
    """Return what several builds made; `wheels` has those of all, as for a single build."""
    builds: list[Json] = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, BuildResult):
            builds.append({"name": name, "error": None, **build_json(outcome)})
        else:
            builds.append({"name": name, "error": error_json(outcome), "wheels": []})
    wheels = [{"build": build["name"], **wheel} for build in builds for wheel in build["wheels"]]
    return {"dry_run": dry_run, "builds": builds, "wheels": wheels}


def build_rows(result: BuildResult) -> list[tuple[str, ...]]:
    """Return a row for each Python; a failure stands out without colour."""
    rows = [
        (refusal.python, "", f"no wheel: {refusal.reason}", "") for refusal in result.record.refused
    ]
    for wheel in result.record.wheels:
        file = wheel.filename + (" (unchanged)" if wheel.filename in result.unchanged else "")
        for seen in wheel.seen:
            after = "FAILED: " if seen.status == FAILED else ""
            after += seen.after.summary
            after += " (seen before)" if (wheel.filename, seen.python) in result.remembered else ""
            rows.append((seen.python, seen.before.summary, after, file))
    return sorted(rows, key=lambda row: int(row[0].removeprefix("3.").rstrip("t")))


def failure_line(result: BuildResult) -> str:
    """Return on which Pythons a wheel did not work."""
    failed = [
        seen for wheel in result.record.wheels for seen in wheel.seen if seen.status == FAILED
    ]
    pythons = ", ".join(seen.python for seen in failed)
    return f"it does not work on {pythons}: {failed[0].after.reason}"


def plan_lines(result: BuildResult) -> list[str]:
    """Return the plan as text: each wheel, and each member that is not copied as it lies."""
    lines = []
    record = result.record
    carried = {cargo.member for cargo in record.carried}
    at_most = "" if all(cargo.packed is not None for cargo in record.carried) else "at most "
    for planned in result.plan.wheels:
        own = [entry for entry in planned.entries if entry.name not in carried]
        added = [entry for entry in own if isinstance(entry, Added)]
        pythons, size = ", ".join(planned.pythons), format_megabytes(planned.size)
        lines.append(f"{planned.filename}  for {pythons}  {at_most}{size}")
        lines.append(f"  {len(own) - len(added)} members copied as they lie")
        lines += [f"  write {entry.name} ({_size_of(entry)} bytes)" for entry in added]
    lines += [f"in each: {_cargo_line(cargo)}" for cargo in record.carried]
    lines += [f"each requires {line}" for line in record.requires]
    if record.left_out:
        lines.append(f"left to the machine: {', '.join(record.left_out)}")
    lines += [f"no wheel for {refusal.python}: {refusal.reason}" for refusal in record.refused]
    return lines


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


def _tried_json(result: BuildResult, wheel: WheelRecord, seen: Seen) -> Json:
    return {
        "path": str(result.out / wheel.path),
        "python": seen.python,
        "tag": wheel.tag,
        "sha256": wheel.sha256,
        "size": wheel.size,
        "unchanged": wheel.filename in result.unchanged,
        "smoke": {
            **_outcome_json(seen.after),
            "before": seen.before.summary,
            "remembered": (wheel.filename, seen.python) in result.remembered,
        },
    }


def _outcome_json(outcome: Outcome) -> Json:
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "after": outcome.summary,
        "driver": outcome.driver,
    }


def _cargo_line(cargo: Cargo) -> str:
    packed = "" if cargo.packed is None else f", {format_megabytes(cargo.packed)} of the wheel"
    return f"{cargo.member} ({format_megabytes(cargo.size)}{packed}), from {cargo.origin}"


def _size_of(entry: Added) -> int:
    content = entry.content
    return len(content) if isinstance(content, bytes) else content.stat().st_size


# A wheel that is inspected


def inspect_json(analysis: Analysis, findings: Sequence[Finding]) -> Json:
    """Return a wheel's facts and findings."""
    wheel, source = analysis.wheel, describe_source(analysis, "")
    return {
        **msgspec.to_builtins(source),
        "cuda": source.cuda or None,
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
        "modules": _own_modules(wheel),
        "findings": msgspec.to_builtins(tuple(findings)),
    }


def inspect_lines(analysis: Analysis, findings: Sequence[Finding]) -> list[str]:
    """Return a wheel's facts and findings as text, one greppable line each."""
    wheel, source = analysis.wheel, describe_source(analysis, "")
    built_with = f"CUDA {source.cuda}" if source.cuda else "no CUDA"
    numpy = analysis.numpy or "unknown"
    says = f"{source.name} {source.version} for {wheel.filename.tag}"
    lines = [source.filename, f"  {says}, {built_with}, NumPy ABI {numpy}"]
    elsewhere: dict[str, list[str]] = {}
    for need in analysis.needs:
        if need.in_wheel is None and need.dll.kind in _WORTH_A_LINE:
            lines.append(_need_line(need))
        else:
            place = "in the wheel" if need.in_wheel else need.dll.family
            elsewhere.setdefault(place, []).append(need.dll.name)
    lines += [f"  {place}: {', '.join(names)}" for place, names in sorted(elsewhere.items())]
    for module in _own_modules(wheel):
        whose = "as this repack has it" if module["same"] else "not as this repack has it"
        lines.append(f"  {module['member']} has SHA-256 {module['sha256']}, {whose}")
    return [*lines, *(finding_line(source.filename, finding) for finding in findings)]


def _need_line(need: Need) -> str:
    when = "by delay-load" if need.delayed else "at load time"
    shown, more = need.needed_by[:_SHOWN], len(need.needed_by) - _SHOWN
    whom = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"  needs {need.dll.name} {when} ({need.dll.family}), for {whom}"


def _own_modules(wheel: Wheel) -> list[Json]:
    """Return the hash of each of repack's own files in the wheel, and whether it is today's."""
    if BUILD_MODULE not in wheel.record:
        return []
    overlay = read_overlay(builtin_folder()).files
    return [
        {"member": member, "sha256": digest, "same": digest == hashlib.sha256(content).hexdigest()}
        for member, content in overlay.items()
        if member in wheel.record and (digest := wheel.record[member].hex)
    ]


# Wheels that are tried, and Pythons


def smoke_json(smoked: Sequence[Smoked]) -> list[Json]:
    """Return what each wheel did on each Python."""
    return [
        {
            "path": str(path),
            "python": python,
            "smoke": {
                **_outcome_json(outcome),
                "seconds": round(outcome.seconds, 1),
                "log": outcome.log,
            },
        }
        for path, python, outcome in smoked
    ]


def smoke_rows(smoked: Sequence[Smoked]) -> list[tuple[str, ...]]:
    """Return a row for each wheel on each Python."""
    return [
        (path.name, python, outcome.summary, f"{outcome.seconds:.1f}")
        for path, python, outcome in smoked
    ]


def python_json(python: Interpreter | str) -> Json:
    """Return a Windows Python that is here, or a version that can be put together."""
    if isinstance(python, str):
        reason, hint = _NOT_YET, f"repack pythons --assemble {python}"
        return {"python": python, "available": False, "reason": reason, "hint": hint}
    return {
        "python": python.version,
        "available": True,
        "version": python.full_version,
        "machine": python.machine,
        "origin": python.origin,
        "path": str(python.python),
    }


def python_row(python: Interpreter | str) -> tuple[str, ...]:
    """Return the row of a Windows Python that is here, or of one that can be put together."""
    if isinstance(python, str):
        return (python, "", "", _NOT_YET, f"repack pythons --assemble {python}")
    return (
        python.version,
        python.full_version,
        python.machine,
        python.origin,
        str(python.python),
    )

"""Results as values, and as the JSON and the table rows that a command prints."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from repack.build import BuildResult
from repack.dlls import Kind
from repack.errors import RepackError
from repack.inspect import Analysis, Need
from repack.patching import BUILD_MODULE, builtin_folder, read_overlay
from repack.plan import PlannedWheel, format_megabytes
from repack.pythons import Interpreter, Unavailable
from repack.record import FAILED, Cargo, Finding, Outcome, Seen, WheelRecord
from repack.wheel import Added, Wheel, name_of

#: Of many that need a DLL, so many are named to a person; JSON has all.
_SHOWN = 3
#: The version of every JSON object printed; a change that could break a reader raises it.
JSON_VERSION = 1

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoked:
    """A wheel that was tried on one Python."""

    path: Path
    python: str
    outcome: Outcome


def build_json(result: BuildResult) -> Json:
    """Return the object that `repack build --json` prints."""
    record = msgspec.to_builtins(result.record)
    shared = ("requires", "carried", "left_out", "refused", "findings")
    return {
        "version": JSON_VERSION,
        "source": {**record["source"], "cuda": result.record.source.cuda or None},
        "dry_run": result.dry_run,
        "plan": [_planned_json(planned) for planned in result.plan.wheels],
        "wheels": [
            _seen_json(result, wheel, seen) for wheel in result.record.wheels for seen in wheel.seen
        ],
        "lock_changes": list(result.lock_changes),
        **{field: list(record[field]) for field in shared},
    }


def builds_json(outcomes: Mapping[str, BuildResult | RepackError], *, dry_run: bool) -> Json:
    """Return the object that `repack build --json` prints for named builds.

    `wheels` has those of all, so that a script finds them where it finds those of one build.
    """
    builds: list[Json] = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, BuildResult):
            builds.append({"name": name, "error": None, **build_json(outcome)})
            del builds[-1]["version"]
        else:
            builds.append({"name": name, "error": _error_json(outcome), "wheels": []})
    wheels = [{"build": build["name"], **wheel} for build in builds for wheel in build["wheels"]]
    return {"version": JSON_VERSION, "dry_run": dry_run, "builds": builds, "wheels": wheels}


def failure_line(result: BuildResult) -> str:
    """Return on which Pythons a wheel did not work."""
    failed = [
        seen for wheel in result.record.wheels for seen in wheel.seen if seen.status == FAILED
    ]
    pythons = ", ".join(seen.python for seen in failed)
    return f"it does not work on {pythons}: {failed[0].after.reason}"


def build_rows(result: BuildResult) -> list[tuple[str, ...]]:
    """Return the before/after table: Python, untouched wheel, fixed wheel, file."""
    rows = [
        (seen.python, seen.before.summary, _after(result, wheel, seen), _file(result, wheel))
        for wheel in result.record.wheels
        for seen in wheel.seen
    ]
    refused = [
        (refusal.python, "", f"no wheel: {refusal.reason}", "") for refusal in result.record.refused
    ]
    return sorted([*rows, *refused], key=lambda row: _by_version(row[0]))


BUILD_HEADINGS = ("Python", "untouched wheel", "fixed wheel", "file")


def plan_lines(result: BuildResult) -> list[str]:
    """Return the plan as text: each wheel, and each member that is not copied as it lies."""
    lines = []
    record = result.record
    carried = {cargo.member for cargo in record.carried}
    at_most = "" if all(cargo.packed is not None for cargo in record.carried) else "at most "
    for planned in result.plan.wheels:
        own = [entry for entry in planned.entries if name_of(entry) not in carried]
        added = [entry for entry in own if isinstance(entry, Added)]
        copied = len(own) - len(added)
        pythons = ", ".join(planned.pythons)
        lines.append(
            f"{planned.filename}  for {pythons}  {at_most}{format_megabytes(planned.size)}"
        )
        lines.append(f"  {copied} members copied as they lie")
        lines += [f"  write {entry.name} ({_size_of(entry)} bytes)" for entry in added]
    lines += [f"in each: {_cargo_line(cargo)}" for cargo in record.carried]
    lines += [f"each requires {line}" for line in record.requires]
    if record.left_out:
        lines.append(f"left to the machine: {', '.join(record.left_out)}")
    lines += [f"no wheel for {refusal.python}: {refusal.reason}" for refusal in record.refused]
    return lines


def _cargo_line(cargo: Cargo) -> str:
    packed = "" if cargo.packed is None else f", {format_megabytes(cargo.packed)} of the wheel"
    return f"{cargo.member} ({format_megabytes(cargo.size)}{packed}), from {cargo.origin}"


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
        "wheels": [_analysis_json(analysis) for analysis in analyses],
        "errors": [_error_json(error) for error in errors],
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


def smoke_json(smoked: Sequence[Smoked]) -> Json:
    """Return the object that `repack smoke --json` prints."""
    wheels = [
        {
            "path": str(trial.path),
            "python": trial.python,
            "smoke": {
                **_outcome_json(trial.outcome),
                "seconds": round(trial.outcome.seconds, 1),
                "log": trial.outcome.log,
            },
        }
        for trial in smoked
    ]
    return {"version": JSON_VERSION, "wheels": wheels}


def _outcome_json(outcome: Outcome) -> Json:
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "after": outcome.summary,
        "driver": outcome.driver,
    }


def smoke_rows(smoked: Sequence[Smoked]) -> list[tuple[str, ...]]:
    """Return the table of `repack smoke`."""
    return [
        (trial.path.name, trial.python, trial.outcome.summary, f"{trial.outcome.seconds:.1f}")
        for trial in smoked
    ]


PYTHONS_HEADINGS = ("Python", "version", "machine", "where from", "python.exe, or what to do")


def pythons_json(pythons: Sequence[Interpreter | Unavailable]) -> Json:
    """Return the object that `repack pythons --json` prints."""
    return {"version": JSON_VERSION, "pythons": [_python_json(python) for python in pythons]}


def _python_json(python: Interpreter | Unavailable) -> Json:
    if isinstance(python, Unavailable):
        why = {"reason": python.reason, "hint": python.hint}
        return {"python": python.version, "available": False, **why}
    return {
        "python": python.version,
        "available": True,
        "version": python.full_version,
        "machine": python.machine,
        "origin": python.origin,
        "path": str(python.python),
    }


def pythons_rows(pythons: Sequence[Interpreter | Unavailable]) -> list[tuple[str, ...]]:
    """Return the table of `repack pythons`."""
    return [
        (python.version, "", "", python.reason, python.hint)
        if isinstance(python, Unavailable)
        else (
            python.version,
            python.full_version,
            python.machine,
            python.origin,
            str(python.python),
        )
        for python in pythons
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
        "findings": list(map(msgspec.to_builtins, analysis.findings)),
    }


def _error_json(error: RepackError) -> Json:
    return {
        "file": error.file,
        "member": error.member,
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
    }


def _seen_json(result: BuildResult, wheel: WheelRecord, seen: Seen) -> Json:
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


def _size_of(entry: Added) -> int:
    content = entry.content
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _after(result: BuildResult, wheel: WheelRecord, seen: Seen) -> str:
    """Return what the fixed wheel did; a failure stands out without colour."""
    text = f"FAILED: {seen.after.summary}" if seen.status == FAILED else seen.after.summary
    is_remembered = (wheel.filename, seen.python) in result.remembered
    return f"{text} (seen before)" if is_remembered else text


def _file(result: BuildResult, wheel: WheelRecord) -> str:
    return f"{wheel.filename}{' (unchanged)' if wheel.filename in result.unchanged else ''}"


def _by_version(python: str) -> tuple[int, str]:
    minor = python.removeprefix("3.")
    return int(minor.removesuffix("t")), python

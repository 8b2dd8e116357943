"""`repack inspect` and `repack smoke`: wheels of any origin are looked at, and tried."""

import argparse
import hashlib
import logging
from collections.abc import Sequence

import msgspec

from repack.cli.commands import (
    Answer,
    Json,
    config_of,
    error_json,
    finding_line,
    outcome_json,
    supply_of,
)
from repack.config import DEFAULT_PYTHONS
from repack.console import Progress
from repack.dlls.families import Kind
from repack.errors import InputError
from repack.inspect import Analysis, analyse
from repack.inspect.binaries import Need
from repack.inspect.findings import find_findings
from repack.patching import BUILD_MODULE
from repack.patching.overlays import read_own_files
from repack.plan import describe_source
from repack.record import FAILED, Finding
from repack.smoke import smoke_wheels
from repack.wheel.reader import Wheel

_log = logging.getLogger(__name__)
#: Of many that need a DLL, so many are named to a person; JSON has all.
_SHOWN = 3
#: Kinds of DLLs that somebody has to see to, where they are not in the wheel.
_WORTH_A_LINE = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER, Kind.UNKNOWN}


def run_inspect(options: argparse.Namespace, progress: Progress) -> Answer:
    """Say what a wheel is, which DLLs it needs, and what is wrong with it.

    Reads wheels of any origin without running anything of them. One that cannot be read does not
    keep the others from being told. A finding is a code and a sentence; with --strict any finding
    is a failed check.

    Examples:
        repack inspect dist/*.whl
        repack inspect --strict --json upstream.whl

    """
    wheels, errors = [], []
    with progress.task("Reading wheels", total=len(options.wheels), unit="steps") as task:
        for wheel in options.wheels:
            try:
                analysis = analyse(wheel, allow_startup_hook=True)
                wheels.append((analysis, find_findings(analysis, DEFAULT_PYTHONS)))
            except InputError as error:
                errors.append(error)
            task.advance(1)
    for refusal in errors:
        _log.error("%s", refusal)
    has_findings = any(findings for _, findings in wheels)
    return Answer(
        {
            "wheels": [_inspect_json(*wheel) for wheel in wheels],
            "errors": [error_json(error) for error in errors],
        },
        [line for wheel in wheels for line in _inspect_lines(*wheel)],
        failed=bool(errors) or (options.strict and has_findings),
    )


def _inspect_json(analysis: Analysis, findings: Sequence[Finding]) -> Json:
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
                "needed_by": list(need.needed_by),
                "delayed": need.delayed,
                "in_wheel": need.in_wheel,
            }
            for need in analysis.needs
        ],
        "modules": _list_own_modules(wheel),
        "findings": msgspec.to_builtins(tuple(findings)),
    }


def _inspect_lines(analysis: Analysis, findings: Sequence[Finding]) -> list[str]:
    """Return a wheel's facts and findings as text, one greppable line each."""
    wheel, source = analysis.wheel, describe_source(analysis, "")
    built_with = f"CUDA {source.cuda}" if source.cuda else "no CUDA"
    numpy = analysis.numpy or "unknown"
    what = f"{source.name} {source.version} for {wheel.filename.tag}"
    lines = [source.filename, f"  {what}, {built_with}, NumPy ABI {numpy}"]
    elsewhere: dict[str, list[str]] = {}
    for need in analysis.needs:
        if need.in_wheel is None and need.dll.kind in _WORTH_A_LINE:
            lines.append(_need_line(need))
        else:
            place = "in the wheel" if need.in_wheel else need.dll.family
            elsewhere.setdefault(place, []).append(need.dll.name)
    lines += [f"  {place}: {', '.join(names)}" for place, names in sorted(elsewhere.items())]
    for module in _list_own_modules(wheel):
        whose = "as this repack has it" if module["same"] else "not as this repack has it"
        lines.append(f"  {module['member']} has SHA-256 {module['sha256']}, {whose}")
    return [*lines, *(finding_line(source.filename, finding) for finding in findings)]


def _need_line(need: Need) -> str:
    when = "by delay-load" if need.delayed else "at load time"
    shown, more = need.needed_by[:_SHOWN], len(need.needed_by) - _SHOWN
    askers = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"  needs {need.dll.name} {when} ({need.dll.family}), for {askers}"


def _list_own_modules(wheel: Wheel) -> list[Json]:
    """Return the hash of each of repack's own files in the wheel, and whether it is today's."""
    if BUILD_MODULE not in wheel.record:
        return []
    overlay = read_own_files()
    return [
        {"member": member, "sha256": digest, "same": digest == hashlib.sha256(content).hexdigest()}
        for member, content in overlay.items()
        if member in wheel.record and (digest := wheel.record[member].hex)
    ]


def run_smoke(options: argparse.Namespace, progress: Progress) -> Answer:
    """Install wheels on genuine Windows Pythons and import them.

    Has the Windows Python's own pip install each wheel into an empty folder, then imports cv2,
    resizes an array, encodes and decodes a picture and asks for CUDA devices, each in a process
    of its own. Without --python on those of repack.toml.

    Examples:
        repack smoke dist/*.whl
        repack smoke x.whl --python 3.12 --dll-dir cuda/bin --env CUDA_MODULE_LOADING=LAZY

    """
    config = config_of(options)
    supply = supply_of(config, options, progress)
    allowed = config.allow.startup_hook
    wheels = [analyse(wheel, allow_startup_hook=allowed) for wheel in options.wheels]
    smoked = smoke_wheels(wheels, config.build.python, config.smoke, supply, dict(options.env))
    supply.keep()
    headings = ("Wheel", "Python", "what it did", "seconds")
    rows = [
        (path.name, python, outcome.summary, f"{outcome.seconds:.1f}")
        for path, python, outcome in smoked
    ]
    tried = [
        {
            "path": str(path),
            "python": python,
            "smoke": {
                **outcome_json(outcome),
                "seconds": round(outcome.seconds, 1),
                "log": outcome.log,
            },
        }
        for path, python, outcome in smoked
    ]
    failed = any(outcome.status == FAILED for _, _, outcome in smoked)
    return Answer({"wheels": tried}, tables=[("", headings, rows)], failed=failed)

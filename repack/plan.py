"""Decides what will be written: settings and analysis in, `Plan` out, nothing touched.

What `repack build --dry-run` prints is this plan; `emit` writes the same.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff

from packaging.specifiers import SpecifierSet

from repack.config import Build, Config, name_token
from repack.dlls.families import Kind, key_of
from repack.errors import InputError, OutputError
from repack.inspect import Analysis
from repack.inspect.binaries import Need
from repack.inspect.findings import find_findings
from repack.inspect.pythons import leaves_no_numpy, python_dlls, serves, tag_of
from repack.record import BuildRecord, Cargo, Change, Finding, NeededDll, Origin, Refusal
from repack.wheel.names import local_version, rename_wheel
from repack.wheel.reader import Wheel, read_member
from repack.wheel.writer import Part, rewrite_members, size_of

#: What the stable ABI is linked to; the other is free-threaded Python's.
_STABLE_DLLS = frozenset({"python3.dll", "python3t.dll"})
#: Changes whenever the same recipe gives other bytes than before.
_FORMAT = "4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplement:
    """What goes into each wheel beside, or in place of, the source's members.

    `label` says what was done. `files` are the patches, by member. `carried` are the members that a
    mode brings, `cargo` the DLLs among them, and `licence` is the SPDX identifier for these.
    `requires` and `extras` are added to METADATA. `left` is what the machine still has to have of
    CUDA, where DLLs are carried.
    """

    label: str = "patched"
    files: Mapping[str, bytes] = field(default_factory=dict)
    carried: tuple[Part, ...] = ()
    cargo: tuple[Cargo, ...] = ()
    licence: str = ""
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    left: tuple[Need, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWheel:
    """One wheel to be written; `recipe` is the SHA-256 of all that decides its bytes."""

    filename: str
    version: str
    tag: str
    pythons: tuple[str, ...]
    entries: tuple[Part, ...]
    recipe: str

    @property
    def size(self) -> int:
        """How large the file will be, in bytes; what is still to be deflated counts in full."""
        return size_of(self.entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a build will write, and what it will not.

    `record` is the build's, in which the wheels are still to come. `emitted` is the analysis as it
    holds of them: what they require, and which DLLs the machine has to have for them. `timestamp`
    is in seconds since 1970.
    """

    wheels: tuple[PlannedWheel, ...]
    record: BuildRecord
    emitted: Analysis
    timestamp: int


def make_plan(  # noqa: PLR0913 - all that decides meets here
    config: Config,
    analysis: Analysis,
    supplement: Supplement,
    refusals: Mapping[str, str],
    *,
    timestamp: int,
    url: str = "",
) -> Plan:
    """Return what will be written for the wheel that `analysis` describes.

    `refusals` has the Pythons asked for, and why one gets no wheel, "" for those that get one;
    `timestamp` becomes the time of every member; `url` is where anybody gets the source. Raises
    InputError where no Python can be served, OutputError for a wheel that the index would not take.
    """
    build = config.build
    served = [python for python, reason in refusals.items() if not reason]
    if not served:
        reasons = "; ".join(dict.fromkeys(refusals.values()))
        raise InputError(
            f"no wheel for {', '.join(refusals)}: {reasons}",
            code="no-python",
            file=analysis.wheel.path.name,
            hint="ask for a Python that the wheel was built for, with --python",
        )
    groups = [served] if build.emit == "abi3" else [[python] for python in served]
    wheels = tuple(_plan_wheel(build, analysis, supplement, group, timestamp) for group in groups)
    # With DLLs that are still to be deflated, a wheel is judged once it is written.
    if all(dll.packed is not None for dll in supplement.cargo):
        for wheel in wheels:
            check_size(wheel.filename, wheel.size, config.publish.max_size, supplement.cargo)
    findings = {
        (finding.code, finding.member, finding.message): finding
        for finding in (*supplement.findings, *find_findings(analysis, build.python))
    }
    record = BuildRecord(
        source=describe_source(analysis, url),
        name=build.name,
        mode=build.mode,
        driver_stub=build.driver_stub,
        wheels=(),
        requires=supplement.requires,
        carried=supplement.cargo,
        left_out=tuple(need.dll.name for need in supplement.left),
        needs=tuple(map(describe_need, analysis.needs)),
        changes=tuple(_list_changes(wheels[0], analysis.wheel)),
        findings=tuple(findings[key] for key in sorted(findings)),
        refused=tuple(
            Refusal(python=python, reason=reason) for python, reason in refusals.items() if reason
        ),
    )
    emitted = _analyse_emitted(analysis, supplement)
    return Plan(wheels=wheels, record=record, emitted=emitted, timestamp=timestamp)


def _plan_wheel(
    build: Build,
    analysis: Analysis,
    supplement: Supplement,
    pythons: Sequence[str],
    timestamp: int,
) -> PlannedWheel:
    """Return the wheel for these Pythons; METADATA is the same in all wheels of a version.

    Upstream's Requires-Python stays, the tag selects: lockers read METADATA of one wheel alone.
    """
    wheel = analysis.wheel
    tags = wheel.filename.tags
    if build.emit != "abi3":
        tags = frozenset(tag_of(pythons[0], tag.platform) for tag in tags)
    version = emitted_version(build, analysis, supplement.label)
    name = rename_wheel(wheel.filename, version=version, tags=tags)
    entries = rewrite_members(
        wheel,
        name,
        supplement.files,
        fields={
            "Requires-Dist": (*analysis.requires, *supplement.requires),
            "Provides-Extra": (*wheel.fields.get("provides_extra", []), *supplement.extras),
        },
        add_licence=supplement.licence,
        carried=supplement.carried,
    )
    # RECORD, the last entry, has the hash of each content.
    packing = [(entry.is_copied, entry.name) for entry in entries]
    parts = (_FORMAT, str(name), wheel.sha256, timestamp, packing, entries[-1])
    return PlannedWheel(
        filename=str(name),
        version=version,
        tag=name.tag,
        pythons=tuple(pythons),
        entries=entries,
        recipe=hashlib.sha256(repr(parts).encode()).hexdigest(),
    )


def _analyse_emitted(analysis: Analysis, supplement: Supplement) -> Analysis:
    """Return the analysis as it holds of the emitted wheels.

    They carry some of what is needed, and where they require NVIDIA's wheels these hold the rest.
    """
    carried = {key_of(cargo.member.rpartition("/")[2]) for cargo in supplement.cargo}
    needs = tuple(
        need
        for need in analysis.needs
        if need.dll.key not in carried and not (need.dll.is_cuda and supplement.requires)
    )
    wheel = replace(analysis.wheel, requires=(*analysis.requires, *supplement.requires))
    return replace(analysis, wheel=wheel, needs=needs)


# Which Pythons


def refusal(python: str, analysis: Analysis) -> str:
    """Return why the wheel cannot serve `python` ("3.12", "3.14t"), or "" where it can."""
    wheel = analysis.wheel
    linked = {need.dll.key for need in analysis.needs if need.dll.kind is Kind.PYTHON}
    own = linked - _STABLE_DLLS or linked
    if own and own.isdisjoint(python_dlls(tag_of(python, ""))):
        return f"its binary imports {min(own)}, which Python {python} does not have"
    if not serves(wheel.filename.tags, python):
        return f"the wheel is for {wheel.filename.tag} alone"
    allowed = SpecifierSet(wheel.requires_python)
    if not any(allowed.contains(f"{python.removesuffix('t')}.{micro}") for micro in (0, 99)):
        return f"its Requires-Python is {wheel.requires_python}"
    for line in analysis.requires:
        if leaves_no_numpy(line, python):
            return f"it requires {line}, and no such NumPy has a wheel for {python}"
    return ""


# Which version


def emitted_version(build: Build, analysis: Analysis, label: str) -> str:
    """Return the version of the wheels, whose local part says what was done: "cu129.patched"."""
    version = analysis.wheel.filename.version
    done = build.local or label
    if not build.local and analysis.cuda and not (version.local or "").startswith("cu"):
        done = f"cu{''.join(map(str, analysis.cuda))}.{label}"
    return local_version(version, named_label(done, build.name) if build.name else done)


def named_label(done: str, name: str) -> str:
    """Return the local version of a build called `name`, in which `done` says what was done.

    Its last part is the name, whatever stands before it: builds whose names differ by more than
    separators never give two wheels of one file name. What the name says is not said twice:
    "cu13.vendored" and "cu13-team" give "vendored.cu13team".
    """
    words = name.split("-")
    before = [part for part in re.split(r"[._-]", done) if part not in words]
    return ".".join([*before, name_token(name)])


# What the wheels weigh


def check_size(name: str, size: int, limit: int | None, cargo: Sequence[Cargo]) -> None:
    """Raise OutputError if a wheel of that size, in bytes, is more than the index takes."""
    if limit is not None and size > limit:
        raise OutputError(
            f"the index takes {format_megabytes(limit)}, and it has {describe_size(size, cargo)}",
            code="too-large",
            file=name,
            hint="leave families out of vendor.families, use --mode depend, or raise "
            "publish.max-size",
        )


def describe_size(size: int, cargo: Iterable[Cargo]) -> str:
    """Return the size of a wheel in bytes as a person reads it, and what of it weighs most."""
    weights = {dll.member.rpartition("/")[2]: dll.packed or dll.size for dll in cargo}
    heaviest = sorted(weights, key=lambda name: (-weights[name], name))[:3]
    shares = ", ".join(f"{name} {format_megabytes(weights[name])}" for name in heaviest)
    return format_megabytes(size) + (f"; most of it is {shares}" if shares else "")


def format_megabytes(size: int) -> str:
    """Return a size in bytes as a person reads it."""
    return f"{size / 1e6:,.1f} MB"


# What is recorded


def describe_source(analysis: Analysis, url: str) -> Origin:
    """Return what is known of the wheel that is started from; `url` is where anybody may get it."""
    wheel = analysis.wheel
    return Origin(
        filename=wheel.path.name,
        name=wheel.filename.name,
        version=str(wheel.filename.version),
        url=url,
        size=wheel.size,
        sha256=wheel.sha256,
        cuda=".".join(map(str, analysis.cuda)),
    )


def describe_need(need: Need) -> NeededDll:
    """Return what build.json says of a DLL that is needed."""
    return NeededDll(
        dll=need.dll.name,
        kind=need.dll.kind.value,
        family=need.dll.family,
        needed_by=need.needed_by,
        delayed=need.delayed,
        in_wheel=need.in_wheel or "",
    )


def _list_changes(planned: PlannedWheel, wheel: Wheel) -> Iterator[Change]:
    """Yield the texts of a wheel that are not the source's; RECORD follows from the others."""
    dist_info = "-".join(planned.filename.split("-")[:2]) + ".dist-info/"
    for entry in planned.entries[:-1]:
        after = entry.content
        if not isinstance(after, bytes) or b"\0" in after:
            continue
        origin = entry.name
        if origin.startswith(dist_info):
            origin = f"{wheel.dist_info}/{origin.removeprefix(dist_info)}"
        is_new = origin not in wheel.names
        before = b"" if is_new else read_member(wheel.archive, origin)
        if before != after:
            old, new = (text.decode(errors="replace").splitlines() for text in (before, after))
            lines = unified_diff(old, new, origin, entry.name, lineterm="")
            yield Change(member=entry.name, new=is_new, diff="\n".join(lines) + "\n")

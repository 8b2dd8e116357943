"""Decides what will be written: settings and analysis in, `Plan` out, nothing touched.

What `repack build --dry-run` prints is this plan; `emit` writes the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff

from packaging.specifiers import SpecifierSet

from repack.config import Build, name_token
from repack.dlls.families import (
    Dll,
    Kind,
    classify,
    companions,
    cure,
    general_cures,
    index_requirement,
    key_of,
)
from repack.errors import InputError, OutputError
from repack.inspect.analysis import STABLE_DLLS, Analysis
from repack.inspect.binaries import Need
from repack.inspect.findings import find_findings
from repack.inspect.pythons import (
    correct_requirements,
    has_tag_for,
    leaves_no_numpy,
    python_dlls,
    tag_of,
)
from repack.patching import Patched
from repack.record import BuildRecord, Cargo, Change, Finding, NeededDll, Origin, Refusal
from repack.wheel.names import local_version, rename_wheel
from repack.wheel.reader import Wheel, read_member
from repack.wheel.writer import Added, Carried, Copied, rewrite_members, size_of

#: Changes whenever the same recipe gives other bytes than before.
_FORMAT = "3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplement:
    """What a mode adds to each wheel, beside the patches.

    `label` says what was done; `files` are members by name, those of .dist-info under the
    source's; `cargo` are the DLLs among the members that are `carried`; `licence` is the SPDX
    identifier for them. `left_out` are the DLLs that are left to the machine, `needed` those of
    them without which one that is carried does not load.
    """

    label: str = "patched"
    files: Mapping[str, bytes] = field(default_factory=dict)
    carried: tuple[Carried, ...] = ()
    cargo: tuple[Cargo, ...] = ()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    licence: str = ""
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWheel:
    """One wheel to be written; `recipe` is the SHA-256 of all that decides its bytes."""

    filename: str
    version: str
    tag: str
    pythons: tuple[str, ...]
    entries: tuple[Copied | Added, ...]
    recipe: str

    @property
    def size(self) -> int:
        """How large the file will be, in bytes; what is still to be deflated counts in full."""
        return size_of(self.entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a build will write, and what it will not.

    `record` is the build's, in which the wheels are still to come; `requirements` are the
    Requires-Dist lines of every wheel; `timestamp` is in seconds since 1970.
    """

    wheels: tuple[PlannedWheel, ...]
    record: BuildRecord
    requirements: tuple[str, ...]
    timestamp: int


def make_plan(  # noqa: PLR0913 - all that decides meets here
    build: Build,
    analysis: Analysis,
    patched: Patched,
    supplement: Supplement,
    *,
    timestamp: int,
    url: str = "",
    missing: Mapping[str, str] | None = None,
) -> Plan:
    """Return what will be written for the wheel that `analysis` describes.

    `timestamp` becomes the time of every member; `url` is where anybody gets the source;
    `missing` are Pythons for which the index lacks something that the wheel requires, with the
    reason. Raises InputError where no Python asked for can be served.
    """
    reasons = {
        python: refusal(python, analysis) or (missing or {}).get(python, "")
        for python in build.python
    }
    served = [python for python, reason in reasons.items() if not reason]
    if not served:
        raise InputError(
            f"no wheel for {_group_reasons(reasons)}",
            code="no-python",
            file=analysis.wheel.path.name,
            hint="ask for a Python that the wheel was built for, with --python",
        )
    groups = [served] if build.emit == "abi3" else [[python] for python in served]
    files = {**patched.files, **supplement.files}
    wheels = tuple(
        _plan_wheel(build, analysis, supplement, files, group, timestamp) for group in groups
    )
    record = BuildRecord(
        source=describe_source(analysis, url),
        name=build.name,
        mode=build.mode,
        driver_stub=build.driver_stub,
        wheels=(),
        requires=supplement.requires,
        carried=supplement.cargo,
        left_out=supplement.left_out,
        needs=tuple(map(_describe_need, analysis.needs)),
        changes=tuple(_list_changes(wheels[0], analysis.wheel)),
        findings=_merge_findings(
            *patched.notes, *supplement.findings, *find_findings(analysis, build.python)
        ),
        refused=tuple(
            Refusal(python=python, reason=reason) for python, reason in reasons.items() if reason
        ),
    )
    requirements = requirements_of(analysis, supplement)
    return Plan(wheels=wheels, record=record, requirements=requirements, timestamp=timestamp)


def _plan_wheel(  # noqa: PLR0913, PLR0917 - a wheel is made of exactly these
    build: Build,
    analysis: Analysis,
    supplement: Supplement,
    files: Mapping[str, bytes],
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
    requires = correct_requirements(wheel.requires, analysis.numpy)
    entries = rewrite_members(
        wheel,
        name,
        files,
        fields={} if requires == wheel.requires else {"Requires-Dist": requires},
        add={"Requires-Dist": supplement.requires, "Provides-Extra": supplement.extras},
        add_licence=supplement.licence,
        carried=supplement.carried,
    )
    return PlannedWheel(
        filename=str(name),
        version=version,
        tag=name.tag,
        pythons=tuple(pythons),
        entries=entries,
        recipe=_digest_recipe(str(name), entries, wheel.sha256, timestamp),
    )


def _digest_recipe(
    filename: str, entries: Sequence[Copied | Added], source: str, timestamp: int
) -> str:
    """Return the digest of what decides the bytes; RECORD, the last, has each content's hash."""
    record = entries[-1]
    packing = [(type(entry).__name__, entry.name) for entry in entries]
    parts = (_FORMAT, filename, source, timestamp, packing, record)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def requirements_of(analysis: Analysis, supplement: Supplement) -> tuple[str, ...]:
    """Return the Requires-Dist lines of every wheel that is made, whatever its Python."""
    lines = correct_requirements(analysis.wheel.requires, analysis.numpy)
    return (*lines, *supplement.requires)


# Which Pythons


def refusal(python: str, analysis: Analysis) -> str:
    """Return why the wheel cannot serve `python` ("3.12", "3.14t"), or "" where it can."""
    wheel = analysis.wheel
    linked = analysis.python_dlls - STABLE_DLLS or analysis.python_dlls
    if linked and linked.isdisjoint(python_dlls(tag_of(python, ""))):
        return f"its binary imports {min(linked)}, which Python {python} does not have"
    if not has_tag_for(wheel.filename, python):
        return f"the wheel is for {wheel.filename.tag} alone"
    allowed = SpecifierSet(wheel.requires_python)
    if not any(allowed.contains(f"{python.removesuffix('t')}.{micro}") for micro in (0, 99)):
        return f"its Requires-Python is {wheel.requires_python}"
    for line in correct_requirements(wheel.requires, analysis.numpy):
        if leaves_no_numpy(line, python):
            return f"it requires {line}, and no such NumPy has a wheel for {python}"
    return ""


def _group_reasons(reasons: Mapping[str, str]) -> str:
    """Return which Pythons are refused for which reason, each reason once."""
    pythons: dict[str, list[str]] = {}
    for python, reason in reasons.items():
        pythons.setdefault(reason, []).append(python)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in pythons.items())


# Which version


def emitted_version(build: Build, analysis: Analysis, label: str) -> str:
    """Return the version of the wheels, whose local part says what was done: "cu129.patched"."""
    version = analysis.wheel.filename.version
    done = build.local or label
    if not build.local and analysis.cuda_major and not (version.local or "").startswith("cu"):
        cuda = analysis.cuda_version or (analysis.cuda_major,)
        done = f"cu{''.join(map(str, cuda))}.{label}"
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


def check_sizes(plan: Plan, limit: int | None) -> None:
    """Raise OutputError for a wheel that the index would not take.

    A wheel with DLLs that are still to be deflated is judged once it is written.
    """
    cargo = plan.record.carried
    if all(part.packed is not None for part in cargo):
        for planned in plan.wheels:
            check_size(planned.filename, planned.size, limit, cargo)


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


# What the run-time module is told


def build_facts(
    analysis: Analysis, supplement: Supplement, help_url: str = ""
) -> dict[str, object]:
    """Return what the run-time module has to know of this build: its `BUILD`.

    `supplement` is what the mode puts into the wheel; `help_url` is where the pages on the module's
    messages are served, "" for nowhere.
    """
    wheel, major = analysis.wheel, analysis.cuda_major
    cuda = analysis.cuda_version or (None if major is None else (major, None))
    outside = [need for need in analysis.needs if need.in_wheel is None]
    files = _list_toolkit_files(analysis, supplement)
    toolkit = [classify(name) for name in files]
    dlls = [*(need.dll for need in outside), *toolkit]
    cures = {dll.family: cure(dll, cuda) for dll in dlls}
    modules = analysis.cv2 or analysis.native
    places = [(dll.family, *dll.member.rpartition("/")[::2]) for dll in supplement.cargo]
    return {
        "cuda": cuda,
        "cures": general_cures() | {family: text for family, text in cures.items() if text},
        "delayed": tuple(name for name, delayed in files.items() if delayed),
        "families": _by_family(toolkit, lambda dll: dll.name),
        "help_url": f"{help_url.rstrip('/')}/" if help_url else "",
        "kinds": {dll.key: dll.family for dll in dlls},
        "machine": analysis.images[modules[0]].machine if modules else "x86-64",
        "numpy": {None: None, "1": "numpy<2"}.get(analysis.numpy, "numpy"),
        "opencv": wheel.filename.version.public,
        "original": {"filename": wheel.path.name, "sha256": wheel.sha256},
        "others": tuple(
            need.dll.name for need in outside if need.dll.kind is Kind.UNKNOWN and not need.delayed
        ),
        "requires": _by_family(toolkit, lambda dll: major and index_requirement(dll, major)),
        "stand_ins": {name: folder for family, folder, name in places if family == "driver"},
        "vendored": tuple(sorted({folder for family, folder, _ in places if family != "driver"})),
    }


def _list_toolkit_files(analysis: Analysis, supplement: Supplement) -> dict[str, bool]:
    """Return the DLLs of CUDA and cuDNN outside the wheel, True for those only delay-loaded.

    They are those that the binaries name, those that `supplement` leaves to the machine, and what
    these import in their turn.
    """
    inside = {key_of(member.rpartition("/")[2]) for member in analysis.images}
    files = [(need.dll.name, need.delayed) for need in analysis.toolkit_needs]
    files += [(name, False) for name in supplement.needed]
    imported = [
        (partner, delayed) for name, delayed in files for partner in companions(classify(name))
    ]
    files += [(name, delayed) for name, delayed in imported if key_of(name) not in inside]
    names = {key_of(name): name for name, _ in reversed(files)}
    loaded = {key_of(name) for name, delayed in files if not delayed}
    return {names[key]: key not in loaded for key in sorted(names)}


def _by_family(
    dlls: Iterable[Dll], text_of: Callable[[Dll], str | int | None]
) -> dict[str, tuple[str, ...]]:
    """Return for each family the texts of its DLLs, each once."""
    families: dict[str, set[str]] = {}
    for dll in dlls:
        families.setdefault(dll.family, set()).add(str(text_of(dll) or ""))
    return {family: tuple(sorted(texts - {""})) for family, texts in families.items()}


def needs_left(analysis: Analysis, plan: Plan) -> tuple[Need, ...]:
    """Return the needs that the machine has to meet where the planned wheels are installed.

    What they carry is met, and what NVIDIA's wheels hold where they require these.
    """
    carried = {key_of(cargo.member.rpartition("/")[2]) for cargo in plan.record.carried}
    return tuple(
        need
        for need in analysis.needs
        if need.dll.key not in carried and not (need.is_cuda and plan.record.requires)
    )


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
        cuda=".".join(map(str, analysis.cuda_version or [analysis.cuda_major or ""])),
    )


def _describe_need(need: Need) -> NeededDll:
    return NeededDll(
        dll=need.dll.name,
        kind=need.dll.kind.value,
        family=need.dll.family,
        needed_by=need.needed_by,
        delayed=need.delayed,
        in_wheel=need.in_wheel or "",
    )


def _merge_findings(*findings: Finding) -> tuple[Finding, ...]:
    """Return each finding once, by code and member; the first of several says it."""
    first = {(finding.code, finding.member): finding for finding in reversed(findings)}
    return tuple(first[key] for key in sorted(first))


def _list_changes(planned: PlannedWheel, wheel: Wheel) -> Iterator[Change]:
    """Yield the texts of a wheel that are not the source's; RECORD follows from the others."""
    name, version = planned.filename.split("-")[:2]
    dist_info = f"{name}-{version}.dist-info/"
    for entry in planned.entries[:-1]:
        after = _decode(entry.content) if isinstance(entry, Added) else None
        if after is None:
            continue
        member = str(entry.name)
        origin = re.sub(f"^{re.escape(dist_info)}", f"{wheel.dist_info}/", member)
        is_new = origin not in wheel.names
        before = "" if is_new else _decode(read_member(wheel.archive, origin))
        if before is not None and before != after:
            lines = unified_diff(
                before.splitlines(), after.splitlines(), origin, member, lineterm=""
            )
            yield Change(member=member, new=is_new, diff="\n".join(lines) + "\n")


def _decode(content: object) -> str | None:
    """Return the content as text, None for what no person would read as a diff."""
    try:
        return content.decode() if isinstance(content, bytes) and b"\0" not in content else None
    except UnicodeDecodeError:
        return None

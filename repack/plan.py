"""Decides what will be written: settings and analysis in, `Plan` out, nothing touched.

What `repack build --dry-run` prints is this plan; `emit` writes the same.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name
from packaging.version import Version

from repack.config import Build, name_token
from repack.dlls import (
    Dll,
    Kind,
    classify,
    companions,
    cure,
    distribution,
    general_cures,
    key_of,
)
from repack.errors import InputError, OutputError
from repack.inspect import Analysis, Need
from repack.patching import Patched
from repack.record import (
    BuildRecord,
    Cargo,
    Change,
    Finding,
    NeededDll,
    Origin,
    Refusal,
)
from repack.wheel import (
    Added,
    Carried,
    Copied,
    Wheel,
    edit_metadata,
    local_version,
    parse_requirement,
    read_member,
    rename_wheel,
    rewrite_members,
    select_requirements,
    size_of,
)

#: Changes whenever the same recipe gives other bytes than before.
_FORMAT = "2"
_TOOLKIT = {Kind.CUDA, Kind.CUDNN}
#: Python 3.8 dropped the "m" from its ABI tag (PEP 3149).
_FIRST_WITHOUT_M = 8
#: Two digits are a major version, three a major and a minor.
_WITH_MINOR = 100
#: What a library's own major version can be; other numbers count something else.
_LIBRARY_MAJORS = range(10, _WITH_MINOR)
#: Python 3.x -> the first NumPy that has a wheel for it; later Pythons have no earlier one.
_FIRST_NUMPY = {12: "1.26.0", 13: "2.1.0", 14: "2.3.2"}
#: NumPy 2, and any later release of it.
_NUMPY_2 = ("2.0.0", "2.99.0")
#: In bytes; more is no text that a person would read as a diff.
_LONGEST_TEXT = 1 << 20
_UPPER_BOUNDS = {"<", "<=", "==", "~="}


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplement:
    """What a mode adds to each wheel, beside the patches.

    `label` says what was done; `files` are members by name, those of .dist-info under the
    source's; `cargo` are the DLLs among the members that are `carried`; `licence` is the SPDX
    identifier for them. `families`, family -> DLLs, are those that the binaries do not ask for
    themselves, and `left_out` are the DLLs that are left to the machine.
    """

    label: str = "patched"
    files: Mapping[str, bytes] = field(default_factory=dict)
    carried: tuple[Carried, ...] = ()
    cargo: tuple[Cargo, ...] = ()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    licence: str = ""
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWheel:
    """One wheel to be written.

    `recipe` is the SHA-256 of all that decides its bytes.
    """

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
    wheels = tuple(
        _plan_wheel(build, analysis, patched, supplement, group, timestamp) for group in groups
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
        needs=_list_needs(analysis),
        changes=tuple(_list_changes(wheels[0], analysis.wheel)),
        findings=_merge_findings(
            *patched.notes, *supplement.findings, *_report_lifted(analysis), *analysis.findings
        ),
        refused=tuple(
            Refusal(python=python, reason=reason) for python, reason in reasons.items() if reason
        ),
    )
    return Plan(
        wheels=wheels,
        record=record,
        requirements=requirements_of(analysis, supplement),
        timestamp=timestamp,
    )


def _plan_wheel(  # noqa: PLR0913, PLR0917 - a wheel is made of exactly these
    build: Build,
    analysis: Analysis,
    patched: Patched,
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
        tags = frozenset(_tag_of(pythons[0], tag.platform) for tag in tags)
    version = emitted_version(build, analysis, supplement.label)
    name = rename_wheel(wheel.filename, version=version, tags=tags)
    entries = rewrite_members(
        replace(wheel, metadata=_metadata(analysis)),
        name,
        {**patched.files, **supplement.files},
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
        recipe=_recipe(str(name), entries, wheel.sha256, timestamp),
    )


def _recipe(filename: str, entries: Sequence[Copied | Added], source: str, timestamp: int) -> str:
    """Return the digest of what decides the bytes: RECORD has the hash of every content."""
    record = next(
        entry.content
        for entry in entries
        if isinstance(entry, Added) and entry.name.endswith(".dist-info/RECORD")
    )
    packing = [(type(entry).__name__, entry.name) for entry in entries]
    parts = (_FORMAT, filename, source, timestamp, packing, record)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _merge_findings(*findings: Finding) -> tuple[Finding, ...]:
    """Return each finding once, by code and member; the first of several says it."""
    first = {(finding.code, finding.member): finding for finding in reversed(findings)}
    return tuple(first[key] for key in sorted(first))


# Which Pythons


def refusal(python: str, analysis: Analysis) -> str:
    """Return why the wheel cannot serve `python` ("3.12", "3.14t"), or "" where it can."""
    wheel = analysis.wheel
    version = python.removesuffix("t")
    if python.endswith("t") and analysis.abi3:
        return (
            "its binary uses the stable ABI (abi3), which free-threaded Python does not have; "
            f"take {version}"
        )
    if wheel.filename.tags.isdisjoint(_supported_tags(python, wheel)):
        return f"the wheel is for {wheel.filename.tag} alone"
    linked = {need.dll.key for need in analysis.needs if need.dll.kind is Kind.PYTHON}
    linked -= {"python3.dll", "python3t.dll"}
    if linked and f"python{python.replace('.', '')}.dll" not in linked:
        return f"its binary imports {min(linked)}"
    allowed = SpecifierSet(wheel.requires_python)
    if not any(allowed.contains(f"{version}.{micro}") for micro in (0, 99)):
        return f"its Requires-Python is {wheel.requires_python}"
    for line in _numpy_lines(analysis):
        if _excluding_bounds(line, _minor(python)):
            return f"it requires {line}, and no such NumPy has a wheel for {python}"
    return ""


def _group_reasons(reasons: Mapping[str, str]) -> str:
    """Return which Pythons are refused for which reason, each reason once."""
    pythons: dict[str, list[str]] = {}
    for python, reason in reasons.items():
        pythons.setdefault(reason, []).append(python)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in pythons.items())


def _minor(python: str) -> int:
    return int(python.removeprefix("3.").removesuffix("t"))


def _tag_of(python: str, platform: str) -> Tag:
    """Return the tag of a wheel for one Python alone: cp312-cp312, cp314-cp314t, cp37-cp37m."""
    minor = _minor(python)
    flag = "t" if python.endswith("t") else "m" if minor < _FIRST_WITHOUT_M else ""
    return Tag(f"cp3{minor}", f"cp3{minor}{flag}", platform)


def _supported_tags(python: str, wheel: Wheel) -> set[Tag]:
    """Return the tags that a Python on the wheel's platforms accepts."""
    platforms = sorted({tag.platform for tag in wheel.filename.tags})
    version, own = (3, _minor(python)), _tag_of(python, "")
    return {
        *cpython_tags(version, abis=[own.abi], platforms=platforms),
        *compatible_tags(version, interpreter=own.interpreter, platforms=platforms),
    }


# Which version


def emitted_version(build: Build, analysis: Analysis, label: str) -> str:
    """Return the version of the wheels, whose local part says what was done."""
    done = build.local or _default_label(analysis, label)
    return local_version(
        analysis.wheel.filename.version, named_label(done, build.name) if build.name else done
    )


def _default_label(analysis: Analysis, done: str) -> str:
    """Return the local version that says what was done: "cu129.patched"."""
    version = str(analysis.wheel.filename.version.local or "")
    if analysis.cuda_major is None or version.startswith("cu"):
        return done
    exact = analysis.cuda_version
    cuda = f"cu{exact[0]}{exact[1]}" if exact else f"cu{analysis.cuda_major}"
    return f"{cuda}.{done}"


def named_label(done: str, name: str) -> str:
    """Return the local version of a build called `name`, in which `done` says what was done.

    Its last part is the name, whatever stands before it: builds whose names differ by more than
    separators never give two wheels of one file name. What the name says is not said twice:
    "cu13.vendored" and "cu13-team" give "vendored.cu13team".
    """
    words = name.split("-")
    before = [part for part in re.split(r"[._-]", done) if part not in words]
    return ".".join([*before, name_token(name)])


# What METADATA requires


def requirements_of(analysis: Analysis, supplement: Supplement) -> tuple[str, ...]:
    """Return the Requires-Dist lines of every wheel that is made, whatever its Python."""
    others = [line for line in analysis.wheel.requires if not _is_numpy(line)]
    return (*others, *_numpy_lines(analysis), *supplement.requires)


def _metadata(analysis: Analysis) -> bytes:
    """Return METADATA with the lines for NumPy that are right for the binary."""
    wheel, lines = analysis.wheel, _numpy_lines(analysis)
    is_replaced = not set(filter(_is_numpy, wheel.requires)) <= set(lines)
    others = [line for line in wheel.requires if not _is_numpy(line)]
    fields = {"Requires-Dist": others} if is_replaced else {}
    return edit_metadata(wheel.metadata, fields=fields, add={"Requires-Dist": lines})


def _numpy_lines(analysis: Analysis) -> tuple[str, ...]:
    """Return the Requires-Dist lines for NumPy of every wheel that is made.

    A binary built for NumPy 1 does not import with NumPy 2. One built for NumPy 2 imports with
    all that came after it: where an upper bound leaves a Python without any NumPy, it goes.
    """
    lines = tuple(filter(_is_numpy, analysis.wheel.requires))
    right = "numpy<2" if analysis.numpy == "1" else "numpy"
    if analysis.numpy is None:
        return lines
    if not lines:
        return (right,)
    if analysis.numpy == "1":
        specifiers = [Requirement(line).specifier for line in lines]
        is_open = any(part.contains(version) for part in specifiers for version in _NUMPY_2)
        return (*lines, right) if is_open and right not in lines else lines
    return tuple(map(_lift_bounds, lines))


def _is_numpy(line: str) -> bool:
    parsed = parse_requirement(line)
    return parsed is not None and canonicalize_name(parsed.name) == "numpy"


def _excluding_bounds(line: str, minor: int) -> list[Specifier]:
    """Return the bounds in a line for NumPy that leave Python 3.`minor` without any."""
    first = _FIRST_NUMPY.get(min(minor, max(_FIRST_NUMPY)))
    return [
        bound
        for requirement in select_requirements([line] if first else [], f"3.{minor}")
        for bound in requirement.specifier
        if bound.operator in _UPPER_BOUNDS
        and not bound.contains(str(first))
        and Version(bound.version.removesuffix(".*")) <= Version(str(first))
    ]


def _lift_bounds(line: str) -> str:
    """Return the line without the bounds that leave a Python without any NumPy.

    They go for every Python: PDM takes one NumPy for all of them, and finds none where the lines
    for two Pythons have nothing in common.
    """
    excluding = [bound for minor in _FIRST_NUMPY for bound in _excluding_bounds(line, minor)]
    if not excluding:
        return line
    requirement = Requirement(line)
    requirement.specifier = SpecifierSet(
        ",".join(str(bound) for bound in requirement.specifier if bound not in excluding)
    )
    return str(requirement)


def _report_lifted(analysis: Analysis) -> list[Finding]:
    """Return a finding for each line for NumPy whose bounds were lifted."""
    replaced = set(filter(_is_numpy, analysis.wheel.requires)) - set(_numpy_lines(analysis))
    return [
        Finding(
            code="numpy-bound-lifted",
            message=f"it requires {line}, which leaves a Python without any NumPy; its binary is "
            f"built for NumPy 2, and the wheels made from it require {_lift_bounds(line)}",
            member=f"{analysis.wheel.dist_info}/METADATA",
            hint="set the bound where the wheels are installed, if you need it",
        )
        for line in sorted(replaced)
    ]


# What the wheels weigh


def check_sizes(plan: Plan, limit: int | None) -> None:
    """Raise OutputError for a wheel that the index would not take, with what weighs most in it.

    A wheel with DLLs that are still to be deflated is judged once it is written.
    """
    cargo = plan.record.carried
    if all(part.packed is not None for part in cargo):
        for planned in plan.wheels:
            check_size(planned.filename, planned.size, limit, cargo)


def check_size(name: str, size: int, limit: int | None, cargo: Sequence[Cargo]) -> None:
    """Raise OutputError if a wheel of that size, in bytes, is more than the index takes."""
    if limit is None or size <= limit:
        return
    heaviest = sorted(cargo, key=lambda dll: (-(dll.packed or dll.size), dll.member))
    weights = ", ".join(
        f"{dll.member.rpartition('/')[2]} {format_megabytes(dll.packed or dll.size)}"
        for dll in heaviest
    )
    raise OutputError(
        f"it has {format_megabytes(size)}, the index takes {format_megabytes(limit)}"
        + (f": {weights}" if weights else ""),
        code="too-large",
        file=name,
        hint="leave families out of vendor.families, use --mode depend, or raise publish.max-size",
    )


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
    files = _toolkit_files(analysis, supplement)
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
        "requires": _by_family(
            toolkit, lambda dll: "" if major is None else index_requirement(dll, major)
        ),
        "stand_ins": {name: folder for family, folder, name in places if family == "driver"},
        "vendored": tuple(sorted({folder for family, folder, _ in places if family != "driver"})),
    }


def _toolkit_files(analysis: Analysis, supplement: Supplement) -> dict[str, bool]:
    """Return the DLLs of CUDA and cuDNN outside the wheel, True for those only delay-loaded.

    They are those that the binaries name, those that `supplement` leaves to the machine, and what
    these import in their turn.
    """
    inside = {key_of(member.rpartition("/")[2]) for member in analysis.images}
    named = [(need.dll, need.delayed) for need in _toolkit_needs(analysis)]
    named += [(classify(name), False) for names in supplement.families.values() for name in names]
    partners = [(classify(name), delayed) for dll, delayed in named for name in companions(dll)]
    named += [(dll, delayed) for dll, delayed in partners if dll.key not in inside]
    names = {dll.key: dll.name for dll, _ in reversed(named)}
    loaded = {dll.key for dll, delayed in named if not delayed}
    return {names[key]: key not in loaded for key in sorted(names)}


def _by_family(dlls: Iterable[Dll], text: Callable[[Dll], str]) -> dict[str, tuple[str, ...]]:
    """Return for each family what `text` says of its DLLs, each text once."""
    families: dict[str, set[str]] = {}
    for dll in dlls:
        families.setdefault(dll.family, set()).add(text(dll))
    return {family: tuple(sorted(texts - {""})) for family, texts in families.items()}


# What comes from where


def needs_left(analysis: Analysis, plan: Plan) -> tuple[Need, ...]:
    """Return the needs that the machine has to meet where the planned wheels are installed.

    What they carry is met, and what NVIDIA's wheels hold where they require these.
    """
    carried = {key_of(cargo.member.rpartition("/")[2]) for cargo in plan.record.carried}
    required = _TOOLKIT if plan.record.requires else set()
    return tuple(
        need
        for need in analysis.needs
        if need.dll.key not in carried and need.dll.kind not in required
    )


def dll_requirements(analysis: Analysis) -> tuple[str, ...]:
    """Return index requirements of NVIDIA's wheels that hold the DLLs the binary needs.

    Empty where NVIDIA publishes none for that CUDA (10 and older).
    """
    major = analysis.cuda_major
    if major is None:
        return ()
    wheels = {index_requirement(need.dll, major) for need in _toolkit_needs(analysis)}
    return tuple(sorted(wheels - {""}))


def unpublished_dlls(analysis: Analysis) -> tuple[str, ...]:
    """Return the CUDA DLLs needed at load time that no wheel of NVIDIA's holds, sorted."""
    major = analysis.cuda_major
    return tuple(
        sorted(
            need.dll.name
            for need in _toolkit_needs(analysis)
            if not need.delayed and (major is None or not index_requirement(need.dll, major))
        )
    )


def index_requirement(dll: Dll, cuda_major: int) -> str:
    """Return the index requirement of the wheel with `dll`, "" where NVIDIA has none.

    Where the distribution's name does not say the major (cuDNN's always, the toolkit's from
    CUDA 13 on), its version has to: it follows the number in the DLL's name.
    """
    name = distribution(dll, cuda_major) or ""
    is_told = name.endswith(f"-cu{cuda_major}") and dll.kind is Kind.CUDA
    if not name or is_told or dll.version is None:
        return name
    # nvrtc64_130_0 and cudart64_110 carry the minor version as well.
    number = dll.version // 10 if dll.version >= _WITH_MINOR else dll.version
    if dll.kind is Kind.CUDA and number not in _LIBRARY_MAJORS:
        # cupti64_2025.1.0 and nvToolsExt64_1 count otherwise; their wheels follow the toolkit.
        number = cuda_major
    return f"{name}=={number}.*"


def _toolkit_needs(analysis: Analysis) -> list[Need]:
    """Return the needs that a CUDA toolkit or cuDNN on the machine has to meet."""
    return [need for need in analysis.needs if need.in_wheel is None and need.dll.kind in _TOOLKIT]


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


def _list_needs(analysis: Analysis) -> tuple[NeededDll, ...]:
    return tuple(
        NeededDll(
            dll=need.dll.name,
            kind=need.dll.kind.value,
            family=need.dll.family,
            needed_by=need.needed_by,
            delayed=need.delayed,
            in_wheel=need.in_wheel or "",
        )
        for need in analysis.needs
    )


def _list_changes(planned: PlannedWheel, wheel: Wheel) -> Iterator[Change]:
    """Yield the texts of a wheel that are not the source's; RECORD follows from the others."""
    name, version = planned.filename.split("-")[:2]
    dist_info = f"{name}-{version}.dist-info/"
    for entry in planned.entries:
        if not isinstance(entry, Added) or entry.name == f"{dist_info}RECORD":
            continue
        origin = entry.name
        if origin.startswith(dist_info):
            origin = f"{wheel.dist_info}/{origin.removeprefix(dist_info)}"
        before = _decode(read_member(wheel.archive, origin)) if origin in wheel.names else ""
        after = _decode(entry.content)
        if before is not None and after is not None and before != after:
            lines = unified_diff(
                before.splitlines(), after.splitlines(), origin, entry.name, lineterm=""
            )
            is_new = origin not in wheel.names
            yield Change(member=entry.name, new=is_new, diff="\n".join(lines) + "\n")


def _decode(content: bytes | Path) -> str | None:
    """Return the content as text, None where no person would read it as a diff."""
    if isinstance(content, Path) or len(content) > _LONGEST_TEXT or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None

"""Decides what will be written: settings and analysis in, `Plan` out, nothing touched.

What `repack build --dry-run` prints is this plan; `emit` executes the same.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags

from repack.cargo import Supplement
from repack.config import name_token
from repack.dlls import (
    Kind,
    classify,
    companions,
    cure,
    distribution,
    general_cures,
    key_of,
    required,
)
from repack.errors import InputError, OutputError
from repack.inspect.findings import wrong_numpy
from repack.record import Refusal
from repack.wheel import Added, Copied, local_version, renamed, rewritten, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from repack.config import Build
    from repack.dlls import Dll
    from repack.inspect import Analysis, Need
    from repack.patching import Patched
    from repack.record import Cargo, Finding
    from repack.wheel import Wheel

_TOOLKIT = {Kind.CUDA, Kind.CUDNN}
#: Python releases whose X.Y.0 alone does not tell whether a Requires-Python lets X.Y in.
_MICRO_RELEASES = range(40)
#: Python 3.8 dropped the "m" from its ABI tag.
_FIRST_WITHOUT_M = 8
#: Two digits are a major version, three a major and a minor.
_WITH_MINOR = 100
#: What a library's own major version can be, at CUDA 13 and as long as anybody thinks ahead.
_LIBRARY_MAJORS = range(10, _WITH_MINOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedWheel:
    """One wheel to be written."""

    filename: str
    version: str
    tag: str
    pythons: tuple[str, ...]
    entries: tuple[Copied | Added, ...]

    @property
    def size(self) -> int:
        """How large the file will be, in bytes; what is still to be deflated counts in full."""
        return size_of(self.entries)

    @property
    def recipe(self) -> str:
        """The SHA-256 of all that decides the wheel's bytes, but for its source and its time."""
        digest = hashlib.sha256(self.filename.encode())
        for entry in self.entries:
            digest.update(repr(_ingredients(entry)).encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a build will write, and what it will not."""

    wheels: tuple[PlannedWheel, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[Finding, ...]
    timestamp: int
    cargo: tuple[Cargo, ...] = ()
    requires: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """A CPython that a wheel can be for: "3.12", or "3.14t" for the free-threaded build."""

    minor: int
    threaded: bool

    @property
    def interpreter(self) -> str:
        """The first part of a tag: "cp312"."""
        return f"cp3{self.minor}"

    @property
    def abi(self) -> str:
        """The second part of a tag; up to 3.7 it names the memory allocator too (PEP 3149)."""
        old = "m" if self.minor < _FIRST_WITHOUT_M else ""
        return f"{self.interpreter}{'t' if self.threaded else old}"


def parse_python(text: str) -> Python:
    """Return the Python that `text` ("3.12", "3.14t") names; the configuration has checked it."""
    minor = text.removeprefix("3.")
    return Python(minor=int(minor.removesuffix("t")), threaded=minor.endswith("t"))


def make_plan(
    build: Build,
    analysis: Analysis,
    patched: Patched,
    *,
    timestamp: int,
    supplement: Supplement | None = None,
) -> Plan:
    """Return what will be written for the wheel that `analysis` describes.

    `timestamp` is in seconds since 1970 and becomes the time of every member. Raises InputError
    where no Python asked for can be served.
    """
    more = supplement or Supplement()
    refusals = {python: refusal(python, analysis) for python in build.python}
    served = tuple(python for python, reason in refusals.items() if not reason)
    refused = tuple(
        Refusal(python=python, reason=reason) for python, reason in refusals.items() if reason
    )
    if not served:
        raise InputError(
            f"no wheel for {_reasons(refused)}",
            code="no-python",
            file=analysis.wheel.path.name,
            hint="ask for a Python that the wheel was built for, with --python",
        )
    version = emitted_version(build, analysis, more.label)
    groups = [served] if build.emit == "abi3" else [(python,) for python in served]
    return Plan(
        wheels=tuple(
            _planned(analysis, patched, more, version, group, build.emit) for group in groups
        ),
        refused=refused,
        notes=(*patched.notes, *more.findings),
        timestamp=timestamp,
        cargo=more.cargo,
        requires=more.requires,
        left_out=more.left_out,
    )


def emitted_version(build: Build, analysis: Analysis, label: str) -> str:
    """Return the version of the wheels, whose local part says what was done."""
    done = build.local or default_label(analysis, label)
    return local_version(
        analysis.wheel.filename.version, named_label(done, build.name) if build.name else done
    )


def _reasons(refused: Sequence[Refusal]) -> str:
    """Return which Pythons are refused for which reason, each reason once."""
    pythons: dict[str, list[str]] = {}
    for refusal in refused:
        pythons.setdefault(refusal.reason, []).append(refusal.python)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in pythons.items())


def default_label(analysis: Analysis, done: str) -> str:
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
    said = name.split("-")
    before = [part for part in re.split(r"[._-]", done) if part not in said]
    return ".".join([*before, name_token(name)])


def refusal(python: str, analysis: Analysis) -> str:
    """Return why the binary cannot serve `python` ("3.12", "3.14t"), or "" where it can."""
    wanted = parse_python(python)
    wheel = analysis.wheel
    if wanted.threaded and analysis.abi3:
        return (
            "its binary uses the stable ABI (abi3), which free-threaded Python does not have; "
            f"take {python.removesuffix('t')}"
        )
    if not wheel.filename.tags & _tags_of(wanted, wheel):
        return f"the wheel is for {wheel.filename.tag} alone"
    built_for = _python_of_binary(analysis)
    if built_for not in {None, wanted.abi.removesuffix("m")}:
        return f"its binary imports python{str(built_for)[2:]}.dll"
    if not _lets_in(wheel.requires_python, wanted):
        return f"its Requires-Python is {wheel.requires_python}"
    return ""


def check_sizes(plan: Plan, limit: int | None) -> None:
    """Raise OutputError for a wheel that the index would not take, with what weighs most in it.

    A wheel with DLLs that are still to be deflated is judged once it is written.
    """
    if all(cargo.packed is not None for cargo in plan.cargo):
        for planned in plan.wheels:
            check_size(planned.filename, planned.size, limit, plan.cargo)


def check_size(name: str, size: int, limit: int | None, cargo: Sequence[Cargo]) -> None:
    """Raise OutputError if a wheel of that size is more than the index takes."""
    if limit is None or size <= limit:
        return
    heaviest = sorted(cargo, key=lambda one: (-(one.packed or one.size), one.member))
    weights = ", ".join(
        f"{one.member.rpartition('/')[2]} {megabytes(one.packed or one.size)}" for one in heaviest
    )
    raise OutputError(
        f"it has {megabytes(size)}, the index takes {megabytes(limit)}"
        + (f": {weights}" if weights else ""),
        code="too-large",
        file=name,
        hint="leave families out of vendor.families, use --mode depend, or raise publish.max-size",
    )


def megabytes(size: int) -> str:
    """Return a size in bytes as a person reads it."""
    return f"{size / 1e6:,.1f} MB"


def needs_left(analysis: Analysis, plan: Plan) -> tuple[Need, ...]:
    """Return the needs that the machine has to meet where the planned wheels are installed.

    What they carry is met, and what NVIDIA's wheels hold where they require these.
    """
    carried = {key_of(cargo.member.rpartition("/")[2]) for cargo in plan.cargo}
    required = _TOOLKIT if plan.requires else set()
    return tuple(
        need
        for need in analysis.needs
        if need.dll.key not in carried and need.dll.kind not in required
    )


def numpy_requirement(analysis: Analysis, pythons: Sequence[str]) -> tuple[str, ...]:
    """Return the Requires-Dist that METADATA lacks, where it lets in no NumPy or a wrong one.

    A binary built for NumPy 1 does not import with NumPy 2; one built for 2 imports with both.
    `pythons` are those that the emitted wheel is for.
    """
    wanted = _numpy_range(analysis)
    if not wanted:
        return ()
    missing = any(finding.code == "numpy-missing" for finding in analysis.findings)
    minors = [parse_python(python).minor for python in pythons]
    return (wanted,) if missing or wrong_numpy(analysis, minors) else ()


def build_facts(
    analysis: Analysis, added: Supplement | None = None, help_url: str = ""
) -> dict[str, object]:
    """Return what the run-time module has to know of this build: its `BUILD`.

    `added` is what the mode puts into the wheel; `help_url` is where the pages on the module's
    messages are served, "" for nowhere.
    """
    more = added or Supplement()
    wheel, major = analysis.wheel, analysis.cuda_major
    cuda = analysis.cuda_version or (None if major is None else (major, None))
    outside = [need for need in analysis.needs if need.in_wheel is None]
    files = _toolkit_files(analysis, more)
    toolkit = [classify(name) for name in files]
    dlls = [*(need.dll for need in outside), *toolkit]
    cures = {dll.family: cure(dll, cuda) for dll in dlls}
    return {
        "cuda": cuda,
        "cures": general_cures() | {family: text for family, text in cures.items() if text},
        "delayed": tuple(name for name, delayed in files.items() if delayed),
        "families": _by_family(toolkit, lambda dll: dll.name),
        "help_url": f"{help_url.rstrip('/')}/" if help_url else "",
        "kinds": {dll.key: dll.family for dll in dlls},
        "machine": _machine(analysis),
        "numpy": _numpy_range(analysis),
        "opencv": wheel.filename.version.public,
        "original": {"filename": wheel.path.name, "sha256": wheel.sha256},
        "others": tuple(
            need.dll.name for need in outside if need.dll.kind is Kind.UNKNOWN and not need.delayed
        ),
        "requires": _by_family(toolkit, lambda dll: required(dll, cuda) if cuda else ""),
        "stand_ins": dict(more.stand_ins),
        "vendored": tuple(sorted(more.folders)),
    }


def _toolkit_files(analysis: Analysis, added: Supplement) -> dict[str, bool]:
    """Return the DLLs of CUDA and cuDNN outside the wheel, True for those only delay-loaded.

    They are those that the binaries name, those that `added` leaves to the machine, and what
    these import in their turn.
    """
    inside = {key_of(member.rpartition("/")[2]) for member in analysis.images}
    named = [(need.dll, need.delayed) for need in _toolkit_needs(analysis)]
    named += [(classify(name), False) for names in added.families.values() for name in names]
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


def _machine(analysis: Analysis) -> str:
    """Return the processor that the modules are for; that they agree is analysis's to say."""
    modules = analysis.cv2 or analysis.native
    return analysis.images[modules[0]].machine if modules else "x86-64"


def _numpy_range(analysis: Analysis) -> str | None:
    """Return which NumPy the binary can be used with, None where it uses none."""
    if analysis.numpy is None:
        return None
    at_least = f">={analysis.numpy_floor}" if analysis.numpy_floor else ""
    below = "<2" if analysis.numpy == "1" else ""
    return f"numpy{','.join(filter(None, (at_least, below)))}"


def dll_requirements(analysis: Analysis) -> tuple[str, ...]:
    """Return index requirements of NVIDIA's wheels that hold the DLLs the binary needs.

    Empty where NVIDIA publishes none for that CUDA (10 and older).
    """
    major = analysis.cuda_major
    if major is None:
        return ()
    found = {_requirement(need.dll, major) for need in _toolkit_needs(analysis)}
    return tuple(sorted(found - {""}))


def index_requirement(dll: Dll, cuda_major: int) -> str:
    """Return the index requirement of NVIDIA's wheel with `dll`, "" where there is none."""
    return _requirement(dll, cuda_major)


def unpublished_dlls(analysis: Analysis) -> tuple[str, ...]:
    """Return the CUDA DLLs needed at load time that no wheel of NVIDIA's holds, sorted."""
    major = analysis.cuda_major
    return tuple(
        sorted(
            need.dll.name
            for need in _toolkit_needs(analysis)
            if not need.delayed and (major is None or not _requirement(need.dll, major))
        )
    )


def _toolkit_needs(analysis: Analysis) -> list[Need]:
    """Return the needs that a CUDA toolkit or cuDNN on the machine has to meet."""
    return [need for need in analysis.needs if need.in_wheel is None and need.dll.kind in _TOOLKIT]


def _requirement(dll: Dll, cuda_major: int) -> str:
    """Return the index requirement of the wheel with `dll`, "" where NVIDIA has none.

    Where the distribution's name does not say the major (cuDNN's always, the toolkit's from
    CUDA 13 on), its version has to: it follows the number in the DLL's name.
    """
    name = distribution(dll, cuda_major)
    if not name:
        return ""
    says_major = name.endswith(f"-cu{cuda_major}") and dll.kind is Kind.CUDA
    if says_major or dll.version is None:
        return name
    # nvrtc64_130_0 and cudart64_110 carry the minor version as well.
    number = dll.version // 10 if dll.version >= _WITH_MINOR else dll.version
    if dll.kind is Kind.CUDA and number not in _LIBRARY_MAJORS:
        # cupti64_2025.1.0 and nvToolsExt64_1 count otherwise; their wheels follow the toolkit.
        number = cuda_major
    return f"{name}=={number}.*"


def _tags_of(python: Python, wheel: Wheel) -> set[Tag]:
    """Return the tags that a Python on the wheel's platforms accepts."""
    platforms = sorted({tag.platform for tag in wheel.filename.tags})
    version = (3, python.minor)
    return {
        *cpython_tags(version, abis=[python.abi], platforms=platforms),
        *compatible_tags(version, interpreter=python.interpreter, platforms=platforms),
    }


def _python_of_binary(analysis: Analysis) -> str | None:
    """Return "cp39" for a binary that imports python39.dll; None for the stable ABI."""
    names = [need.dll.name.lower() for need in analysis.needs if need.dll.kind is Kind.PYTHON]
    exact = [name for name in names if name not in {"python3.dll", "python3t.dll"}]
    return f"cp{exact[0].removeprefix('python').removesuffix('.dll')}" if exact else None


def _lets_in(requires_python: str, python: Python) -> bool:
    """Return whether any release of `python` meets the wheel's Requires-Python."""
    return any(_met(requires_python, python))


def _narrowed(requires_python: str, python: Python) -> str:
    """Return the Requires-Python that lets in the releases of `python` that were let in before."""
    exact = f"==3.{python.minor}.*"
    return exact if all(_met(requires_python, python)) else f"{exact},{requires_python}"


def _met(requires_python: str, python: Python) -> Iterator[bool]:
    """Yield for each release of `python` whether it meets the specifiers."""
    specifiers = SpecifierSet(requires_python)
    return (specifiers.contains(f"3.{python.minor}.{micro}") for micro in _MICRO_RELEASES)


def _planned(  # noqa: PLR0913, PLR0917 - a wheel is made of exactly these
    analysis: Analysis,
    patched: Patched,
    more: Supplement,
    version: str,
    group: Sequence[str],
    emit: str,
) -> PlannedWheel:
    """Return the wheel for the Pythons of `group`."""
    wheel = analysis.wheel
    if emit == "abi3":
        tags, requires_python = wheel.filename.tags, wheel.requires_python
    else:
        python = parse_python(group[0])
        tags = frozenset(
            Tag(python.interpreter, python.abi, tag.platform) for tag in wheel.filename.tags
        )
        requires_python = _narrowed(wheel.requires_python, python)
    name = renamed(wheel.filename, version=version, tags=tags)
    return PlannedWheel(
        filename=str(name),
        version=version,
        tag=name.tag,
        pythons=tuple(group),
        entries=rewritten(
            wheel,
            name,
            {**patched.files, **more.files},
            requires_python=requires_python,
            add_requires=(*numpy_requirement(analysis, group), *more.requires),
            add_extras=more.extras,
            add_licence=more.licence,
            carried=more.carried,
        ),
    )


def _ingredients(entry: Copied | Added) -> tuple[object, ...]:
    """Return what decides the bytes that an entry becomes."""
    if isinstance(entry, Copied):
        # What lies in another archive has a row in RECORD, which is among what is written.
        return ("copied", entry.name, entry.member.name)
    content = entry.content if isinstance(entry.content, bytes) else "as RECORD says"
    return ("added", entry.name, content, entry.mode, entry.deflate)

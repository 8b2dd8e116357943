"""Lays a scenario's machine out on a disk, runs its program, and says what was seen."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from typing import Any

from proof.disks import ON_WINDOWS, Disk, Layout, lay_python, layout_of, link_or_copy, link_tree
from proof.scenarios import CRASHES, FAILS, HANGS, IMPORTS, Scenario, fill
from repack.dlls.families import Kind, classify
from repack.process import Finished, run
from repack.pythons import Interpreter
from repack.smoke.trial import describe_crash

PROBE = r"C:\proof\probe.py"
_TEMPORARY = r"C:\proof\temp"
_WINE_LACKS = {"media-foundation": "mf=;mfplat=;mfreadwrite="}


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A file that the loader took; `is_second` where its process had one of the name already."""

    file: PureWindowsPath
    is_second: bool = False

    @property
    def name(self) -> str:
        """The file's name as Windows compares it."""
        return self.file.name.lower()

    @property
    def concerns_cuda(self) -> bool:
        """Whether it is one of CUDA, of cuDNN or of the driver."""
        return classify(self.name).kind in _CONCERNED


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a program ended (`end`), in one line and in all that it said.

    `loaded` is what the loader says, `claims` what cv2's own module says that it chose.
    """

    end: str
    line: str
    message: str = ""
    printed: str = ""
    loaded: tuple[Loaded, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def places_of(scenario: Scenario, version: str) -> dict[str, str]:
    """Return what {python}, {site}, {version} and {digits} mean in a scenario."""
    layout = layout_of(scenario.layout, version)
    digits = version.replace(".", "")
    return {"python": layout.python, "site": layout.site, "version": version, "digits": digits}


def lay_out(
    scenario: Scenario,
    disk: Disk,
    interpreter: Interpreter,
    packages: Iterable[Path],
    dlls: Iterable[tuple[str, Mapping[str, Path]]],
) -> None:
    """Put Python, packages, DLLs and texts on the disk, by links.

    `packages` are installed wheels in the order in which they are put there; `dlls` are folders of
    the machine with their files.
    """
    layout, places = _places(scenario, interpreter)
    lay_python(layout, disk, interpreter)
    for package in packages:
        link_tree(package, disk.place(layout.site))
    texts = {file.path: fill(file.text, places) for file in scenario.machine.files}
    texts[PROBE] = files(__package__).joinpath("probe.py").read_text("utf-8")
    targets = {fill(path, places): text for path, text in texts.items()}
    for folder, sources in dlls:
        for name, source in sources.items():
            place = disk.place(fill(folder, places)) / name
            disk.claim(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, place)
    for path, text in targets.items():
        place = disk.place(path)
        disk.claim(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    for folder in (_TEMPORARY, fill(scenario.cwd, places)):
        disk.place(folder).mkdir(parents=True, exist_ok=True)


def run_program(scenario: Scenario, disk: Disk, interpreter: Interpreter, limit: float) -> Outcome:
    """Return what the scenario's program does on its machine; it is ended after `limit` seconds."""
    layout, places = _places(scenario, interpreter)
    job = {
        "program": fill(scenario.program, places),
        "limit": limit,
        "list": ON_WINDOWS,
        "env": {"TEMP": _TEMPORARY, "TMP": _TEMPORARY},
    }
    python = rf"{layout.python}\python.exe"
    done = run_in_wine(
        [*interpreter.launcher, python, PROBE, json.dumps(job)],
        # The probe ends itself when its time is up; this is for one that cannot.
        timeout=limit + 15,
        env=_environment(scenario, layout, disk, places),
        cwd=disk.place(fill(scenario.cwd, places)),
    )
    return describe_run(done, limit)


def _places(scenario: Scenario, interpreter: Interpreter) -> tuple[Layout, dict[str, str]]:
    version = interpreter.version
    return layout_of(scenario.layout, version), places_of(scenario, version)


def _environment(
    scenario: Scenario, layout: Layout, disk: Disk, places: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a program on the machine, and nothing of ours."""
    machine = scenario.machine
    given = {name: fill(value, places) for name, value in machine.env.items()}
    path = ";".join(fill(entry, places) for entry in machine.path)
    env = {**disk.env, **layout.env, **given}
    if not ON_WINDOWS:
        # Wine makes the Windows PATH of it; PATH itself is the launcher's.
        env["WINEPATH"] = path
        env["WINEDEBUG"] = "-all,+pid,+loaddll,err+module"
        lacks = [_WINE_LACKS[name] for name in machine.without]
        env["WINEDLLOVERRIDES"] = ";".join([env["WINEDLLOVERRIDES"], *lacks])
    elif path:
        env["PATH"] = f"{path};{env['PATH']}"
    return env


def run_in_wine(command: Sequence[str], **settings: Any) -> Finished:  # noqa: ANN401 - of `run`
    """Return what a Windows program did.

    One that fails without a word is run again: Wine's server was about to end as it came.
    """
    done = run(command, **settings)
    failed = done.returncode and not done.output and not done.timed_out
    return run(command, **settings) if failed else done


# What a program and the loader printed

_MARK = "@proof "
_TIME_IS_UP = re.compile(r"^Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!$", re.MULTILINE)
# A line of Wine's `+loaddll`, the numbers of process and thread first:
# 0020:0024:trace:loaddll:build_module Loaded L"C:\\cuda\\nppc64_12.dll" at 0...: native
_LINE = re.compile(
    r"(?P<process>[0-9a-f]+):[0-9a-f]+:trace:loaddll:\w+ "
    r'(?P<what>Loaded|Unloaded)(?: module)? L"(?P<file>.*?)"'
)
# Wine writes what is not ASCII as \ and four hexadecimal digits, and a backslash twice.
_ESCAPE = re.compile(r"\\(\\|[0-9a-f]{4})")
_CONCERNED = frozenset({Kind.CUDA, Kind.CUDNN, Kind.DRIVER})


def describe_run(done: Finished, limit: float) -> Outcome:
    """Return what came of a program, from all that it and the loader printed."""
    facts: dict[str, Any] = {}
    for line in done.output.splitlines():
        _, mark, text = line.partition(_MARK)
        facts |= json.loads(text) if mark else {}
    raised = facts.get("raised")
    modules = (Loaded(file=PureWindowsPath(file)) for file in facts.get("modules", ()))
    end, line = _describe_end(done, facts, limit)
    return Outcome(
        end=end,
        line=line,
        message=raised["message"] if raised else "",
        printed="\n".join(line for line in done.output.splitlines() if not _is_noise(line)),
        loaded=tuple(parse_trace(done.output)) or tuple(modules),
        claims=facts.get("claims", {}),
        seconds=done.seconds,
    )


def _describe_end(done: Finished, facts: Mapping[str, Any], limit: float) -> tuple[str, str]:
    """Return how a program ended, in a word and in a line."""
    if done.timed_out or (done.returncode and _TIME_IS_UP.search(done.output)):
        return HANGS, f"hangs: it had not ended after {limit:g} s"
    if not facts.get("ended"):
        return CRASHES, describe_crash(done, "the program")
    raised = facts.get("raised")
    if raised:
        first = next(iter(raised["message"].splitlines()), "")
        return FAILS, f"{raised['type']}: {first}"
    return IMPORTS, "imports"


def parse_trace(output: str) -> Iterator[Loaded]:
    """Yield what Wine says was loaded, in order, whether or not it was unloaded again."""
    present: set[tuple[str, str]] = set()
    for line in _LINE.finditer(output):
        file = PureWindowsPath(_ESCAPE.sub(_unescape, line["file"]))
        key = line["process"], file.name.lower()
        if line["what"] == "Unloaded":
            present.discard(key)
        else:
            yield Loaded(file=file, is_second=key in present)
            present.add(key)


def _unescape(match: re.Match[str]) -> str:
    return "\\" if match[1] == "\\" else chr(int(match[1], 16))


def _is_noise(line: str) -> bool:
    """Return whether a line says only that Windows' or Python's own files were loaded."""
    match = _LINE.search(line)
    if not match:
        return False
    name = match["file"].rpartition("\\")[2].lower()
    return not name.startswith("cv2") and classify(name).kind not in _CONCERNED

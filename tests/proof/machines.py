"""Lays a scenario's machine out on a disk, runs its program, and says what was seen."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from typing import Any

from proof.disks import WineDisk, lay_python, layout_of, link_or_copy, link_tree
from proof.scenarios import CRASHES, FAILS, IMPORTS, Scenario, fill
from repack.dlls.families import Kind, classify
from repack.process import Finished, run
from repack.pythons import Interpreter
from repack.smoke.trial import describe_crash

PROBE = r"C:\proof\probe.py"
_TEMPORARY = r"C:\proof\temp"
_WINE_LACKS = {"media-foundation": "mf=;mfplat=;mfreadwrite="}
_CONCERNED = frozenset({Kind.CUDA, Kind.CUDNN, Kind.DRIVER})


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
    """How a program ended (`end`), in one line and in all that it said; what the loader took."""

    end: str
    line: str
    message: str = ""
    printed: str = ""
    loaded: tuple[Loaded, ...] = ()
    seconds: float = 0.0


def places_of(scenario: Scenario, version: str) -> dict[str, str]:
    """Return what {python}, {site}, {version} and {digits} mean in a scenario."""
    layout = layout_of(scenario.layout, version)
    digits = version.replace(".", "")
    return {"python": layout.python, "site": layout.site, "version": version, "digits": digits}


def lay_out(
    scenario: Scenario,
    disk: WineDisk,
    interpreter: Interpreter,
    packages: Iterable[Path],
    dlls: Iterable[tuple[str, Mapping[str, Path]]],
) -> None:
    """Put Python, packages and DLLs on the disk, by links.

    `packages` are installed wheels in the order in which they are put there; `dlls` are folders of
    the machine with their files.
    """
    layout = layout_of(scenario.layout, interpreter.version)
    places = places_of(scenario, interpreter.version)
    lay_python(layout, disk, interpreter)
    for package in packages:
        link_tree(package, disk.place(layout.site))
    for folder, sources in dlls:
        for name, source in sources.items():
            link_or_copy(source, disk.place(rf"{fill(folder, places)}\{name}"))
    disk.place(PROBE).write_bytes(files(__package__).joinpath("probe.py").read_bytes())
    for folder in (_TEMPORARY, fill(scenario.cwd, places)):
        disk.place(folder).mkdir(parents=True, exist_ok=True)


def run_program(
    scenario: Scenario, disk: WineDisk, interpreter: Interpreter, limit: float
) -> Outcome:
    """Return what the scenario's program does on its machine; it is ended after `limit` seconds."""
    layout = layout_of(scenario.layout, interpreter.version)
    places = places_of(scenario, interpreter.version)
    machine = scenario.machine
    # Nothing of this machine's environment.
    given = {name: fill(value, places) for name, value in machine.env.items()}
    env = {**disk.env, **layout.env, **given}
    path = ";".join(fill(entry, places) for entry in machine.path)
    lacks = [_WINE_LACKS[name] for name in machine.without]
    overrides = ";".join([env["WINEDLLOVERRIDES"], *lacks])
    debug = "-all,+pid,+loaddll,err+module"
    # Wine makes the Windows PATH of WINEPATH; PATH itself is the launcher's.
    env |= {"WINEPATH": path, "WINEDEBUG": debug, "WINEDLLOVERRIDES": overrides}
    job = {
        "program": fill(scenario.program, places),
        "limit": limit,
        "env": {"TEMP": _TEMPORARY, "TMP": _TEMPORARY},
    }
    command = [*interpreter.launcher, rf"{layout.python}\python.exe", PROBE, json.dumps(job)]
    # The probe ends itself when its time is up; this is for one that cannot.
    cwd = disk.place(fill(scenario.cwd, places))
    return describe_run(run_in_wine(command, timeout=limit + 15, env=env, cwd=cwd))


def run_in_wine(command: Sequence[str], **settings: Any) -> Finished:  # noqa: ANN401 - of `run`
    """Return what a Windows program did.

    One that fails without a word is run again: Wine's server was about to end as it came.
    """
    done = run(command, **settings)
    failed = done.returncode and not done.output and not done.timed_out
    return run(command, **settings) if failed else done


# What a program and the loader printed

_MARK = "@proof "
# A line of Wine's `+loaddll`, the numbers of process and thread first:
# 0020:0024:trace:loaddll:build_module Loaded L"C:\\cuda\\nppc64_12.dll" at 0...: native
_LINE = re.compile(
    r"(?P<process>[0-9a-f]+):[0-9a-f]+:trace:loaddll:\w+ "
    r'(?P<what>Loaded|Unloaded)(?: module)? L"(?P<file>.*?)"'
)
# Wine writes what is not ASCII as \ and four hexadecimal digits, and a backslash twice.
_ESCAPE = re.compile(r"\\(\\|[0-9a-f]{4})")


def describe_run(done: Finished) -> Outcome:
    """Return what came of a program, from all that it and the loader printed."""
    facts: dict[str, Any] = {}
    for line in done.output.splitlines():
        _, mark, text = line.partition(_MARK)
        facts |= json.loads(text) if mark else {}
    raised = facts.get("raised", {"message": ""})
    if not facts.get("ended"):
        end, what = CRASHES, describe_crash(done, "the program")
    elif "raised" in facts:
        end, what = FAILS, f"{raised['type']}: {raised['message'].partition(chr(10))[0]}"
    else:
        end, what = IMPORTS, "imports"
    return Outcome(
        end=end,
        line=what,
        message=raised["message"],
        printed="\n".join(line for line in done.output.splitlines() if not _is_noise(line)),
        loaded=tuple(parse_trace(done.output)),
        seconds=done.seconds,
    )


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
    name = match["file"].rpartition("\\")[2].lower() if match else "cv2"
    return not name.startswith("cv2") and classify(name).kind not in _CONCERNED

r"""repack itself on a genuine Windows Python: installed by Windows' own pip, run as its user does.

Its Python, its folder and its user have names with spaces and letters beyond ASCII; another Python
is registered beside it. That its wheels are those of this machine, tests/test_on_windows.py shows.
"""

import contextlib
import os
import pty
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from genuine import fetch_index
from uploads import SECRET, USER, pypiserver

from proof.disks import Layout, WineDisk, lay_python, wine_disk
from proof.results import Cell, Story
from repack.console import Progress
from repack.dlls.writing import make_dll
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import Finished, run
from repack.pythons import Pythons
from repack.pythons.wine import windows_path

ROOT = Path(__file__).parent.parent.parent
HOME = r"C:\Users\Jörg Müller"
WORK = rf"{HOME}\my work"
PYTHON = rf"{HOME}\Python312"
OTHER = r"C:\Program Files\Python313"
REPACK = rf"{PYTHON}\Scripts\repack.exe"
#: PEP 514's keys; the last Python is gone.
REGISTER = rf"""
import winreg
for root, version, path in [
    (winreg.HKEY_CURRENT_USER, "3.12", r"{PYTHON}\python.exe"),
    (winreg.HKEY_LOCAL_MACHINE, "3.13", r"{OTHER}\python.exe"),
    (winreg.HKEY_LOCAL_MACHINE, "3.9", r"C:\gone\python.exe"),
]:
    key = winreg.CreateKey(root, rf"Software\Python\PythonCore\{{version}}\InstallPath")
    winreg.SetValueEx(key, "ExecutablePath", 0, winreg.REG_SZ, path)
"""
#: How this machine reaches an index.
HANDED_ON = ("PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


class Desk(NamedTuple):
    """The machine, the environment of its programs, and what repack has fetched on it before."""

    disk: WineDisk
    launcher: tuple[str, ...]
    env: Mapping[str, str]
    cache: Path

    def run(self, *words: str, program: str = REPACK, **env: str) -> Finished:
        """Return what repack.exe, or another program of Windows, did."""
        command, folder = [*self.launcher, program, *words], self.disk.place(WORK)
        return run(command, timeout=900, env={**self.env, **env}, cwd=folder)

    def pip_install(self, python: str, *requirements: str) -> Finished:
        """Return what came of Windows' own pip."""
        pip = str(windows_path(fetch_index("pip", python="3.12").path))
        words = ("-m", "pip", "install", "--no-color", "--progress-bar=off", *requirements)
        return self.run(*words, program=rf"{python}\python.exe", PYTHONPATH=pip)

    def interrupt(self, *words: str, after: str) -> Finished:
        """Return what repack.exe did in a terminal, with Ctrl-C once it has printed `after`."""
        process, terminal = pty.fork()
        if not process:
            os.chdir(self.disk.place(WORK))
            command = [*self.launcher, REPACK, *words]
            os.execve(command[0], command, self.env)  # noqa: S606 - Ctrl-C is the terminal's
        text = ""
        with contextlib.suppress(OSError):  # so Linux tells that nobody writes any more
            while after not in text:
                text += os.read(terminal, 65536).decode(errors="replace")
            os.write(terminal, b"\x03")
            while True:
                text += os.read(terminal, 65536).decode(errors="replace")
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return Finished(args=words, returncode=code, output=text, timed_out=False, seconds=0.0)


@contextlib.contextmanager
def open_desk(folder: Path) -> Iterator[tuple[Desk, Finished]]:
    """Give the machine, and what came of `pip install` with the wheel of repack."""
    cache = Cache.default().folder("tests") / "on-windows"
    with Pythons(Supply(Cache.default())) as pythons:
        interpreter = pythons.provide("3.12")
        with wine_disk(interpreter, folder) as disk:
            for version, python in {"3.12": PYTHON, "3.13": OTHER}.items():
                layout = Layout(python=python, site=rf"{python}\Lib\site-packages")
                lay_python(layout, disk, pythons.provide(version))
            # Wine has it since 8.13; uv and obstore load it for random numbers.
            forwards = {"ProcessPrng": "advapi32.SystemFunction036"}
            dll = make_dll("bcryptprimitives.dll", forwards=forwards)
            disk.place(r"C:\windows\system32\bcryptprimitives.dll").write_bytes(dll)
            env = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
            env["REPACK_CACHE"] = str(windows_path(cache / "repack"))
            env["PIP_CACHE_DIR"] = str(windows_path(cache / "pip"))
            # uv does not like the chains of certificates that Wine makes.
            env["PIP_CERT"] = r"Z:\etc\ssl\certs\ca-certificates.crt"
            env |= {"TWINE_USERNAME": USER, "TWINE_PASSWORD": SECRET, "PYTHONIOENCODING": "cp437"}
            desk = Desk(disk, interpreter.launcher, {**disk.env, **env}, cache / "repack")
            disk.place(WORK).mkdir(parents=True)
            desk.run("-c", REGISTER, program=rf"{PYTHON}\python.exe")
            words = ("-m", "pip", "wheel", "--no-deps", f"--wheel-dir={folder}", str(ROOT))
            made = run([sys.executable, *words], timeout=300)
            assert made.returncode == 0, made.output
            (wheel,) = folder.glob("cv2_repack-*.whl")
            yield desk, desk.pip_install(PYTHON, f"{windows_path(wheel)}[sample]")


# The proof


class Step(NamedTuple):
    """A command of repack's on Windows: how it must end, and what it must print."""

    words: tuple[str, ...]
    says: str
    code: int = 0


LONG = "\\".join(["long" * 16] * 5)
FAILED = r"not found: nppc64_12\.dll"
WORKS = r"(?s)3\.12 .*load failed.* works: OpenCV.*3\.13 .*load failed.* works: OpenCV"
PATCHED = r"dist\opencv_contrib_python-4.14.0.94+cu12.sample.patched-cp312-cp312-win_amd64.whl"
BUILD = ("build", "--no-smoke", "--python", "3.12")
STEPS = [
    Step(("pythons",), r"(?s)3\.13 .*registry .*Python313\\python\.exe.*3\.12 .*registry"),
    Step(("build", "--python", "3.12,3.13"), WORKS),
    Step(("pin",), r"requirements-3\.12\.txt"),
    Step(("publish", "--index-dir", r"{folder}\index"), r"cp313.* added"),
    Step(("inspect", PATCHED), r"needs nppc64_12\.dll at load time"),
    Step(("publish", "--repository-url", "{url}"), r"cp312.* added"),
    Step(("publish", "--repository-url", "{url}"), r"cp312.* there already"),
    Step(("pip", "{sample}"), "Successfully installed"),
    Step(("doctor", OTHER), FAILED, code=1),
    Step(("fix", OTHER, "--env", "PATH={dlls}"), "import cv2 works: OpenCV"),
    Step(("fix", OTHER, "--undo"), r"restored or removed cv2/__init__\.py"),
    Step((*BUILD, "-w", LONG), r"cp312-cp312-win_amd64\.whl"),
    # No code page of the West has these letters.
    Step((*BUILD, "-w", r"C:\作業"), r"-> C:\\\\u4f5c\\u696d"),
    Step(("init", "--file", "a.whl", "--config", r"{folder}\new.toml"), r"new\.toml: what"),
    Step(("pin", "nowhere"), r"error: .*nowhere.*\[nothing-to-pin\]", code=1),
]


def prove_on_windows(name: str, folder: Path, progress: Progress) -> Story:
    """Return what repack did on Windows, step by step."""
    with (
        open_desk(folder) as (desk, installed),
        pypiserver(folder) as (url, _),
        progress.task("repack on Windows", total=len(STEPS), unit="steps") as task,
    ):
        # Each proof tries the wheels anew; one that was killed has left its work.
        for folder_name in ("verdicts", "smoke"):
            shutil.rmtree(desk.cache / folder_name, ignore_errors=True)
        for file in (ROOT / "repack.toml", ROOT / "repack.lock"):
            shutil.copy(file, desk.disk.place(WORK))
        cells = [_judge(Step(("pip", "cv2_repack"), "Successfully installed"), installed)]
        for step in STEPS:
            cells.append(_judge(step, _take_step(step, desk, folder, url)))
            task.advance(1)
        done = desk.interrupt("smoke", PATCHED, "--env", "AGAIN=1", after="Trying wheels")
        cells.append(_judge(Step(("Ctrl-C in", *done.args), "repack: interrupted", 130), done))
        assert not list(desk.cache.rglob("*.tmp"))
    why = "Windows' own pip installs it; it does there what it does on this machine."
    title, text = "repack itself on Windows", f"nox -s proof -- --only {name}"
    return Story(name=name, title=title, why=why, text=text, cells=tuple(cells))


def _take_step(step: Step, desk: Desk, folder: Path, url: str) -> Finished:
    dlls = ";".join(str(windows_path(place)) for place in desk.cache.glob("dlls/*"))
    sample = next(map(windows_path, desk.cache.glob("samples/*/*.whl")), "")
    values = {"folder": windows_path(folder), "url": url, "dlls": dlls, "sample": sample}
    first, *words = (word.format_map(values) for word in step.words)
    return desk.pip_install(OTHER, *words) if first == "pip" else desk.run(first, *words)


def _judge(step: Step, done: Finished) -> Cell:
    faults = [f"exit code {done.returncode}"] if done.returncode != step.code else []
    if not re.search(step.says, done.output) or "Traceback" in done.output:
        faults.append(f"it does not print {step.says}, or a traceback")
    return Cell(
        python="3.12",
        wheel=" ".join(step.words),
        wanted=f"exit code {step.code}, and {step.says}",
        seen=f"exit code {done.returncode}",
        faults=tuple(faults),
        log=done.output,
        seconds=round(done.seconds, 1),
    )

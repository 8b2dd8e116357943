r"""Where Python and its site-packages lie: as python.org, venv, conda and the Store have it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proof.disks import WindowsDisk, WineDisk
from proof.packages import link_tree
from repack.pythons.interpreter import Interpreter

USER = r"C:\Users\me"
_PACKAGE = "PythonSoftwareFoundation.Python.{version}_qbz5n2kfra8p0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The folder of python.exe, the site-packages that cv2 goes to, and what makes it be one.

    `files` are text files that are part of it.
    """

    python: str
    site: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def layout_of(name: str, version: str) -> Layout:
    """Return the layout called `name` for the Python "3.12"."""
    digits = version.replace(".", "")
    plain = rf"{USER}\AppData\Local\Programs\Python\Python{digits}"
    if name == "venv":
        return _venv(plain, version)
    if name == "conda":
        return _conda()
    if name == "store":
        return _store(version, digits)
    if name == "user-site":
        base = rf"{USER}\AppData\Roaming\Python"
        site = rf"{base}\Python{digits}\site-packages"
        return Layout(python=plain, site=site, env={"PYTHONUSERBASE": base})
    return Layout(python=plain, site=rf"{plain}\Lib\site-packages")


def lay_python(layout: Layout, disk: WineDisk | WindowsDisk, interpreter: Interpreter) -> None:
    """Put a Python where the layout says."""
    # What else is installed there is none of the scenario's.
    link_tree(
        Path(interpreter.python).parent, disk.place(layout.python), without=("site-packages",)
    )
    disk.place(layout.site).mkdir(parents=True, exist_ok=True)
    for path, text in layout.files.items():
        place = disk.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _venv(base: str, version: str) -> Layout:
    root = rf"{USER}\project\.venv"
    settings = f"home = {base}\ninclude-system-site-packages = false\nversion = {version}\n"
    return Layout(
        python=base,
        site=rf"{root}\Lib\site-packages",
        # What the python.exe of a virtual environment, which only starts the other one, sets.
        env={"__PYVENV_LAUNCHER__": rf"{root}\Scripts\python.exe", "VIRTUAL_ENV": root},
        files={rf"{root}\pyvenv.cfg": settings},
    )


def _conda() -> Layout:
    root = rf"{USER}\miniconda3\envs\vision"
    return Layout(
        python=root,
        site=rf"{root}\Lib\site-packages",
        env={"CONDA_PREFIX": root},
        files={rf"{root}\conda-meta\history": "==> 2026-01-01 00:00:00 <==\n"},
    )


def _store(version: str, digits: str) -> Layout:
    package = _PACKAGE.format(version=version)
    base = rf"{USER}\AppData\Local\Packages\{package}\LocalCache\local-packages"
    return Layout(
        python=rf"C:\Program Files\WindowsApps\{package}",
        site=rf"{base}\Python{digits}\site-packages",
        env={"PYTHONUSERBASE": base},
    )

# /// script
# dependencies = ["nox>=2025.5.1"]
# ///
"""Everything that is run here: `nox -s setup build`, then `nox -s tests`; `nox -s proof`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_external_run = True

PYPROJECT = nox.project.load_toml()
#: Debian's packages for the smoke test: Wine runs the Windows Pythons, Maven fetches their parts;
#: and for the tests: Chromium opens the proof's page, shows nothing where there is no font, and is
#: led by Playwright's Node.js, which needs libatomic.
SYSTEM_PACKAGES = {
    "wine64": ("wine64", "wine"),
    "mvn": ("maven",),
    "chromium": ("chromium", "fonts-dejavu-core", "libatomic1"),
}
#: As many processes as there are processors, and no more than help; see tests/conftest.py.
SIDE_BY_SIDE = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")
#: What stands in for a program of that name, on PATH or as a file.
STAND_INS = {
    "wine64": ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine"),
    "chromium": ("chromium-browser", "google-chrome"),
}
WORKFLOWS = [
    *sorted(map(str, Path(".github/workflows").glob("*.yml"))),
    "docs/recipes/github-actions.yml",
]


@nox.session(venv_backend="none")
def setup(session: nox.Session) -> None:
    """Install the system packages for smoke test and tests (Linux; nothing to do on Windows)."""
    packages = missing_packages()
    if not packages:
        session.log("Nothing to install: the smoke test and the tests have all they need.")
        return
    update = ["apt-get", "update"]
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if not may_use_apt():
        session.skip(
            f"the smoke test and the tests need {', '.join(packages)}; install them with: "
            f"sudo {' '.join(update)} && sudo {' '.join(install)}"
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run(*update, external=True, env=env)
    session.run(*install, external=True, env=env)


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not on this machine, none on Windows."""
    if sys.platform == "win32":
        return []
    absent = [
        package
        for program, names in SYSTEM_PACKAGES.items()
        for package in names
        if not is_there(program)
    ]
    return sorted(absent)


def is_there(program: str) -> bool:
    """Return whether `program` can be run; Debian keeps wine64 itself off PATH."""
    return any(map(shutil.which, (program, *STAND_INS.get(program, ()))))


def may_use_apt() -> bool:
    """Return whether this is root on a machine with apt."""
    root = getattr(os, "geteuid", lambda: -1)() == 0
    return root and shutil.which("apt-get") is not None


@nox.session
def build(session: nox.Session) -> None:
    """Make the wheels of repack.toml: `nox -s build`; of one [[build]]: `nox -s build -- NAME`."""
    session.install(".[sample]")
    session.run("repack", "build", *session.posargs)


@nox.session(default=False)
def publish(session: nox.Session) -> None:
    """Hand what was built on, as [publish] says; `nox -s publish -- --index-dir index`."""
    session.install(".[bucket]")
    session.run("repack", "publish", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Test the installed wheel of repack; `nox -s tests -- -m "not wine"` for a part."""
    install_with(session, "tests")
    session.run(
        *("pytest", "-p", "no:cacheprovider", *SIDE_BY_SIDE, "--no-loadscope-reorder"),
        *session.posargs,
        env={"REPACK_INSTALLED": "1"},
    )


@nox.session(default=False)
def proof(session: nox.Session) -> None:
    """Run every claim about Windows on genuine Windows binaries; proof/ holds what was seen."""
    install_with(session, "tests")
    session.run("python", "tests/prove.py", *session.posargs)
    if not session.posargs:
        session.run("pytest", "-p", "no:cacheprovider", "-m", "proof")


@nox.session
def lint(session: nox.Session) -> None:
    """Check form, types and layers; workflows must be sound and ask for no more than they need."""
    install_with(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    session.run("zizmor", "--offline", "--no-progress", ".github", *WORKFLOWS[-1:])
    session.run(
        *("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "docs/recipes/gitlab-ci.yml")
    )
    if shutil.which("actionlint"):
        session.run("actionlint", external=True)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a warning is an error."""
    install_with(session, "docs")
    shutil.rmtree("site", ignore_errors=True)
    sphinx = ("sphinx-build", "--fail-on-warning", "--keep-going", "-q", "-d", ".nox/doctrees")
    session.run(*sphinx, "-b", "dirhtml", "docs", "site")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure beside the peers, in one run; with `-- --beside REPACK` another repack too."""
    install_with(session, "bench")
    session.run("python", "tests/bench.py", *session.posargs)


def install_with(session: nox.Session, group: str) -> None:
    """Install the built wheel of repack (never the source tree) and a dependency group."""
    session.install(".[sample]", *nox.project.dependency_groups(PYPROJECT, group))

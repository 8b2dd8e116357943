"""Pin files in the hands of pip and uv, on this machine and on a genuine Windows Python."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from genuine import fetch_index
from indexing import leave_record, served, simple_index, wheel_record
from running import repack
from wheelmaking import make_wheel

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons
from repack.smoke.outfit import Machine, Outfit, unpack_dlls
from repack.smoke.trial import Probe

UV = Path(sysconfig.get_path("scripts")) / "uv"
SHIPPED = [Path(__file__).parent.parent / name for name in ("repack.toml", "repack.lock")]
OWN = "opencv_contrib_python-4.13.0.90+cu12.patched"
PYTHON = "3.12"


class Shelf(NamedTuple):
    """Builds whose wheels are pinned, each a folder and the URL of its index.

    In `changed` our wheels have another byte, in `named` the files name the index.
    """

    good: tuple[Path, str]
    changed: tuple[Path, str]
    named: Path
    env: Mapping[str, str]

    def run(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Return how a program ended that knows of no other index."""
        return subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=cwd, env=self.env
        )


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    place = tmp_path_factory.mktemp("pinned")
    dist, changed = place / "dist", place / "changed"
    dist.mkdir()
    ours = {python: own_wheel(dist, python) for python in ("3.11", "3.12")}
    names = ("numpy-2.5.5-cp312-cp312", "numpy-2.4.6-cp311-cp311", "nvidia_cudnn_cu12-9-py3-none")
    others = [make_wheel(place / f"{name}-win_amd64.whl", {"nvidia/c.py": b""}) for name in names]
    records = [wheel_record(dist, wheel, [python]) for python, wheel in ours.items()]
    leave_record(dist, records, requires=['nvidia-cudnn-cu12; extra == "dnn"'])
    simple_index(place / "index", [*ours.values(), *others])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    env = {
        **kept,
        "NO_PROXY": "127.0.0.1",
        "PIP_CONFIG_FILE": os.devnull,
        "REPACK_CACHE": str(place / "cache"),
        "UV_CACHE_DIR": str(place / "uv"),
        "UV_NO_CONFIG": "1",
    }
    with served(place / "index") as url, served(place / "changed-index") as changed_url:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**env, "PIP_INDEX_URL": url}.items():
                patch.setenv(name, value)
            repack("pin", cwd=place)
            shutil.copytree(dist, place / "named")
            repack("pin", "named", "--index-url", url, cwd=place)
        for wheel in others:
            shutil.copy(wheel, dist)
        shutil.copytree(dist, changed)
        for python in ours:
            own_wheel(changed, python, content=b"#")
        simple_index(place / "changed-index", sorted(changed.glob("*.whl")))
        yield Shelf((dist, url), (changed, changed_url), place / "named", env)


def own_wheel(folder: Path, python: str, *, content: bytes = b"") -> Path:
    """One of our wheels; with another `content` it is as good, and not the one that was pinned."""
    tag = f"cp{python.replace('.', '')}"
    return make_wheel(
        folder / f"{OWN}-{tag}-{tag}-win_amd64.whl",
        {"cv2/__init__.py": content, "cv2/of.py": tag.encode()},
        requires=["numpy>=2", 'nvidia-cudnn-cu12; extra == "dnn"'],
    )


def pip(*words: str | Path) -> Sequence[str | Path]:
    target = ("--platform", "win_amd64", "--python-version", PYTHON, "--only-binary", ":all:")
    return (sys.executable, "-m", "pip", "install", "--no-cache-dir", *target, *words)


def uv(*words: str | Path) -> Sequence[str | Path]:
    target = ("--python-platform", "windows", "--python-version", PYTHON)
    return (UV, "pip", *words, "--no-cache", "--python", sys.executable, *target)


def commands(dist: Path, url: str) -> dict[str, Sequence[str | Path]]:
    """Each way to install what is pinned for Windows from this machine."""
    one, every = dist / f"requirements-{PYTHON}.txt", dist / "requirements.txt"
    hashes, index = "--require-hashes", ("--index-url", url)
    return {
        "pip": pip(hashes, "-r", one, *index),
        "pip, from folders": pip(hashes, "-r", one, "--no-index", "--find-links", dist),
        "uv": uv("sync", hashes, one, *index),
        "uv, the file for all Pythons": uv("sync", hashes, every, *index),
        "uv, from folders": uv("sync", hashes, one, "--no-index", "--find-links", dist),
        "uv, the lock file": uv("sync", dist / "pylock.toml"),
    }


WAYS = tuple(commands(Path(), ""))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_pinned_is_installed_and_of_another_byte_refused(
    way: str, shelf: Shelf, tmp_path: Path
) -> None:
    done = shelf.run(*commands(*shelf.good)[way], "--target", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "cv2" / "of.py").read_text(encoding="utf-8") == "cp312"
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "t").glob("*.dist-info")) == [
        "numpy",
        "opencv_contrib_python",
    ]
    done = shelf.run(*commands(*shelf.changed)[way], "--target", tmp_path / "u")
    assert done.returncode != 0
    assert re.search("hash mismatch|do not match the hashes", done.stderr, re.IGNORECASE)
    assert not (tmp_path / "u" / "cv2").exists()


@pytest.mark.parametrize(
    ("words", "file"),
    [
        pytest.param(
            ("sync", "requirements-3.12-dnn.txt", "--require-hashes"), "nvidia/c.py", id="an extra"
        ),
        pytest.param(
            ("install", "-r", "pylock.toml", "--extra", "dnn"), "nvidia/c.py", id="an extra, locked"
        ),
        pytest.param(("sync", "pylock.toml"), "cv2/of.py", id="a lock file anywhere"),
    ],
)
def test_files_that_name_the_index_need_nothing_else(
    words: Sequence[str], file: str, shelf: Shelf, tmp_path: Path
) -> None:
    for name in ("pylock.toml", "requirements-3.12-dnn.txt"):
        shutil.copy(shelf.named / name, tmp_path)
    done = shelf.run(*uv(*words), "--target", tmp_path / "t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / file).is_file()


@contextmanager
def windows(place: Path, machine: Machine) -> Iterator[Probe]:
    """A genuine Windows Python with its own pip, on such a machine."""
    cache = Cache.default()
    pip = fetch_index("pip", python=PYTHON)
    with Pythons(Supply(cache)) as pythons:
        outfit = Outfit(pythons.provide(PYTHON), pip, (), machine)
        yield Probe(outfit, place / "windows", 600, cache)


@pytest.mark.network
@pytest.mark.wine
def test_windows_own_pip_installs_what_is_pinned_and_cv2_imports(tmp_path: Path) -> None:
    for file in SHIPPED:
        shutil.copy(file, tmp_path)
    repack("build", "--no-smoke", "--python", PYTHON, cwd=tmp_path)
    repack("pin", cwd=tmp_path)
    dist, cache, lock = tmp_path / "dist", Cache.default(), tmp_path / "repack.lock"
    (wheel,) = dist.glob("*.whl")
    numpy = fetch_index("numpy>=2", python=PYTHON, lock=lock).path
    shutil.copy(numpy, dist)
    simple_index(tmp_path / "index", [wheel, numpy])
    toolkits = (
        unpack_dlls(fetch_index(name, python=PYTHON, lock=lock), cache, SILENT)
        for name in ("nvidia-npp-cu12", "nvidia-cuda-runtime-cu12")
    )
    machine = Machine(dll_dirs=tuple(toolkits))
    with windows(tmp_path, machine) as probe, served(tmp_path / "index") as url:
        name = probe.outfit.interpreter.name
        pins = name(dist / f"requirements-{PYTHON}.txt")
        ways = {
            "Successfully installed": ["--require-hashes", "-r", pins, "-i", url],
            "Would install": [
                "--dry-run",
                "--no-index",
                "-r",
                probe.outfit.interpreter.name(dist / "pylock.toml"),
            ],
        }
        for words, way in ways.items():
            told = probe.run_pip("install", *way).output
            assert f"{words} numpy-" in told, told
            assert "opencv-contrib-python-4" in told
        assert '"done": true' in probe.run("use").output
        # One byte somewhere in cv2: nothing but the hash can tell.
        content = bytearray(wheel.read_bytes())
        content[len(content) // 2] ^= 1
        wheel.unlink()
        wheel.write_bytes(content)
        for way in ways.values():
            told = probe.run_pip("install", *way).output
            assert "DO NOT MATCH THE HASHES" in told, told

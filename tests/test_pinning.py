"""`repack pin`: which versions it takes, through the real uv, from an index on loopback."""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import pytest
from driving import Ran, Repack
from platforms import POSIX
from publishing import Plain, leave_record, served, simple_index
from wheelmaking import make_wheel

from repack.files import sha256_of

DNN = 'nvidia-cudnn-cu12>=9; extra == "dnn"'


@dataclass
class Place:
    """A folder with what a build left, an index, and `repack` run there."""

    repack: Repack
    url: str
    index: Path
    wheels: list[Path] = field(default_factory=list)

    @property
    def dist(self) -> Path:
        return self.repack.folder / "dist"

    def build(
        self,
        *requires: str,
        seen: Mapping[str, Sequence[Path]] = MappingProxyType({"3.12": ()}),
        name: str = "",
        status: str = "passed",
    ) -> Path:
        """Leave a build with one wheel that requires that, and return its folder."""
        folder = self.dist / name
        folder.mkdir(parents=True)
        wheel = make_wheel(
            folder / f"opencv_contrib_python-4.13.0.90+{name or 'cu12'}-cp37-abi3-win_amd64.whl",
            {"cv2/__init__.py": b""},
            requires=requires,
        )
        added = [line for line in requires if "extra" in line]
        leave_record(folder, wheel, seen=seen, status=status, requires=added)
        self.wheels.append(wheel)
        return folder

    def offer(self, name: str, *requires: str) -> Path:
        """Put a wheel on the index: of "name-1", or with tags of its own."""
        tagged = name if name.count("-") > 1 else f"{name}-py3-none-any"
        package = name.partition("-")[0]
        wheel = make_wheel(
            self.repack.folder / f"{tagged}.whl", {f"{package}/__init__.py": b""}, requires=requires
        )
        self.wheels.append(wheel)
        return wheel

    def pin(self, *words: object) -> Ran:
        shutil.rmtree(self.index, ignore_errors=True)
        simple_index(self.index, self.wheels)
        return self.repack("pin", *words)

    def pinned(self, *words: object) -> dict[str, list[str]]:
        """What is pinned for each Python, our wheel left out."""
        done = self.pin("--json", *words)
        assert done.code == 0, done.err
        pins: dict[str, list[str]] = {}
        for pin in done.json["pins"]:
            if pin["name"] != "opencv-contrib-python":
                extra = f" [{pin['extra']}]" if pin["extra"] else ""
                pins.setdefault(pin["python"], []).append(f"{pin['name']}=={pin['version']}{extra}")
        return pins

    def files(self) -> dict[str, str]:
        """The text of all pin files, by their paths in dist/."""
        return {
            path.relative_to(self.dist).as_posix(): path.read_text("utf-8")
            for path in sorted(self.dist.rglob("*"))
            if path.suffix in {".txt", ".toml"}
        }


@pytest.fixture
def place(repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index = tmp_path / "index"
    index.mkdir()
    with served(index) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield Place(repack=repack, url=url, index=index)


# What is pinned


def test_markers_are_those_of_windows_and_of_that_python(place: Place) -> None:
    place.build(
        'a; sys_platform == "win32"', 'no; sys_platform != "win32"', seen={"3.9": [], "3.14": []}
    )
    place.offer("a-1", 'b; python_version >= "3.14"', 'c; platform_system == "Windows"')
    for name in ("b-1", "c-1"):
        place.offer(name)
    assert place.pinned() == {"3.9": ["a==1", "c==1"], "3.14": ["a==1", "b==1", "c==1"]}


def test_an_extra_has_files_of_its_own_with_the_same_versions(place: Place) -> None:
    tried = place.offer("numpy-2.1.0-cp312-cp312-win_amd64")
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.offer("nvidia_cudnn_cu12-9", "numpy", "nvidia-cublas-cu12")
    place.offer("nvidia_cublas_cu12-12")
    place.build("numpy>=2", DNN, seen={"3.12": [tried]})
    assert place.pinned() == {
        "3.12": ["numpy==2.1.0", "nvidia-cublas-cu12==12 [dnn]", "nvidia-cudnn-cu12==9 [dnn]"]
    }
    files = place.files()
    assert "cudnn" not in files["requirements-3.12.txt"]
    assert "opencv-contrib-python[dnn]==" in files["requirements-3.12-dnn.txt"]


def test_what_was_published_a_moment_ago_is_seen_and_equal_files_are_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_RESOLUTION", "lowest")  # is not for us
    place.build("numpy")
    wheel = place.offer("numpy-1")
    assert place.pinned() == {"3.12": ["numpy==1"]}
    assert sha256_of(wheel) in place.files()["requirements-3.12.txt"]
    before = {path: path.stat().st_mtime_ns for path in place.dist.iterdir()}
    assert place.pin().code == 0
    assert {path: path.stat().st_mtime_ns for path in place.dist.iterdir()} == before
    place.offer("numpy-2")
    time.sleep(1.1)  # the server tells changes of a page by whole seconds
    assert place.pinned() == {"3.12": ["numpy==2"]}


# Which files


def test_each_build_has_its_own_files_and_a_failed_wheel_none_and_old_ones_of_ours_are_removed(
    place: Place,
) -> None:
    place.build("numpy<2", name="cu11")
    folder = place.build("numpy>=2", name="cu12", seen={"3.11": [], "3.12": []})
    place.build("numpy", name="cu13", status="failed")
    place.offer("numpy-1")
    place.offer("numpy-2")
    assert place.pin().code == 0
    files = place.files()
    assert {name.partition("/")[0] for name in files} == {"cu11", "cu12"}
    assert "numpy==1 " in files["cu11/requirements-3.12.txt"]
    assert "numpy==2 " in files["cu12/requirements-3.12.txt"]
    theirs = folder / "requirements-theirs.txt"
    theirs.write_text("numpy\n", encoding="utf-8")
    (wheel,) = folder.glob("*.whl")
    leave_record(folder, wheel)
    removed = place.pin("--json").json["removed"]
    assert removed == [str(folder / "requirements-3.11.txt")]
    assert (Path(removed[0]).exists(), theirs.exists()) == (False, True)


def test_an_index_is_named_with_the_address_of_each_file(place: Place) -> None:
    tried = place.offer("numpy-2")
    place.build("numpy", seen={"3.12": [tried]})
    assert "publish.index-url" in place.pin("--index-url").error
    text = f'[publish]\nindex-url = "{place.url}"\n'
    (place.repack.folder / "repack.toml").write_text(text, encoding="utf-8")
    assert place.pin("--index-url").code == 0
    files = place.files()
    assert f"--index-url {place.url}\n" in files["requirements-3.12.txt"]
    own = "opencv-contrib-python/opencv_contrib_python-4.13.0.90%2Bcu12"
    for file in ("numpy/numpy-2-py3-none-any.whl", own):
        assert f"{place.url}{file}" in files["pylock.toml"]
    assert "path = " not in files["pylock.toml"]
    assert place.pin().code == 0
    assert not any("://" in text for text in place.files().values())


def test_the_files_for_all_pythons_tell_them_apart_by_markers_and_leave_free_threading_out(
    place: Place,
) -> None:
    folder = place.build("numpy")
    place.offer("numpy-2.0.2-cp39-cp39-win_amd64")
    for abi in ("cp312", "cp313"):
        place.offer(f"numpy-2.5.5-{abi}-{abi}-win_amd64")
    place.offer("numpy-2.5.5-cp314-cp314-win_amd64")
    threaded = place.offer("numpy-2.5.5-cp314-cp314t-win_amd64")
    (wheel,) = folder.glob("*.whl")
    leave_record(folder, wheel, seen={"3.9": [], "3.12": [], "3.13": [], "3.14t": []})
    assert place.pin().code == 0
    files = place.files()
    assert [line for line in files["requirements.txt"].splitlines() if line[:5] == "numpy"] == [
        'numpy==2.0.2 ; python_version == "3.9" \\',
        'numpy==2.5.5 ; python_version == "3.12" or python_version == "3.13" \\',
    ]
    assert 'numpy==2.0.2 ; python_version == "3.9"\n' in files["constraints.txt"]
    assert "--hash" not in files["constraints.txt"]
    assert sha256_of(threaded) in files["requirements-3.14t.txt"]
    assert sha256_of(threaded) not in files["requirements.txt"] + files["pylock.toml"]


# Who installs


UV_SYNC: list[str | Path] = [
    *(Path(sysconfig.get_path("scripts")) / "uv", "pip", "sync", "--no-cache"),
    *("--python", sys.executable, "--python-platform", "windows", "--python-version", "3.12"),
]
WAYS = {
    "uv, the file for all Pythons": [*UV_SYNC, "--require-hashes", "requirements.txt"],
    "uv, an extra": [*UV_SYNC, "--require-hashes", "requirements-3.12-dnn.txt"],
    "uv, the lock file": [*UV_SYNC, "pylock.toml"],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_pinned_is_installed_and_of_another_byte_refused(
    way: str, place: Place, tmp_path: Path
) -> None:
    place.build("numpy", DNN, seen={"3.11": [], "3.12": []})
    for abi in ("cp311", "cp312"):
        place.offer(f"numpy-2.5.5-{abi}-{abi}-win_amd64")
    place.offer("nvidia_cudnn_cu12-9-py3-none-win_amd64")
    assert place.pin().code == 0
    ours, *others = place.wheels
    for wheel in others:
        shutil.copy(wheel, place.dist)
    env = os.environ | {"UV_DEFAULT_INDEX": place.url, "UV_NO_CONFIG": "1"}
    run = partial(subprocess.run, cwd=place.dist, env=env, capture_output=True, text=True)
    done = run([*WAYS[way], "--target", tmp_path / "t"])
    assert done.returncode == 0, done.stderr
    names = {path.name.partition("-")[0] for path in (tmp_path / "t").glob("*.dist-info")}
    assert names - {"nvidia_cudnn_cu12"} == {"numpy", "opencv_contrib_python"}
    assert ("extra" in way) == ("nvidia_cudnn_cu12" in names)
    make_wheel(ours, {"cv2/__init__.py": b"#"}, requires=["numpy", DNN])
    shutil.rmtree(place.index)
    simple_index(place.index, place.wheels)
    done = run([*WAYS[way], "--target", tmp_path / "u"])
    assert done.returncode != 0
    assert re.search("hash mismatch|do not match the hashes", done.stderr, re.IGNORECASE)
    assert not (tmp_path / "u" / "cv2").exists()


# Publishing, and what fails


def test_what_is_published_is_pinned_from_that_index_first(place: Place) -> None:
    numpy = place.offer("numpy-2")
    (place.repack.folder / "numpy").mkdir()
    numpy.rename(place.repack.folder / "numpy" / numpy.name)
    place.build("numpy")
    for words in ("numpy", "dist"):
        done = place.repack("publish", words, "--index-dir", "team", "--offline")
        assert done.code == 0, done.err
    assert "numpy==2 " in place.files()["requirements-3.12.txt"]


@pytest.mark.parametrize("command", ["pin", "publish --index-dir team"])
def test_a_python_that_does_not_resolve_is_named_the_others_are_pinned_and_the_exit_code_is_1(
    command: str, place: Place
) -> None:
    place.build("numpy<2.3", seen={"3.12": [], "3.14": []})
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.offer("numpy-2.3.0-cp314-cp314-win_amd64")
    simple_index(place.index, place.wheels)
    done = place.repack(*command.split(), "--json")
    assert done.code == 1
    assert re.search(r"Python 3\.14 is not pinned: .* 3\.14 on Windows: .*numpy", done.err)
    names = ["requirements-3.12.txt", "requirements.txt"]
    assert [name for name in place.files() if name.startswith("req")] == names
    page = place.repack.folder / "team" / "opencv-contrib-python" / "index.html"
    assert page.is_file() == command.startswith("publish")


class Private(Plain):
    """A web server that shows its files to one user."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        if self.headers.get("Authorization") == f"Basic {b64encode(b'me:s3cret').decode()}":
            return super().send_head()
        self.send_error(401)
        return None


@POSIX  # the keyring here is a shell script
@pytest.mark.parametrize("login", ["me:s3cret@", "me@", ""], ids=["given", "keyring", "none"])
def test_a_private_index_is_read_with_the_password_that_pip_knows_which_nobody_is_told(
    login: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.dist.parent / "keyring").write_text("#!/bin/sh\necho s3cret\n", encoding="utf-8")
    (place.dist.parent / "keyring").chmod(0o755)
    monkeypatch.setenv("PATH", str(place.dist.parent), prepend=os.pathsep)
    place.build("numpy", name="one")
    place.build("never-there", name="other")
    place.offer("numpy-2")
    with served(place.index, Private) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url.replace("://", f"://{login}"))
        named = ["--index-url", url] if ":" in login else []
        done = place.pin("-v", "--json", *named)
    assert done.code == 1
    assert bool(place.files()) == ("401 Unauthorized" not in done.err) == bool(login)
    assert "s3cret" not in "".join([done.out, done.err, *place.files().values()])


def error_of(done: Ran, place: Place) -> str:
    """Return the one line of an error that left no file."""
    assert done.code == 1
    assert place.files() == {}
    (line,) = [line for line in done.err.splitlines() if "error: " in line]
    return line


def test_wheels_that_are_not_those_of_the_build_are_not_pinned(place: Place) -> None:
    tried = place.offer("numpy-2")
    place.build("numpy", DNN, seen={"3.12": [tried]})
    ours = place.wheels.pop()
    place.wheels.clear()
    tried.unlink()
    place.offer("numpy-2", "something")
    for name in ("nvidia_cudnn_cu12-9", "something-1"):
        place.offer(name)
    assert "[sha256]; publish this" in error_of(place.pin(), place), "the index has another NumPy"
    named = place.pin("--index-url", place.url)
    assert "opencv-contrib-python==" in error_of(named, place), "the index has not our wheel"
    ours.write_bytes(ours.read_bytes()[:-1] + b"?")
    assert "[changed]" in error_of(place.pin(), place)
    (place.dist / "build.json").unlink()
    assert "[nothing-to-pin]" in error_of(place.pin(), place)

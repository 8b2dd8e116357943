"""`repack pin`: which versions it takes, through the real pip, from a small index on loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from driving import Ran, Repack
from indexing import leave_record, served, simple_index, wheel_record
from wheelmaking import make_wheel

from repack.fetch import Cache
from repack.files import sha256_of
from repack.lock import Lock, Pin, write_lock


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
        pythons: Sequence[str] = ("3.12",),
        beside: Sequence[Path] = (),
        name: str = "",
        extras: Sequence[str] = (),
        status: str = "passed",
    ) -> Path:
        """Leave a build with one wheel that requires that, and return its folder."""
        folder = self.dist / name
        kept = folder / "failed" if status == "failed" else folder
        kept.mkdir(parents=True)
        wheel = make_wheel(
            kept / f"opencv_contrib_python-4.13.0.90+{name or 'cu12'}-cp37-abi3-win_amd64.whl",
            {"cv2/__init__.py": b""},
            requires=requires,
        )
        record = wheel_record(folder, wheel, pythons, beside=beside, status=status)
        leave_record(folder, [record], requires=extras)
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

    def cached(self, wheel: Path) -> Path:
        """Return the wheel, once it lies in the cache as well."""
        place = Cache(self.repack.cache).place(sha256_of(wheel), wheel.name)
        place.parent.mkdir(parents=True)
        shutil.copy(wheel, place)
        return wheel

    def pin(self, *words: object, hashes: bool = True) -> Ran:
        shutil.rmtree(self.index, ignore_errors=True)
        simple_index(self.index, self.wheels, hashes=hashes)
        return self.repack("pin", *words)

    def pinned(self, *words: object, hashes: bool = True) -> dict[str, list[str]]:
        """What is pinned for each Python, our wheel left out."""
        done = self.pin("--json", *words, hashes=hashes)
        assert done.code == 0, done.err
        found: dict[str, list[str]] = {}
        for each in done.json["pins"]:
            if each["name"] != "opencv-contrib-python":
                extras = "".join(f" [{extra}]" for extra in each["extras"] or ())
                found.setdefault(each["python"], []).append(
                    f"{each['name']}=={each['version']}{extras}"
                )
        return found

    def files(self) -> dict[str, bytes]:
        """The content of all pin files, by their paths in dist/."""
        return {
            path.relative_to(self.dist).as_posix(): path.read_bytes()
            for path in sorted(self.dist.rglob("*"))
            if path.suffix in {".txt", ".toml"}
        }


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index = tmp_path / "index"
    index.mkdir()
    with served(index) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield Place(repack=Repack(tmp_path, monkeypatch, capsys), url=url, index=index)


def test_what_the_wheel_was_tried_with_is_pinned_and_nobody_is_asked(place: Place) -> None:
    tried = place.cached(place.offer("numpy-2.1.0-cp312-cp312-win_amd64"))
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.build("numpy>=2", beside=[tried])
    assert place.pinned("--offline") == {"3.12": ["numpy==2.1.0"]}
    assert sha256_of(tried) in place.files()["requirements-3.12.txt"].decode()


def test_a_wheel_that_was_not_tried_gets_what_the_index_has(place: Place) -> None:
    place.offer("numpy-2.1.0-cp311-cp311-win_amd64")
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.offer("numpy-2.3.0-cp312-cp312-manylinux_2_28_x86_64")
    place.build("numpy>=2", pythons=["3.11", "3.12"], status="not-run")
    assert place.pinned() == {"3.11": ["numpy==2.1.0"], "3.12": ["numpy==2.2.0"]}


def test_markers_are_those_of_windows_and_of_that_python(place: Place) -> None:
    place.build(
        'a; sys_platform == "win32"',
        'never-there; sys_platform != "win32"',
        pythons=["3.9", "3.14"],
    )
    place.offer(
        "a-1",
        'b; platform_system == "Windows"',
        'nor-this; platform_system == "Linux"',
        'c; python_version >= "3.14"',
        'd; python_version < "3.10"',
    )
    for name in ("b-1", "c-1", "d-1"):
        place.offer(name)
    assert place.pinned() == {
        "3.9": ["a==1", "b==1", "d==1"],
        "3.14": ["a==1", "b==1", "c==1"],
    }


def test_an_older_version_is_taken_where_the_newest_contradicts(place: Place) -> None:
    place.build("a", "b>=2")
    place.offer("a-2", "b<2")
    place.offer("a-1", "b")
    place.offer("b-1")
    place.offer("b-2")
    assert place.pinned() == {"3.12": ["a==1", "b==2"]}


def test_pip_keeps_to_what_was_tried(place: Place) -> None:
    tried = place.cached(place.offer("numpy-2.1.0-cp312-cp312-win_amd64"))
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.offer("a-1", "numpy")
    place.build("numpy>=2", 'a; extra == "dnn"', beside=[tried], extras=['a; extra == "dnn"'])
    assert place.pinned() == {"3.12": ["a==1 [dnn]", "numpy==2.1.0"]}


def test_an_extra_has_files_of_its_own_with_the_same_versions(place: Place) -> None:
    extra = 'nvidia-cudnn-cu12>=9; extra == "dnn"'
    place.build("numpy", extra, extras=["nvidia-npp-cu12", extra])
    place.offer("numpy-1")
    place.offer("numpy-2")
    place.offer("nvidia_cudnn_cu12-9", "numpy<2", "nvidia-cublas-cu12")
    place.offer("nvidia_cublas_cu12-12")
    assert place.pinned() == {
        "3.12": ["numpy==1", "nvidia-cublas-cu12==12 [dnn]", "nvidia-cudnn-cu12==9 [dnn]"]
    }
    files = place.files()
    assert list(files) == [
        "constraints.txt",
        "pylock.toml",
        "requirements-3.12-dnn.txt",
        "requirements-3.12.txt",
        "requirements-dnn.txt",
        "requirements.txt",
    ]
    assert b"cudnn" not in files["requirements-3.12.txt"]
    assert b"opencv-contrib-python[dnn]==" in files["requirements-3.12-dnn.txt"]


def test_a_hash_that_the_index_does_not_tell_is_that_of_the_file(place: Place) -> None:
    place.build("numpy")
    wheel = place.offer("numpy-2")
    assert place.pinned(hashes=False) == {"3.12": ["numpy==2"]}
    assert sha256_of(wheel) in place.files()["requirements-3.12.txt"].decode()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((), {"3.12": ["numpy==2"]}, id="somebody's, online"),
        pytest.param(("--offline",), {"3.12": ["numpy==2"]}, id="somebody's, offline"),
    ],
)
def test_what_was_not_tried_is_what_the_lock_pins(
    words: Sequence[str], expected: dict[str, list[str]], place: Place
) -> None:
    place.build("numpy")
    place.offer("numpy-3")
    wheel = place.cached(place.offer("numpy-2"))
    (place.repack.folder / "repack.toml").write_text("", encoding="utf-8")
    lock_in(place.repack.folder / "repack.lock", wheel)
    assert place.pinned(*words) == expected


def test_the_memory_of_the_cache_is_asked_only_where_nobody_else_may_be(place: Place) -> None:
    place.build("numpy")
    place.offer("numpy-3")
    wheel = place.cached(place.offer("numpy-2"))
    (place.repack.cache / "pins").mkdir()
    lock_in(place.repack.cache / "pins" / "repack.lock", wheel)
    assert place.pinned() == {"3.12": ["numpy==3"]}
    assert place.pinned("--offline") == {"3.12": ["numpy==2"]}


def lock_in(path: Path, wheel: Path) -> None:
    pin = Pin(
        key="numpy for Python 3.12 on win_amd64",
        filename=wheel.name,
        url="pkg:pypi/numpy@2",
        size=wheel.stat().st_size,
        sha256=sha256_of(wheel),
    )
    write_lock(path, Lock(pins=(pin,)))


def test_done_twice_the_files_are_left_alone(place: Place) -> None:
    place.build("numpy")
    place.offer("numpy-2")
    place.pinned()
    before = {path: path.stat().st_mtime_ns for path in place.dist.iterdir()}
    again = place.pin("--json")
    assert {file["changed"] for file in again.json["files"]} == {False}
    assert {path: path.stat().st_mtime_ns for path in place.dist.iterdir()} == before


def test_files_of_a_python_that_is_gone_are_removed_and_those_of_others_are_not(
    place: Place,
) -> None:
    place.build("numpy", pythons=["3.11", "3.12"])
    place.offer("numpy-2")
    place.pinned()
    theirs = place.dist / "requirements-theirs.txt"
    theirs.write_text("numpy\n", encoding="utf-8")
    (wheel,) = place.dist.glob("*.whl")
    leave_record(place.dist, [wheel_record(place.dist, wheel, ["3.12"])])
    removed = [file for file in place.pin("--json").json["files"] if file["removed"]]
    assert [file["path"] for file in removed] == [str(place.dist / "requirements-3.11.txt")]
    assert not (place.dist / "requirements-3.11.txt").exists()
    assert theirs.exists()


def test_each_build_has_its_own_files_and_a_failed_wheel_has_none(place: Place) -> None:
    place.build("numpy<2", name="cu11")
    place.build("numpy>=2", name="cu12")
    place.build("numpy", name="cu13", status="failed")
    place.offer("numpy-1")
    place.offer("numpy-2")
    assert place.pin().code == 0
    files = place.files()
    assert {name.partition("/")[0] for name in files} == {"cu11", "cu12"}
    assert b"numpy==1 " in files["cu11/requirements-3.12.txt"]
    assert b"numpy==2 " in files["cu12/requirements-3.12.txt"]


def test_an_index_is_named_with_the_address_of_each_file(place: Place) -> None:
    place.build("numpy")
    place.offer("numpy-2")
    assert place.pin("--index-url", place.url).code == 0
    files = {name: text.decode() for name, text in place.files().items()}
    assert f"--index-url {place.url}\n" in files["requirements-3.12.txt"]
    assert f"{place.url}numpy/numpy-2-py3-none-any.whl" in files["pylock.toml"]
    assert (
        f"{place.url}opencv-contrib-python/opencv_contrib_python-4.13.0.90%2Bcu12"
        in (files["pylock.toml"])
    )
    assert "path = " not in files["pylock.toml"]
    assert place.pin().code == 0
    assert not any(b"://" in text for text in place.files().values())


def test_the_index_of_the_settings_is_named_where_it_is_asked_for(place: Place) -> None:
    place.build("numpy")
    place.offer("numpy-2")
    text = f'[publish]\nindex-url = "{place.url}"\n'
    (place.repack.folder / "repack.toml").write_text(text, encoding="utf-8")
    assert place.pin().code == 0
    assert b"://" not in place.files()["pylock.toml"]
    assert place.pin("--index-url").code == 0
    assert place.url.encode() in place.files()["pylock.toml"]


def test_what_is_published_is_pinned(place: Place) -> None:
    tried = place.cached(place.offer("numpy-2"))
    place.build("numpy", beside=[tried])
    done = place.repack("publish", "--index-dir", "team", "--offline")
    assert done.code == 0, done.err
    assert b"numpy==2 " in place.files()["requirements-3.12.txt"]


def test_what_cannot_be_pinned_is_published_all_the_same(place: Place) -> None:
    place.build("numpy")
    done = place.repack("publish", "--index-dir", "team", "--offline")
    assert done.code == 0, done.err
    assert "the wheels are published, and not pinned: Python 3.12: numpy" in done.err
    assert place.files() == {}


def changed(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)


def refusals(place: Place) -> dict[str, Any]:
    """What is done to a place, what is called, and what is said."""

    def nothing_built() -> None:
        place.dist.mkdir()

    def own_changed() -> None:
        place.build("numpy")
        changed(place.wheels[0])

    def all_failed() -> None:
        place.build("numpy", status="failed")

    def from_an_address() -> None:
        place.build("numpy @ https://example.com/numpy-2-py3-none-any.whl")

    def not_there() -> None:
        place.build("numpy>=3")
        place.offer("numpy-2")

    def contradiction() -> None:
        place.build("a", "b>=2")
        place.offer("a-1", "b<2")
        place.offer("b-1")
        place.offer("b-2")

    def another_file() -> None:
        tried = place.cached(place.offer("numpy-2"))
        place.build("numpy", beside=[tried])
        tried.unlink()
        place.offer("numpy-2", "something")
        place.wheels.pop()

    def another_for_the_rest() -> None:
        tried = place.cached(place.offer("numpy-2"))
        place.build("numpy", "a", beside=[tried])
        tried.unlink()
        place.offer("numpy-2", "something")
        place.wheels.pop(0)
        place.offer("a-1")
        place.offer("something-1")

    def not_published() -> None:
        place.build("numpy")
        place.wheels.clear()
        place.offer("numpy-2")

    named = ("--index-url", place.url)
    return {
        "nothing built": (nothing_built, (), 1, "[nothing-to-pin]; run `repack build` first"),
        "all failed": (all_failed, (), 1, "[nothing-to-pin]"),
        "our wheel changed": (own_changed, (), 1, "[sha256]; build again"),
        "from an address": (from_an_address, (), 1, "[url-requirement]"),
        "no such version": (not_there, (), 1, "[no-such-version]; there are only 2"),
        "contradiction": (contradiction, (), 1, "[conflict]"),
        "offline": (not_there, ("--offline",), 1, "numpy>=3: neither tried with the wheel"),
        "another file": (another_file, named, 1, "numpy-2-py3-none-any.whl: the index has it"),
        "another file than tried": (
            another_for_the_rest,
            (),
            1,
            "[sha256]; publish the wheels of this build",
        ),
        "not published": (not_published, named, 1, "opencv-contrib-python==4.13.0.90+cu12"),
        "named, offline": (another_file, (*named, "--offline"), 1, "leave out one of the two"),
        "a password": (not_there, ("--index-url", "https://me:pw@x/simple"), 2, ".netrc"),
        "no URL": (not_there, ("--index-url", "dist"), 2, "takes a URL"),
        "no setting": (not_there, ("--index-url",), 2, "set publish.index-url"),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("nothing built", "all failed", "our wheel changed", "from an address"),
        *("no such version", "contradiction", "offline", "another file", "not published"),
        "another file than tried",
        *("named, offline", "a password", "no URL", "no setting"),
    ],
)
def test_what_cannot_be_pinned_is_told_in_one_line_and_leaves_nothing(
    case: str, place: Place
) -> None:
    prepare, words, code, said = refusals(place)[case]
    prepare()
    done = place.pin(*words)
    assert said in done.error
    assert done.code == code
    assert place.files() == {}


def test_a_pip_that_evaluates_markers_for_this_machine_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = place.repack.folder / "plain_pip.py"
    program.write_text(
        "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main(sys.argv[2:]))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("repack.fetch.resolving._PROGRAM", program)
    place.build("a", pythons=["3.9"])
    place.offer("a-1", 'b; python_version == "3.9"')
    place.offer("b-1")
    assert "leaves out what is required on Windows: b [pip-markers]" in place.pin().error


def test_pip_that_looks_in_several_indexes_is_warned_of(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", place.url.replace("127.0.0.1", "localhost"))
    place.build("numpy")
    place.offer("numpy-2")
    assert "warning: pip looks in several indexes" in place.pin().err


def test_a_build_that_told_nothing_of_what_lay_beside_is_read(place: Place) -> None:
    place.build("numpy")
    path = place.dist / "build.json"
    document = json.loads(path.read_bytes())
    del document["wheels"][0]["seen"][0]["beside"]
    path.write_text(json.dumps(document), encoding="utf-8")
    place.offer("numpy-2")
    assert place.pinned() == {"3.12": ["numpy==2"]}

"""`repack pin`: which versions it takes, through the real pip, from a small index on loopback."""

import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from driving import Ran, Repack
from indexing import leave_record, served, simple_index, wheel_record
from packaging.pylock import Pylock
from packaging.tags import Tag
from wheelmaking import make_wheel

from repack.fetch import Cache
from repack.files import sha256_of
from repack.wheel import windows_environment


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
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
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


def test_uv_keeps_to_what_was_tried(place: Place) -> None:
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


def test_what_was_published_a_moment_ago_is_seen(place: Place) -> None:
    place.build("numpy")
    place.offer("numpy-1")
    assert place.pinned() == {"3.12": ["numpy==1"]}
    place.offer("numpy-2")
    time.sleep(1.1)  # the server tells changes of a page by whole seconds
    assert place.pinned() == {"3.12": ["numpy==2"]}


def test_a_hash_that_the_index_does_not_tell_is_that_of_the_file(place: Place) -> None:
    place.build("numpy")
    wheel = place.offer("numpy-2")
    assert place.pinned(hashes=False) == {"3.12": ["numpy==2"]}
    assert sha256_of(wheel) in place.files()["requirements-3.12.txt"].decode()


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


def test_where_pins_cannot_be_made_the_wheels_are_published_and_the_exit_code_is_1(
    place: Place,
) -> None:
    place.build("never-there")
    done = place.repack("publish", "--index-dir", "team")
    assert done.code == 1
    assert "Python 3.12 is not pinned: never-there for Python 3.12 on Windows: " in done.err
    assert (place.repack.folder / "team" / "opencv-contrib-python" / "index.html").is_file()
    assert place.files() == {}


def test_a_python_that_does_not_resolve_is_named_and_the_others_are_pinned(place: Place) -> None:
    place.build("numpy<2.3", pythons=["3.12", "3.14"])
    place.offer("numpy-2.2.0-cp312-cp312-win_amd64")
    place.offer("numpy-2.3.0-cp314-cp314-win_amd64")
    done = place.pin("--json")
    assert done.code == 1
    assert [each["python"] for each in done.json["unresolved"]] == ["3.14"]
    assert "Python 3.14 is not pinned: numpy<2.3 for Python 3.14 on Windows: " in done.err
    assert set(place.files()) == {
        "constraints.txt",
        "pylock.toml",
        "requirements-3.12.txt",
        "requirements.txt",
    }


def test_a_password_of_pips_index_stands_in_no_file_and_no_message(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", place.url.replace("://", "://me:s3cret@"))
    place.build("numpy")
    place.offer("numpy-2")
    done = place.pin("-v", "--json")
    assert done.code == 0, done.err
    place.build("never-there", name="other")
    failed = place.pin("-v", "--json")
    assert failed.code == 1
    assert "s3cret" not in done.out + done.err + failed.out + failed.err
    assert not any(b"s3cret" in text for text in place.files().values())


def damage(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)


def prepare_nothing(place: Place) -> None:
    place.dist.mkdir()


def prepare_failed(place: Place) -> None:
    place.build("numpy", status="failed")


def prepare_changed(place: Place) -> None:
    place.build("numpy")
    damage(place.wheels[0])


def prepare_address(place: Place) -> None:
    place.build("numpy @ https://example.com/numpy-2-py3-none-any.whl")


def prepare_missing(place: Place) -> None:
    place.build("never-there>=3")
    place.offer("never_there-2")


def prepare_contradiction(place: Place) -> None:
    place.build("a", "b>=2")
    place.offer("a-1", "b<2")
    place.offer("b-2")


def prepare_another_file(place: Place) -> None:
    tried = place.offer("numpy-2")
    place.build("numpy", "a", beside=[tried])
    tried.unlink()
    place.offer("numpy-2", "something")
    place.wheels.pop(0)
    for name in ("a-1", "something-1"):
        place.offer(name)


def prepare_unpublished(place: Place) -> None:
    place.build("numpy")
    place.wheels.clear()
    place.offer("numpy-2")


NAMED = ("--index-url", "URL")


@pytest.mark.parametrize(
    ("prepare", "words", "code", "message"),
    [
        pytest.param(prepare_nothing, (), 1, "[nothing-to-pin]; run `repack", id="nothing built"),
        pytest.param(prepare_failed, (), 1, "[nothing-to-pin]", id="all failed"),
        pytest.param(prepare_changed, (), 1, "opencv_contrib_python-", id="our wheel changed"),
        pytest.param(prepare_address, (), 1, "[url-requirement]", id="from an address"),
        pytest.param(
            prepare_missing,
            (),
            1,
            "never-there>=3 for Python 3.12 on Windows: ",
            id="no such version",
        ),
        pytest.param(
            prepare_contradiction, (), 1, "a, b>=2 for Python 3.12 on Windows: ", id="contradiction"
        ),
        pytest.param(prepare_missing, ("--offline",), 1, "[unresolved]", id="offline"),
        pytest.param(prepare_another_file, (), 1, "[sha256]; publish the", id="another file"),
        pytest.param(prepare_another_file, NAMED, 1, "[sha256]; publish", id="another, named"),
        pytest.param(prepare_unpublished, NAMED, 1, "opencv-contrib-python==", id="unpublished"),
        pytest.param(
            prepare_missing, ("--index-url", "https://me:pw@x/simple"), 2, ".netrc", id="password"
        ),
        pytest.param(prepare_missing, ("--index-url", "dist"), 2, "takes a URL", id="no URL"),
        pytest.param(prepare_missing, ("--index-url",), 2, "publish.index-url", id="no setting"),
    ],
)
def test_what_cannot_be_pinned_is_told_in_one_line_and_leaves_nothing(
    prepare: Callable[[Place], None],
    words: Sequence[str],
    code: int,
    message: str,
    place: Place,
) -> None:
    prepare(place)
    done = place.pin(*(place.url if word == "URL" else word for word in words))
    (line,) = [line for line in done.err.splitlines() if "error: " in line]
    assert message in line
    assert done.code == code
    assert place.files() == {}


def test_one_lock_file_serves_all_pythons_and_the_extra(place: Place) -> None:
    extra = 'nvidia-cudnn-cu12; extra == "dnn"'
    place.build("numpy", extra, pythons=["3.9", "3.12", "3.13"], extras=[extra])
    place.offer("numpy-2.0.2-cp39-cp39-win_amd64")
    for abi in ("cp312", "cp313"):
        place.offer(f"numpy-2.5.5-{abi}-{abi}-win_amd64")
    place.offer("nvidia_cudnn_cu12-9-py3-none-win_amd64")
    assert place.pin().code == 0
    lock = Pylock.from_dict(tomllib.loads(place.files()["pylock.toml"].decode()))
    lock.validate()
    for python, numpy in (("3.9", "2.0.2"), ("3.12", "2.5.5"), ("3.13", "2.5.5")):
        for extras in ((), ("dnn",)):
            abi = f"cp{python.replace('.', '')}"
            tags = [
                Tag(abi, abi, "win_amd64"),
                Tag("py3", "none", "win_amd64"),
                Tag("cp37", "abi3", "win_amd64"),
            ]
            environment = windows_environment(python)
            chosen = lock.select(environment=environment, tags=tags, extras=extras)  # type: ignore[arg-type]
            names = {f"{package.name}=={package.version}" for package, _ in chosen}
            assert f"numpy=={numpy}" in names
            assert ("nvidia-cudnn-cu12==9" in names) == bool(extras)
    with pytest.raises(Exception, match="does not satisfy any of the environments"):
        list(lock.select(environment=windows_environment("3.11"), tags=[]))  # type: ignore[arg-type]


def test_the_file_for_all_pythons_tells_them_apart_by_markers(place: Place) -> None:
    place.build("numpy", pythons=["3.9", "3.12", "3.13"])
    place.offer("numpy-2.0.2-cp39-cp39-win_amd64")
    for abi in ("cp312", "cp313"):
        place.offer(f"numpy-2.5.5-{abi}-{abi}-win_amd64")
    assert place.pin().code == 0
    lines = place.files()["requirements.txt"].decode().splitlines()
    assert [line for line in lines if line.startswith("numpy")] == [
        'numpy==2.0.2 ; python_version == "3.9" \\',
        'numpy==2.5.5 ; python_version == "3.12" or python_version == "3.13" \\',
    ]
    constraints = place.files()["constraints.txt"].decode()
    assert 'numpy==2.0.2 ; python_version == "3.9"\n' in constraints
    assert "--hash" not in constraints


def test_a_free_threaded_python_has_its_own_file_and_no_part_in_the_others(place: Place) -> None:
    place.build("numpy", pythons=["3.14"], name="plain")
    place.offer("numpy-2.5.5-cp314-cp314-win_amd64")
    threaded = place.offer("numpy-2.5.5-cp314-cp314t-win_amd64")
    folder = place.build("numpy", pythons=["3.14t"], beside=[threaded], name="threaded")
    (wheel,) = folder.glob("*.whl")
    plain = wheel_record(folder, wheel, ["3.14"])
    leave_record(folder, [plain, wheel_record(folder, wheel, ["3.14t"], beside=[threaded])])
    assert place.pin().code == 0
    files = {name: text.decode() for name, text in place.files().items()}
    assert sha256_of(threaded) in files["threaded/requirements-3.14t.txt"]
    together = files["threaded/requirements.txt"] + files["threaded/pylock.toml"]
    assert sha256_of(threaded) not in together

"""What is pinned, and the files that say so, read back by the tools that install from them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.version import Version
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import parse_requirements

from repack.index.closures import Candidate, closure
from repack.index.pins import Merged, Pinned, PinnedFile, Target, marker, merged, told_apart
from repack.index.pylock import format_pylock
from repack.index.requirements import (
    MARK,
    format_all_requirements,
    format_constraints,
)
from repack.wheel.requiring import applicable, windows_environment

INDEX = "https://index.example.com/simple"


def candidate(text: str, *requires: str) -> Candidate:
    name, version = text.split("==")
    filename = f"{name}-{version}-py3-none-any.whl"
    return Candidate(
        name=name, version=Version(version), filename=filename, sha256="0", requires=requires
    )


@pytest.mark.parametrize(
    ("line", "python", "extras", "held"),
    [
        pytest.param("numpy>=2", "3.12", [], True, id="no marker"),
        pytest.param('a; sys_platform == "win32"', "3.12", [], True, id="Windows"),
        pytest.param('a; sys_platform == "linux"', "3.12", [], False, id="Linux, where we run"),
        pytest.param('a; os_name == "nt"', "3.12", [], True, id="os_name"),
        pytest.param('a; platform_machine == "AMD64"', "3.12", [], True, id="machine"),
        pytest.param('a; python_version >= "3.10"', "3.9", [], False, id="an older Python"),
        pytest.param('a; python_version == "3.14"', "3.14t", [], True, id="free-threaded"),
        pytest.param('a; extra == "dnn"', "3.12", [], False, id="an extra that nobody asks for"),
        pytest.param('a; extra == "dnn"', "3.12", ["dnn"], True, id="an extra that somebody does"),
        pytest.param('a; extra == "DNN_x"', "3.12", ["dnn-x"], True, id="written in another way"),
        pytest.param("a b c", "3.12", [], False, id="what nobody understands"),
        pytest.param('a; os_name ~= "n"', "3.12", [], False, id="a marker that compares nothing"),
    ],
)
def test_a_requirement_holds_on_the_windows_python_that_is_meant(
    line: str, python: str, extras: list[str], *, held: bool
) -> None:
    assert [str(each) for each in applicable([line], python, extras)] == (
        [line.partition(";")[0]] if held else []
    )


@pytest.mark.parametrize(
    ("roots", "pool", "found"),
    [
        pytest.param(["a"], ["a==1", "a==2", "b==1"], ["a==2"], id="the newest, and nothing else"),
        pytest.param(["a<2"], ["a==1", "a==2"], ["a==1"], id="the newest that is let in"),
        pytest.param(["a"], ["a==1 b", "b==1 c", "c==1 a"], ["a==1", "b==1", "c==1"], id="a ring"),
        pytest.param(
            ["a", "b"], ["a==1 b<2", "b==1", "b==2"], ["a==1", "b==1"], id="what is told later"
        ),
        pytest.param(
            ["b", "a"],
            ["a==1 b<2", "b==1", "b==2 c", "c==1"],
            ["a==1", "b==1"],
            id="what only a version that was given up required",
        ),
        pytest.param(
            ["a"], ['a==1 b;sys_platform=="win32"', "b==1"], ["a==1", "b==1"], id="a marker"
        ),
        pytest.param(
            ["a[x]"], ['a==1 b;extra=="x"', "b==1"], ["a==1", "b==1"], id="an extra of another"
        ),
        pytest.param(
            ["a", "c"],
            ['a==1 b;extra=="x"', "b==1", "c==1 a[x]"],
            ["a==1", "b==1", "c==1"],
            id="an extra that is told later",
        ),
    ],
)
def test_all_that_follows_is_found(roots: list[str], pool: list[str], found: list[str]) -> None:
    candidates = [candidate(name, *more) for name, *more in (each.split(" ", 1) for each in pool)]
    got = closure([Requirement(root) for root in roots], candidates, "3.12")
    assert sorted(f"{each.name}=={each.version}" for each in got.found.values()) == found
    assert got.missing == ()


@pytest.mark.parametrize(
    ("pool", "missing"),
    [
        pytest.param([], ("a",), id="nothing at all"),
        pytest.param(["a==1 b>=2", "b==1"], ("b>=2",), id="another version"),
        pytest.param(["a==1 b,c", "b==1"], ("c",), id="one of two"),
    ],
)
def test_what_is_missing_is_told(pool: list[str], missing: tuple[str, ...]) -> None:
    candidates = [
        candidate(name, *more[0].split(",")) if more else candidate(name)
        for name, *more in (each.split(" ", 1) for each in pool)
    ]
    assert closure([Requirement("a")], candidates, "3.12").missing == missing


def test_requirements_without_an_end_are_met_by_nothing() -> None:
    there_and_back = [candidate("a==1"), candidate("a==2", "b"), candidate("b==1", "a<2")]
    assert closure([Requirement("a")], there_and_back, "3.12").missing == ("a",)


def own(python: str) -> Pinned:
    abi = f"cp{python.replace('.', '')}"
    tag = f"{abi.removesuffix('t')}-{abi}"
    return Pinned(
        name="opencv-contrib-python",
        version="4.13.0.90+cu12.depend",
        file=PinnedFile(
            filename=f"opencv_contrib_python-4.13.0.90+cu12.depend-{tag}-win_amd64.whl",
            sha256=python.replace(".", "").rjust(64, "0"),
        ),
        own=True,
    )


def numpy(version: str, python: str) -> Pinned:
    abi = f"cp{python.replace('.', '')}"
    tag = f"{abi.removesuffix('t')}-{abi}"
    return Pinned(
        name="numpy",
        version=version,
        file=PinnedFile(
            filename=f"numpy-{version}-{tag}-win_amd64.whl",
            sha256=f"{version}{python}".replace(".", "").replace("t", "e").rjust(64, "a"),
        ),
    )


def nvidia(name: str, *extras: str) -> Pinned:
    return Pinned(
        name=f"nvidia-{name}-cu12",
        version="9.1",
        extras=frozenset(extras) or None,
        file=PinnedFile(
            filename=f"nvidia_{name}_cu12-9.1-py3-none-win_amd64.whl", sha256=name[0] * 64
        ),
    )


TARGETS = (
    Target(python="3.9", pins=(own("3.9"), numpy("2.0.2", "3.9"), nvidia("cudnn", "dnn"))),
    Target(python="3.12", pins=(own("3.12"), numpy("2.5.5", "3.12"), nvidia("cudnn", "dnn"))),
    Target(python="3.13", pins=(own("3.13"), numpy("2.5.5", "3.13"), nvidia("cudnn", "dnn"))),
)


def parsed(path: Path, text: str) -> dict[str, tuple[str, list[str]]]:
    """What pip reads: requirement and hashes, by the marker."""
    path.write_text(text, encoding="utf-8")
    found = {}
    for each in parse_requirements(str(path), session=PipSession()):
        read = install_req_from_parsed_requirement(each)
        hashes = read.hash_options.get("sha256", [])
        found[f"{read.req} ; {read.markers or ''}"] = (str(read.req), hashes)
    return found


def test_a_file_for_all_pythons_tells_them_apart_by_markers(tmp_path: Path) -> None:
    text = format_all_requirements(TARGETS, extra=None, index_url="")
    read = parsed(tmp_path / "r.txt", text)
    assert {key: len(hashes) for key, (_, hashes) in read.items()} == {
        "opencv-contrib-python==4.13.0.90+cu12.depend ; ": 3,
        'numpy==2.0.2 ; python_version == "3.9"': 1,
        'numpy==2.5.5 ; python_version == "3.12" or python_version == "3.13"': 2,
    }


def test_constraints_speak_of_extras_too_and_hold_no_hash(tmp_path: Path) -> None:
    read = parsed(tmp_path / "c.txt", format_constraints(TARGETS))
    assert [key for key, (_, hashes) in read.items() if not hashes] == [
        "opencv-contrib-python==4.13.0.90+cu12.depend ; ",
        'numpy==2.0.2 ; python_version == "3.9"',
        'numpy==2.5.5 ; python_version == "3.12" or python_version == "3.13"',
        "nvidia-cudnn-cu12==9.1 ; ",
    ]


def selected(text: str, python: str, *extras: str, abi: str = "") -> list[str]:
    """The files that an installer takes on that Python, by the reference implementation."""
    lock = Pylock.from_dict(tomllib.loads(text))
    abi = abi or f"cp{python.replace('.', '')}"
    tags = [
        Tag(abi.removesuffix("t"), abi, "win_amd64"),
        Tag("py3", "none", "win_amd64"),
    ]
    environment = {**windows_environment(python)}
    chosen = lock.select(environment=environment, tags=tags, extras=extras)  # type: ignore[arg-type]
    return sorted(str(wheel.filename) for _, wheel in chosen)  # type: ignore[union-attr]


@pytest.mark.parametrize("index_url", ["", INDEX])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.python)
@pytest.mark.parametrize("extra", [None, "dnn"])
def test_one_lock_file_serves_all_pythons_and_extras(
    target: Target, extra: str | None, index_url: str
) -> None:
    text = format_pylock(TARGETS, mark=MARK, index_url=index_url)
    extras = [extra] if extra else []
    assert selected(text, target.python, *extras) == sorted(
        pin.file.filename for pin in target.chosen(extra)
    )


def test_a_lock_file_is_for_its_pythons_alone() -> None:
    with pytest.raises(Exception, match="does not satisfy any of the environments"):
        selected(format_pylock(TARGETS, mark=MARK, index_url=""), "3.11")


def test_a_free_threaded_python_shares_the_files_where_it_gets_the_same_versions() -> None:
    both = (
        Target(python="3.14", pins=(own("3.14"), numpy("2.5.5", "3.14"))),
        Target(python="3.14t", pins=(own("3.14t"), numpy("2.5.5", "3.14t"))),
    )
    assert told_apart(both) == (both, ())
    (_, pinned) = merged(both)
    assert [file.filename for file in pinned.files] == [
        "numpy-2.5.5-cp314-cp314-win_amd64.whl",
        "numpy-2.5.5-cp314-cp314t-win_amd64.whl",
    ]
    text = format_pylock(both, mark=MARK, index_url="")
    assert selected(text, "3.14", abi="cp314t") == sorted(pin.file.filename for pin in both[1].pins)


def test_a_free_threaded_python_has_its_own_file_alone_where_it_gets_others() -> None:
    plain = Target(python="3.14", pins=(own("3.14"), numpy("2.5.5", "3.14")))
    threaded = Target(python="3.14t", pins=(own("3.14t"), numpy("2.5.4", "3.14t")))
    assert told_apart((plain, threaded)) == ((plain,), ("3.14t",))
    assert told_apart((threaded,)) == ((threaded,), ())


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        pytest.param({None: ("3.9", "3.12")}, "", id="always"),
        pytest.param({None: ("3.9",)}, 'python_version == "3.9"', id="on one"),
        pytest.param({frozenset({"dnn"}): ("3.9", "3.12")}, '"dnn" in extras', id="by an extra"),
        pytest.param(
            {frozenset({"b", "a"}): ("3.9",)},
            'python_version == "3.9" and ("a" in extras or "b" in extras)',
            id="by one of two extras, on one",
        ),
        pytest.param(
            {None: ("3.9",), frozenset({"dnn"}): ("3.12",)},
            '(python_version == "3.9") or (python_version == "3.12" and "dnn" in extras)',
            id="always on one, by an extra on the other",
        ),
    ],
)
def test_a_marker_says_on_which_pythons_and_by_which_extras(
    conditions: dict[frozenset[str] | None, tuple[str, ...]], said: str
) -> None:
    pin = Merged(name="x", version="1", files=(), conditions=conditions)
    assert marker(pin, ["3.9", "3.12"]) == said

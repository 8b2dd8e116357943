"""Several `[[build]]` tables in one `repack.toml`: what each is, where it goes, its versions."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from driving import Repack, everything
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from wheelmaking import cuda_wheel

from repack.config import (
    Config,
    UrlSource,
    load,
    load_builds,
    name_token,
    normalise_name,
    parse_override,
)
from repack.errors import ConfigError, UsageError
from repack.plan import named_label
from repack.record import read_records
from repack.wheel import local_version

WHEEL = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
TWO = """\
[source]
file = "in.whl"
sha256 = "%s"
[smoke]
enabled = false
timeout = 60
[[build]]
name = "CU_12"
python = ["3.12"]
[[build]]
name = "cu13.vendor"
mode = "vendor"
python = ["3.13"]
[build.source]
url = "https://files.example.com/x-1-py3-none-any.whl"
[build.vendor]
families = ["npp"]
[build.smoke]
timeout = 7
[build.allow]
startup-hook = true
""" % ("0" * 64)


def write(folder: Path, text: str) -> Path:
    path = folder / "repack.toml"
    path.write_text(text, encoding="utf-8")
    return path


def builds(
    folder: Path, text: str, *settings: str, names: Sequence[str] = ()
) -> tuple[Config, ...]:
    return load_builds(write(folder, text), [parse_override(each) for each in settings], names)


# What each build is


def test_a_build_has_its_own_settings_over_those_of_all(tmp_path: Path) -> None:
    one, two = builds(tmp_path, TWO)
    assert (one.build.name, one.build.mode, one.smoke.timeout) == ("cu-12", "patch", 60)
    assert (two.build.name, two.build.mode, two.smoke.timeout) == ("cu13-vendor", "vendor", 7)
    assert (one.vendor.families, two.vendor.families) == ("all", ("npp",))
    assert (one.allow.startup_hook, two.allow.startup_hook) == (False, True)
    assert not one.smoke.enabled
    assert not two.smoke.enabled


def test_another_kind_of_source_replaces_the_whole_of_the_other(tmp_path: Path) -> None:
    _, two = builds(tmp_path, TWO)
    assert two.source == UrlSource(url="https://files.example.com/x-1-py3-none-any.whl")


def test_another_tag_is_another_wheel_and_has_not_the_hash_of_the_first(tmp_path: Path) -> None:
    first, second = builds(
        tmp_path,
        f"""[source]
release = "a/b"
tag = "1"
sha256 = "{"1" * 64}"
[[build]]
name = "one"
[[build]]
name = "two"
source.tag = "2"
""",
    )
    assert first.source is not None
    assert first.source.sha256 == "1" * 64  # type: ignore[union-attr] # a release has one
    assert second.source is not None
    assert second.source.sha256 is None  # type: ignore[union-attr] # the same


@pytest.mark.parametrize(
    ("settings", "out"),
    [
        pytest.param([], "dist", id="where nothing is said"),
        pytest.param(["build.out=else"], "else", id="on the command line"),
    ],
)
def test_each_has_a_folder_of_its_name_in_the_folder_of_all(
    settings: list[str], out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = builds(tmp_path, TWO, *settings)
    assert [each.build.out for each in found] == [
        tmp_path / out / "cu-12",
        tmp_path / out / "cu13-vendor",
    ]
    assert load(
        tmp_path / "repack.toml", [parse_override(each) for each in settings]
    ).build.out == (tmp_path / out)


def test_out_given_by_one_build_is_that_of_all(tmp_path: Path) -> None:
    found = builds(tmp_path, '[[build]]\nname = "a"\nout = "x"\n[[build]]\nname = "b"\n')
    assert [each.build.out for each in found] == [tmp_path / "x" / "a", tmp_path / "x" / "b"]


def test_a_single_build_table_is_one_build_without_a_name(tmp_path: Path) -> None:
    (only,) = builds(tmp_path, "[build]\nemit = 'abi3'\n")
    assert only == load(tmp_path / "repack.toml")
    assert (only.build.name, only.build.out) == ("", tmp_path / "dist")


def test_the_command_line_speaks_to_all_that_are_selected(tmp_path: Path) -> None:
    assert [each.build.mode for each in builds(tmp_path, TWO, "build.mode=depend")] == [
        "depend",
        "depend",
    ]
    (one,) = builds(tmp_path, TWO, "source.file=y.whl", names=["cu.12"])
    assert one.source_is_given


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        pytest.param(
            ["cu13"],
            [],
            "there is no build 'cu13' (did you mean cu13-vendor?); there are cu-12, cu13-vendor",
            id="a name that there is not",
        ),
        pytest.param(
            [],
            ["source.file=y.whl"],
            "source.file is given for 2 builds, which would be made of one source; name the one "
            "build: repack build cu-12 --source ...",
            id="one source for several",
        ),
    ],
)
def test_what_the_command_line_cannot_mean_is_a_usage_error(
    names: list[str], settings: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        builds(tmp_path, TWO, *settings, names=names)
    assert str(caught.value) == said


def test_where_no_build_has_a_name_none_is_found_by_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no build 'cu13': no build here has a name"):
        builds(tmp_path, "", names=["cu13"])


#: A text, where the fault is, and a part of the reason.
WRONG = {
    "no build": ("build = []", "build", "is an empty list"),
    "a number": ("build = [3]", "[[build]] number 1", "has no name"),
    "no name": ("[[build]]", "[[build]] number 1", "has no name"),
    "a number as name": ("[[build]]\nname = 3", "[[build]] number 1: name", "not 3"),
    "a space": ('[[build]]\nname = "a b"', "[[build]] number 1: name", "not 'a b'"),
    "one name twice": (
        '[[build]]\nname = "cu-13"\n[[build]]\nname = "CU13"',
        'build "CU13" and another, build "cu-13",',
        "give them different ones",
    ),
    "a key": ('[[build]]\nname = "a"\nemut = "abi3"', 'build "a": build.emut', "mean build.emit?"),
    "a value": ('[[build]]\nname = "a"\nmode = "vendr"', 'build "a": build.mode', "mean vendor?"),
    "a contradiction": (
        '[[build]]\nname = "a"\n[build.source]\ntag = "1"',
        'build "a": source.tag',
        "belongs to source.release",
    ),
    "what stands there for all is told once": (
        '[smoke]\ntimeout = "x"\n[[build]]\nname = "a"\n[[build]]\nname = "b"',
        "smoke.timeout",
        "takes a number from 1 to 86400, not 'x' [config]",
    ),
    "two folders": (
        '[[build]]\nname = "a"\nout = "x"\n[[build]]\nname = "b"\nout = "y"',
        'build "b": out',
        'is not that of build "a"',
    ),
}


@pytest.mark.parametrize(("text", "where", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_as_it_was_written(
    text: str, where: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        builds(tmp_path, text)
    problem = str(caught.value).removeprefix(f"{tmp_path / 'repack.toml'}: ")
    assert problem.startswith(where)
    assert reason in problem
    assert ";" not in problem


# Names


@pytest.mark.parametrize("name", ["con", "NUL.1", "lpt1", "failed", "-a", "a-", "ä", "", "x" * 41])
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        builds(tmp_path, f'[[build]]\nname = "{name}"')
    problem = str(caught.value).removeprefix(f"{tmp_path / 'repack.toml'}: ")
    assert problem.startswith("[[build]] number 1: name takes letters and digits ")


NAMES = st.from_regex(r"[A-Za-z0-9]{1,4}([-_.][A-Za-z0-9]{1,3}){0,3}", fullmatch=True).map(
    normalise_name
)
LABELS = st.sampled_from(
    ["patched", "cu12.patched", "cu129.patched", "cu13.vendored.stub", "depend", "a", "1.b", "x_1"]
)
VERSIONS = st.sampled_from(["4.13.0.90", "4.12.0+f2c1edd", "1+cu12", "1+patched.a"])


@given(NAMES, NAMES, LABELS, LABELS, VERSIONS, VERSIONS)
def test_two_names_never_give_one_version(  # noqa: PLR0913, PLR0917 - two of each
    one: str, two: str, done: str, other: str, version: str, another: str
) -> None:
    first = Version(local_version(Version(version), named_label(done, one)))
    second = Version(local_version(Version(another), named_label(other, two)))
    assert name_token(one) == name_token(two) or first != second
    assert str(first).rpartition("+")[2].split(".")[-1] == name_token(one)


@given(NAMES, LABELS, VERSIONS)
def test_building_from_what_was_built_gives_the_same_version(
    name: str, done: str, version: str
) -> None:
    label = named_label(done, name)
    once = local_version(Version(version), label)
    assert local_version(Version(once), label) == once
    assert str(Version(once)) == once


@pytest.mark.parametrize(
    ("done", "name", "label"),
    [
        pytest.param("cu131.vendored", "cu13", "cu131.vendored.cu13", id="a name of its own"),
        pytest.param("cu12.patched", "cu12", "patched.cu12", id="nothing is said twice"),
        pytest.param("cu12.patched", "cu12-patched", "cu12patched", id="the name says all"),
        pytest.param("cu12.patched", "field-4-10", "cu12.patched.field410", id="several parts"),
        pytest.param("cu12.patched", "012", "cu12.patched.12", id="a number"),
    ],
)
def test_the_last_part_of_a_local_version_is_the_name(done: str, name: str, label: str) -> None:
    assert named_label(done, name) == label


# Building them


@pytest.fixture
def three(repack: Repack) -> Repack:
    """Two builds of one source, and between them one of a source that is not there."""
    cuda_wheel(repack.folder)
    write(
        repack.folder,
        f"""[source]
file = "{WHEEL}"
[smoke]
enabled = false
[[build]]
name = "cu12"
python = ["3.12"]
[[build]]
name = "gone"
source.file = "nowhere-1-py3-none-any.whl"
[[build]]
name = "stub"
python = ["3.12"]
driver-stub = true
""",
    )
    return repack


def test_one_that_fails_keeps_no_other_from_being_built(three: Repack) -> None:
    ran = three("build", "--json")
    assert ran.code == 1
    assert ran.error.startswith("build gone: ")
    assert "there is no such file" in ran.error
    assert [(each["name"], each["error"] is None) for each in ran.json["builds"]] == [
        ("cu12", True),
        ("gone", False),
        ("stub", True),
    ]
    assert [wheel["build"] for wheel in ran.json["wheels"]] == ["cu12", "stub"]
    assert {
        path.relative_to(three.folder / "dist").as_posix(): record.name
        for path, record in read_records(three.folder / "dist").items()
    } == {
        "cu12": "cu12",
        "stub": "stub",
    }
    assert sorted(path.name for path in (three.folder / "dist").iterdir()) == ["cu12", "stub"]


def test_what_two_machines_made_is_what_one_makes(three: Repack) -> None:
    for names in (["cu12"], ["stub"]):
        assert three("build", *names, "-w", f"of-{names[-1]}").code == 0
    assert three("build", "-w", "all").code == 1
    for name in ("cu12", "stub"):
        shutil.copytree(three.folder / f"of-{name}", three.folder / "laid", dirs_exist_ok=True)
    assert everything(three.folder / "laid") == everything(three.folder / "all")


def test_all_their_wheels_can_lie_in_one_folder(three: Repack) -> None:
    names = [Path(wheel["path"]).name for wheel in three("build", "--json").json["wheels"]]
    assert len(set(names)) == len(names) == 2


def test_a_second_build_leaves_all_as_it_is(three: Repack) -> None:
    three("build")
    before = everything(three.folder)
    ran = three("build", "--json")
    assert all(wheel["unchanged"] for wheel in ran.json["wheels"])
    assert everything(three.folder) == before


def test_one_publish_hands_on_what_all_builds_made(
    three: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(three.cache / "uv"))
    three("build")
    words = ("publish", "--index-dir", three.folder / "index", "--offline")
    # Nothing was tried and nobody is asked: it is pinned only where uv's cache knows NumPy.
    pinned = three(*words).code
    assert pinned in {0, 1}
    once = everything(three.folder / "index")
    assert len([name for name in once if name.endswith(".whl")]) == 2
    assert three(*words).code == pinned
    assert everything(three.folder / "index") == once


def test_the_names_are_told_for_a_matrix(three: Repack) -> None:
    told = three("build", "--list", "--json").json
    assert told["version"] == 1
    assert told["names"] == ["cu12", "gone", "stub"]
    assert [build["mode"] for build in told["builds"]] == ["patch"] * 3
    assert three("build", "--list").out == "cu12\ngone\nstub\n"


def test_each_source_is_fetched_and_told(three: Repack) -> None:
    told = three("fetch", "cu12", "stub", "--json").json
    assert [build["name"] for build in told["builds"]] == ["cu12", "stub"]
    assert {Path(build["path"]).name for build in told["builds"]} == {WHEEL}


def test_a_wheel_in_place_of_a_name_is_a_usage_error_that_says_how(three: Repack) -> None:
    ran = three("build", "x.whl")
    assert ran.code == 2
    assert (
        ran.error
        == "'x.whl' is a wheel, not the name of a build; write repack build --source x.whl"
    )


def test_a_name_that_there_is_not_ends_before_anything_is_built(three: Repack) -> None:
    assert three("build", "cu12", "stubs").code == 2
    assert not (three.folder / "dist").exists()

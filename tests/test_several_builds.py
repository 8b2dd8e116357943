"""Several `[[build]]` tables in one `repack.toml`: what each is, where it goes, its versions."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from driving import Repack, everything
from wheelmaking import make_pyd, make_wheel

from repack.config import (
    Config,
    ReleaseSource,
    UrlSource,
    load_builds,
    parse_override,
)
from repack.errors import ConfigError
from repack.lock import read_lock
from repack.record import read_records

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
out = "x"
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
    return load_builds(write(folder, text), [parse_override(text) for text in settings], names)


# What each build is


def test_a_build_has_its_own_settings_over_those_of_all(tmp_path: Path) -> None:
    one, two = builds(tmp_path, TWO)
    assert (one.build.name, one.build.mode, one.smoke.timeout) == ("cu-12", "patch", 60)
    assert (two.build.name, two.build.mode, two.smoke.timeout) == ("cu13-vendor", "vendor", 7)
    assert (one.vendor.families, two.vendor.families) == ("all", ("npp",))
    assert (one.allow.startup_hook, two.allow.startup_hook) == (False, True)
    assert not one.smoke.enabled
    assert not two.smoke.enabled
    folders = [tmp_path / "x" / "cu-12", tmp_path / "x" / "cu13-vendor"]
    assert [one.build.out, two.build.out] == folders


def test_a_build_with_another_source_has_nothing_of_the_other(tmp_path: Path) -> None:
    _, two = builds(tmp_path, TWO)
    assert two.source == UrlSource(url="https://files.example.com/x-1-py3-none-any.whl")
    text = f"[source]\nrelease = 'a/b'\ntag = '1'\nsha256 = '{'1' * 64}'\n[[build]]\nname = 'one'\n"
    text += "[[build]]\nname = 'two'\nsource.tag = '2'\n"
    first, second = (config.source for config in builds(tmp_path, text))
    # Another tag is another wheel.
    assert first == ReleaseSource("a/b", tag="1", sha256="1" * 64)
    assert second == ReleaseSource("a/b", tag="2")


def test_the_command_line_speaks_to_all_that_are_selected(tmp_path: Path) -> None:
    both = builds(tmp_path, TWO, "build.mode=depend")
    assert [config.build.mode for config in both] == ["depend", "depend"]
    (only,) = builds(tmp_path, TWO, "source.file=y.whl", names=["cu.12"])
    assert only.source_is_given


NAMED = '[[build]]\nname = "{}"\n{}'.format
#: A text, and how the reason begins.
WRONG = {
    "one name twice": (NAMED("cu-13", "") + NAMED("CU13", ""), "each [[build]] needs a build.name"),
    "no name": ("[[build]]\n", "each [[build]] needs a build.name"),
    "two folders": (NAMED("a", 'out = "x"\n') + NAMED("b", 'out = "y"'), "build.out differs"),
} | {  # what cannot be a folder everywhere
    f"name {name}": (NAMED(name, ""), "build.name takes letters and digits ")
    for name in ("NUL", "failed", "ä")
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_as_it_was_written(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        builds(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'repack.toml'}: {reason}")


# Building them


#: The same OpenCV for CUDA 12 and 13, two files of one name as they are published, and between
#: them a wheel without a module.
THREE = f"""\
[smoke]
enabled = false
[[build]]
name = "cu12"
source.file = "12/{WHEEL}"
python = ["3.12"]
[[build]]
name = "bare"
source.file = "bare/{WHEEL}"
[[build]]
name = "cu-13"
source.file = "13/{WHEEL}"
python = ["3.12"]
driver-stub = true
"""


def cuda(folder: Path, major: int) -> None:
    """Write the wheel for a CUDA into its folder."""
    needs = {f"nppc64_{major}.dll": ["f"], f"cudart64_{major}.dll": ["g"], "KERNEL32.dll": ["h"]}
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": make_pyd(needs)}
    (folder / f"{major}").mkdir(exist_ok=True)
    make_wheel(folder / f"{major}" / WHEEL, files, requires=("numpy>=2",))


@pytest.fixture
def three(repack: Repack) -> Repack:
    cuda(repack.folder, 12)
    cuda(repack.folder, 13)
    (repack.folder / "bare").mkdir()
    make_wheel(repack.folder / "bare" / WHEEL, {"cv2/__init__.py": b""})
    write(repack.folder, THREE)
    return repack


def test_one_that_fails_keeps_no_other_from_being_built_and_pins_nothing(three: Repack) -> None:
    ran = three("build", "--json")
    assert ran.code == 1
    assert ran.error.startswith("build bare: ")
    failed = {build["name"]: build["error"] is not None for build in ran.json["builds"]}
    assert failed == {"cu12": False, "bare": True, "cu-13": False}
    records = read_records(three.folder / "dist")
    assert [record.name for record in records.values()] == ["cu-13", "cu12"]
    assert sorted(path.name for path in (three.folder / "dist").iterdir()) == ["cu-13", "cu12"]
    # The last part of a local version is the name, which is not said twice.
    names = sorted(path.name for path in (three.folder / "dist").glob("*/*.whl"))
    assert [name.split("-")[1] for name in names] == [
        "4.13.0.90+cu13.patched.cu13",
        "4.13.0.90+patched.cu12",
    ]
    assert list(read_lock(three.folder / "repack.lock")) == [f"file:12/{WHEEL}", f"file:13/{WHEEL}"]
    before = everything(three.folder)
    assert three("build", "cu12", "cu-13", "-q").code == 0
    assert everything(three.folder) == before


def test_what_two_machines_made_is_what_one_makes(three: Repack) -> None:
    for name in ("cu12", "cu-13"):
        assert three("build", name, "-w", f"of-{name}").code == 0
        shutil.copytree(three.folder / f"of-{name}", three.folder / "laid", dirs_exist_ok=True)
    assert three("build", "-w", "all").code == 1
    assert everything(three.folder / "laid") == everything(three.folder / "all")


def test_the_names_are_told_for_a_matrix_and_no_other_is_taken(three: Repack) -> None:
    names = ["cu12", "bare", "cu-13"]
    assert three("build", "--list", "--json").json == {"version": 1, "names": names}
    assert three("build", "--list").out == "cu12\nbare\ncu-13\n"
    ran = three("build", "cu12", "bar")
    assert (ran.code, "no build 'bar'; there are cu12, bare, cu-13" in ran.error) == (2, True)
    assert not (three.folder / "dist").exists()

"""The plan: which Python gets which wheel, under which name, and what it is told."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dllmaking import make_dll
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from wheelmaking import make_wheel, metadata

from repack.config import Build
from repack.errors import InputError
from repack.inspect import Analysis, analyse
from repack.patching import Patched
from repack.plan import (
    Plan,
    PlannedWheel,
    Supplement,
    build_facts,
    make_plan,
    refusal,
)
from repack.record import Cargo
from repack.wheel import Added, Copied

NAME, VERSION = "opencv_contrib_python", "4.13.0.90"
CUDA_12 = ("nppc64_12.dll", "cudart64_12.dll")


Shelf = Callable[..., Analysis]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """What writes a wheel and returns what is known of it."""
    return functools.partial(analysed, tmp_path)


def analysed(  # noqa: PLR0913 - a wheel's parts
    folder: Path,
    *,
    tag: str = "cp37-abi3",
    python: str = "python3.dll",
    dlls: Sequence[str] = CUDA_12,
    delayed: Sequence[str] = (),
    version: str = VERSION,
    requires_python: str = "",
    requires: Sequence[str] = (),
    numpy: str | None = None,
    beside: Sequence[str] = (),
) -> Analysis:
    pyd = make_dll(
        "cv2.pyd",
        imports={dll: ["symbol"] for dll in (python, *dlls)},
        delay_imports={dll: ["symbol"] for dll in delayed},
    )
    lines = [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {line}" for line in requires]
    text = metadata(NAME.replace("_", "-"), version, *lines)
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": pyd,
        **{f"cv2/{dll}": make_dll(dll) for dll in beside},
        f"{NAME}-{version}.dist-info/METADATA": text,
    }
    path = folder / f"{NAME}-{version}-{tag}-win_amd64.whl"
    return replace(analyse(make_wheel(path, files)), numpy=numpy)


def planned(
    analysis: Analysis,
    *python: str,
    files: Mapping[str, bytes] | None = None,
    supplement: Supplement | None = None,
    time: int = 315_532_800,
    **settings: Any,  # noqa: ANN401 - of a build
) -> Plan:
    return make_plan(
        Build(out=Path("dist"), python=python or ("3.12",), **settings),
        analysis,
        Patched(files=files or {}, notes=()),
        supplement or Supplement(),
        timestamp=time,
    )


def text_of(wheel: PlannedWheel, name: str) -> str:
    """Return a file of the planned .dist-info."""
    added = [entry for entry in wheel.entries if isinstance(entry, Added)]
    (entry,) = (entry for entry in added if entry.name.endswith(f".dist-info/{name}"))
    assert isinstance(entry.content, bytes)
    return entry.content.decode()


# Which Python


#: The tag, the module's Python DLL, the Python asked for, and a part of the reason.
ABI3, OF_312, OF_314T = "cp37-abi3", "cp312-cp312", "cp314-cp314t"
PYTHONS = {
    "stable ABI, the oldest": (ABI3, "python3.dll", "3.7", ""),
    "stable ABI, one to come": (ABI3, "python3.dll", "3.40", ""),
    "stable ABI, too old": (ABI3, "python3.dll", "3.6", ABI3),
    "stable ABI, threads": (ABI3, "python3.dll", "3.14t", "which Python 3.14t does not have"),
    "abi3 by its tag alone, the one": (ABI3, "python39.dll", "3.9", ""),
    "abi3 by its tag alone, another": (ABI3, "python39.dll", "3.12", "python39.dll"),
    "one version, stable binary": (OF_312, "python3.dll", "3.12", ""),
    "another version": (OF_312, "python3.dll", "3.13", OF_312),
    "its threads": (OF_312, "python312.dll", "3.12t", "python312.dll"),
    "free-threaded": (OF_314T, "python314t.dll", "3.14t", ""),
    "not free-threaded": (OF_314T, "python314t.dll", "3.14", "python314t.dll"),
    "the m of 3.7": ("cp37-cp37m", "python37.dll", "3.7", ""),
    "Python 2": ("py2-none", "python27.dll", "3.12", "python27.dll"),
}


@pytest.mark.parametrize(("tag", "dll", "python", "reason"), PYTHONS.values(), ids=PYTHONS)
def test_a_python_is_served_or_refused_with_the_reason(
    tag: str, dll: str, python: str, reason: str, shelf: Shelf
) -> None:
    text = refusal(python, shelf(tag=tag, python=dll))
    assert bool(text) == bool(reason)
    assert reason in text


#: Whether some release of Python 3.12 is let in.
LET_IN = {
    ">=3.12.4": True,
    "<3.12.4": True,
    "!=3.12.0": True,
    ">=3.13": False,
    "<3.12": False,
    "!=3.12.*": False,
}


@pytest.mark.parametrize("requires", LET_IN)
def test_requires_python_keeps_out_a_python_of_which_no_release_is_let_in(
    requires: str, shelf: Shelf
) -> None:
    assert (refusal("3.12", shelf(requires_python=requires)) == "") == LET_IN[requires]


def test_where_all_are_refused_there_is_no_plan_but_each_reason_once(shelf: Shelf) -> None:
    with pytest.raises(InputError) as caught:
        planned(shelf(), "3.5", "3.6", "3.14t")
    assert caught.value.code == "no-python"
    reason = "no wheel for 3.5, 3.6: the wheel is for cp37-abi3-win_amd64 alone; 3.14t: "
    assert reason in str(caught.value)


# Which name


TAGS = {
    "stable ABI": ("cp37-abi3", "3.12", "cp312-cp312-win_amd64"),
    "3.7": ("cp37-abi3", "3.7", "cp37-cp37m-win_amd64"),
    "two Pythons": ("cp39.cp310-cp39.cp310", "3.10", "cp310-cp310-win_amd64"),
}


@pytest.mark.parametrize(("tag", "python", "expected"), TAGS.values(), ids=TAGS)
def test_a_wheel_for_one_python_has_its_tag(
    tag: str, python: str, expected: str, shelf: Shelf
) -> None:
    (wheel,) = planned(shelf(tag=tag), python).wheels
    assert wheel.filename.endswith(f"-{expected}.whl")
    assert f"\nTag: {expected}\n" in text_of(wheel, "WHEEL")


def test_one_wheel_for_all_keeps_its_tag(shelf: Shelf) -> None:
    plan = planned(shelf(), "3.12", "3.13", "3.14t", emit="abi3")
    (wheel,) = plan.wheels
    assert (wheel.tag, wheel.pythons) == ("cp37-abi3-win_amd64", ("3.12", "3.13"))
    assert [it.python for it in plan.record.refused] == ["3.14t"]


#: The version, the DLLs needed, a label of the user's, and the emitted version.
VERSIONS = {
    "the major is known": ("4.13.0.90", CUDA_12, None, "4.13.0.90+cu12.patched"),
    "it tells more": ("4.13.0+cuda126", CUDA_12, None, "4.13.0+cuda126.patched"),
    "no CUDA": ("4.13.0", ("KERNEL32.dll",), None, "4.13.0+patched"),
    "a label of one's own": ("4.13.0", CUDA_12, "team.7", "4.13.0+team.7"),
    "beside another's": ("4.13.0+a", CUDA_12, "team", "4.13.0+a.team"),
}


@pytest.mark.parametrize(("version", "dlls", "local", "expected"), VERSIONS.values(), ids=VERSIONS)
def test_the_version_tells_what_was_done(
    version: str, dlls: Sequence[str], local: str | None, expected: str, shelf: Shelf
) -> None:
    (wheel,) = planned(shelf(version=version, dlls=dlls), local=local).wheels
    assert parse_wheel_filename(wheel.filename)[1] == Version(expected)
    assert f"\nVersion: {expected}\n" in text_of(wheel, "METADATA")


# METADATA


@pytest.mark.parametrize("before", ["", ">=3.6", "<4,>=3.12.4"])
def test_all_wheels_have_the_same_metadata_with_upstreams_requires_python(
    before: str, shelf: Shelf
) -> None:
    analysis = shelf(requires_python=before, requires=["numpy>=2"], numpy="2")
    wheels = planned(analysis, "3.12", "3.13", "3.14").wheels
    (text,) = {text_of(wheel, "METADATA") for wheel in wheels}
    lines = [f"Requires-Python: {before}"] if before else []
    assert [line for line in text.splitlines() if line.startswith("Requires-Python")] == lines


OF_4_12 = ["numpy<2.0; python_version < '3.9'", "numpy<2.3.0,>=2; python_version >= '3.9'"]


def requirements(analysis: Analysis, *python: str, **settings: Any) -> list[str]:  # noqa: ANN401
    """Return the Requires-Dist lines of the planned wheels, which are the same in each."""
    wheels = planned(analysis, *python, **settings).wheels
    (text,) = {text_of(wheel, "METADATA") for wheel in wheels}
    return re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)


OF_AN_EXTRA = ["numpy<2; extra == 'old'", "numpy"]
#: The NumPy that the binary is built for, and the lines of upstream and of the wheel.
NUMPY = {
    "a bound that rules out none": ("2", ["numpy<3,>=2"], ["numpy<3,>=2"]),
    "OpenCV 4.12": ("2", OF_4_12, [OF_4_12[0], 'numpy>=2; python_version >= "3.9"']),
    "NumPy 1 alone, which it needs not be": ("2", ["NumPy<2"], ["NumPy"]),
    "a compatible release": ("2", ["numpy~=2.1.0,!=2.1.1"], ["numpy!=2.1.1"]),
    "one release": ("2", ["numpy==1.26.*"], ["numpy"]),
    "an extra's own": ("2", OF_AN_EXTRA, OF_AN_EXTRA),
    "none required": ("2", ["torch"], ["torch", "numpy"]),
    "lets in NumPy 2": ("1", ["numpy>=1.19"], ["numpy>=1.19", "numpy<2"]),
    "NumPy 1 alone": ("1", ["numpy<2,>=1.19"], ["numpy<2,>=1.19"]),
    "none required, built for NumPy 1": ("1", [], ["numpy<2"]),
    "built without NumPy": (None, ["numpy<2"], ["numpy<2"]),
}


@pytest.mark.parametrize(("numpy", "before", "after"), NUMPY.values(), ids=NUMPY)
def test_the_lines_for_numpy_are_right_for_the_binary_whichever_pythons_are_asked_for(
    numpy: str | None, before: list[str], after: list[str], shelf: Shelf
) -> None:
    analysis = shelf(requires=before, numpy=numpy)
    assert requirements(analysis, "3.10", "3.11") == after
    assert requirements(analysis, "3.12") == after


NO_NUMPY = {
    "built for NumPy 1": ("1", ["numpy>=1.19"], "3.13"),
    "a bound that nothing disproves": (None, ["numpy<2.3"], "3.14"),
    "a Python to come": ("1", ["numpy<2"], "3.15"),
}


@pytest.mark.parametrize(("numpy", "requires", "python"), NO_NUMPY.values(), ids=NO_NUMPY)
def test_a_python_for_which_there_can_be_no_numpy_is_refused(
    numpy: str | None, requires: list[str], python: str, shelf: Shelf
) -> None:
    plan = planned(shelf(requires=requires, numpy=numpy), "3.12", python)
    assert [wheel.pythons for wheel in plan.wheels] == [("3.12",)]
    (refused,) = plan.record.refused
    assert refused.python == python
    assert "no such NumPy has a wheel" in refused.reason


def test_what_a_mode_requires_stands_in_every_wheel(shelf: Shelf) -> None:
    added = Supplement(requires=('nvidia-cudnn-cu12<10; extra == "dnn"',), extras=("dnn",))
    analysis = shelf(requires=["numpy"], numpy="2")
    lines = requirements(analysis, "3.12", "3.13", supplement=added)
    assert lines == ["numpy", 'nvidia-cudnn-cu12<10; extra == "dnn"']
    assert list(planned(analysis, supplement=added).requirements) == lines


# What is written


def test_what_is_not_edited_is_copied_as_it_lies_and_each_edit_is_recorded(shelf: Shelf) -> None:
    files = {"cv2/__init__.py": b"new\n", "cv2/more.py": b"more\n"}
    plan = planned(shelf(), files=files)
    (wheel,) = plan.wheels
    info = f"{NAME}-{VERSION}+cu12.patched.dist-info"
    (copied,) = (entry for entry in wheel.entries if isinstance(entry, Copied))
    assert copied.name == "cv2/cv2.pyd"
    rows = [line.partition(",")[0] for line in text_of(wheel, "RECORD").splitlines()]
    assert sorted(rows) == sorted(str(entry.name) for entry in wheel.entries)
    new = {change.member: change.new for change in plan.record.changes}
    edited = ("cv2/__init__.py", f"{info}/METADATA", f"{info}/WHEEL")
    assert new == {"cv2/more.py": True, **dict.fromkeys(edited, False)}
    assert plan.record.changes[0].diff.endswith("@@ -1 +1 @@\n-from .cv2 import *\n+new\n")


def test_the_recipe_changes_with_whatever_changes_the_bytes(shelf: Shelf) -> None:
    analysis = shelf()

    def recipe(python: str = "3.12", text: bytes = b"a", time: int = 315_532_800) -> str:
        (wheel,) = planned(analysis, python, files={"cv2/__init__.py": text}, time=time).wheels
        return wheel.recipe

    recipes = {recipe(), recipe(text=b"b"), recipe("3.13"), recipe(time=315_532_802)}
    assert len(recipes) == 4
    assert recipe() in recipes


# What the run-time module is told


def test_the_run_time_module_is_told_each_dll_by_family_and_what_brings_it(shelf: Shelf) -> None:
    analysis = shelf(
        version="4.13.0.90+cu129",
        dlls=[
            *("nppif64_12.dll", "nppial64_12.dll", "cudnn64_9.dll", "nvcuda.dll"),
            *("KERNEL32.dll", "Foo.dll"),
        ],
        delayed=["cufft64_11.dll", "bar.dll"],
        beside=["nppif64_12.dll"],
        numpy="1",
    )
    facts = build_facts(analysis, Supplement(), help_url="https://help.example.com/pages")
    cures = facts.pop("cures")
    assert isinstance(cures, dict)
    assert {"cudnn", "cufft", "driver", "npp", "windows"} <= set(cures)
    kinds = {"python": ["python3.dll"], "windows": ["kernel32.dll"], "driver": ["nvcuda.dll"]}
    kinds |= {"npp": ["nppc64_12.dll", "nppial64_12.dll"], "cufft": ["cufft64_11.dll"]}
    kinds |= {"cudnn": ["cudnn64_9.dll"], "unknown": ["bar.dll", "foo.dll"]}
    assert facts == {
        "cuda": (12, 9),
        "delayed": ("cufft64_11.dll",),
        "families": {
            "cudnn": ("cudnn64_9.dll",),
            "cufft": ("cufft64_11.dll",),
            "npp": ("nppc64_12.dll", "nppial64_12.dll"),
        },
        "help_url": "https://help.example.com/pages/",
        "kinds": {dll: kind for kind, dlls in kinds.items() for dll in dlls},
        "machine": "x86-64",
        "numpy": "numpy<2",
        "opencv": "4.13.0.90",
        "original": {"filename": analysis.wheel.path.name, "sha256": analysis.wheel.sha256},
        "others": ("Foo.dll",),
        "requires": {
            "cudnn": ("nvidia-cudnn-cu12==9.*",),
            "cufft": ("nvidia-cufft-cu12",),
            "npp": ("nvidia-npp-cu12",),
        },
        "stand_ins": {},
        "vendored": (),
    }


#: NPP's DLLs needed at load time, those in the wheel, the family, and those told as delayed.
CORE, FILTER, GEOMETRY = "nppc64_12.dll", "nppif64_12.dll", "nppig64_12.dll"
OWN_IMPORTS = {
    "by delay-load": ((), (), (CORE, GEOMETRY), (CORE, GEOMETRY)),
    "at load time": ((FILTER,), (), (CORE, FILTER, GEOMETRY), (GEOMETRY,)),
    "in the wheel": ((FILTER,), ("NPPC64_12.dll",), (FILTER, GEOMETRY), (GEOMETRY,)),
}


@pytest.mark.parametrize("name", OWN_IMPORTS)
def test_what_nvidias_dlls_import_themselves_is_of_their_families(name: str, shelf: Shelf) -> None:
    dlls, beside, family, delayed = OWN_IMPORTS[name]
    facts = build_facts(shelf(dlls=dlls, beside=beside, delayed=[GEOMETRY]), Supplement())
    assert (facts["families"], facts["delayed"]) == ({"npp": family}, delayed)


def test_what_a_mode_adds_is_told_too(shelf: Shelf) -> None:
    members = {"cv2.libs/nppc64_12.dll": "npp", "cv2/stand-ins/nvcuda/nvcuda.dll": "driver"}
    cargo = [
        Cargo(member=member, family=family, origin="x", size=1, packed=1, sha256="0" * 64)
        for member, family in members.items()
    ]
    added = Supplement(cargo=tuple(cargo), families={"nvjitlink": ("nvJitLink_120_0.dll",)})
    facts = build_facts(shelf(dlls=["cudart64_12.dll"]), added)
    assert facts["stand_ins"] == {"nvcuda.dll": "cv2/stand-ins/nvcuda"}
    assert facts["vendored"] == ("cv2.libs",)
    assert facts["families"] == {
        "cudart": ("cudart64_12.dll",),
        "nvjitlink": ("nvJitLink_120_0.dll",),
    }

"""The plan: which Python gets which wheel, under which name, and what it is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dllmaking import make_dll
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from wheelmaking import make_wheel, metadata

from repack.cargo import Supplement
from repack.config import Build
from repack.errors import InputError
from repack.inspect import Analysis, analyse
from repack.patching import Patched
from repack.plan import (
    Plan,
    PlannedWheel,
    build_facts,
    dll_requirements,
    make_plan,
    refusal,
)
from repack.record import Refusal
from repack.wheel import Added, Copied

NAME, VERSION = "opencv_contrib_python", "4.13.0.90"
CUDA_12 = ("nppc64_12.dll", "cudart64_12.dll")
TIME = 315_532_800


class Shelf:
    """Puts wheels into a folder and says what they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def wheel(  # noqa: PLR0913 - a wheel's parts
        self,
        *,
        tag: str = "cp37-abi3-win_amd64",
        python: str = "python3.dll",
        dlls: Sequence[str] = CUDA_12,
        delayed: Sequence[str] = (),
        version: str = VERSION,
        requires_python: str = "",
        requires: Sequence[str] = (),
        numpy: str | None = None,
        beside: Sequence[str] = (),
    ) -> Analysis:
        imports = {dll: ["symbol"] for dll in (python, *dlls) if dll}
        pyd = make_dll(
            "cv2.pyd", imports=imports, delay_imports={dll: ["symbol"] for dll in delayed}
        )
        lines = [f"Requires-Python: {requires_python}"] if requires_python else []
        lines += [f"Requires-Dist: {line}" for line in requires]
        text = metadata(NAME.replace("_", "-"), version, *lines)
        own = {f"cv2/{dll}": make_dll(dll) for dll in beside}
        info = f"{NAME}-{version}.dist-info/METADATA"
        path = self.folder / f"{NAME}-{version}-{tag}.whl"
        files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": pyd, **own, info: text}
        return replace(analyse(make_wheel(path, files)), numpy=numpy)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def planned(
    analysis: Analysis,
    *python: str,
    supplement: Supplement | None = None,
    missing: Mapping[str, str] | None = None,
    **settings: Any,  # noqa: ANN401 - of a build
) -> Plan:
    build = Build(out=Path("dist"), python=python or ("3.12",), **settings)
    return make_plan(
        build,
        analysis,
        Patched(files={}, notes=()),
        timestamp=TIME,
        supplement=supplement,
        missing=missing,
    )


def one(plan: Plan) -> PlannedWheel:
    (wheel,) = plan.wheels
    return wheel


def text_of(wheel: PlannedWheel, name: str) -> str:
    """Return a file of the planned .dist-info."""
    added = [entry for entry in wheel.entries if isinstance(entry, Added)]
    (entry,) = (entry for entry in added if entry.name.endswith(f".dist-info/{name}"))
    assert isinstance(entry.content, bytes)
    return entry.content.decode()


# Which Python


@pytest.mark.parametrize(
    ("tag", "dll", "python", "reason"),
    [
        pytest.param("cp37-abi3", "python3.dll", "3.7", "", id="stable ABI, the oldest"),
        pytest.param("cp37-abi3", "python3.dll", "3.14", "", id="stable ABI, the newest"),
        pytest.param("cp37-abi3", "python3.dll", "3.40", "", id="stable ABI, one to come"),
        pytest.param("cp37-abi3", "python3.dll", "3.6", "cp37-abi3", id="stable ABI, too old"),
        pytest.param(
            "cp37-abi3", "python3.dll", "3.14t", "take 3.14", id="stable ABI, free-threaded"
        ),
        pytest.param("cp37-abi3", "python39.dll", "3.9", "", id="abi3 by its tag alone, the one"),
        pytest.param(
            "cp37-abi3", "python39.dll", "3.12", "python39.dll", id="abi3 by its tag alone"
        ),
        pytest.param("cp312-cp312", "python312.dll", "3.12", "", id="one version"),
        pytest.param("cp312-cp312", "python3.dll", "3.12", "", id="one version, stable binary"),
        pytest.param("cp312-cp312", "python312.dll", "3.13", "cp312-cp312", id="another version"),
        pytest.param("cp312-cp312", "python312.dll", "3.12t", "cp312-cp312", id="its threads"),
        pytest.param("cp314-cp314t", "python314t.dll", "3.14t", "", id="free-threaded"),
        pytest.param(
            "cp314-cp314t", "python314t.dll", "3.14", "cp314-cp314t", id="not free-threaded"
        ),
        pytest.param("cp37-cp37m", "python37.dll", "3.7", "", id="the m of 3.7"),
        pytest.param("cp38-cp38", "python38.dll", "3.8", "", id="no m since 3.8"),
        pytest.param("cp39.cp310-cp39.cp310", "python310.dll", "3.10", "", id="two, its own"),
        pytest.param(
            "cp39.cp310-cp39.cp310", "python310.dll", "3.9", "python310.dll", id="two, the other"
        ),
        pytest.param("py3-none", "python311.dll", "3.11", "", id="any by its tag, its own"),
        pytest.param("py3-none", "python311.dll", "3.12", "python311.dll", id="any, another"),
        pytest.param("py2-none", "python27.dll", "3.12", "py2-none", id="Python 2"),
    ],
)
def test_a_python_is_served_or_refused_with_the_reason(
    tag: str, dll: str, python: str, reason: str, shelf: Shelf
) -> None:
    said = refusal(python, shelf.wheel(tag=f"{tag}-win_amd64", python=dll))
    assert bool(said) == bool(reason)
    assert reason in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("requires", "python", "served"),
    [
        pytest.param(">=3.6", "3.12", True, id="a lower bound"),
        pytest.param(">=3.13", "3.12", False, id="a lower bound above"),
        pytest.param(">=3.12.4", "3.12", True, id="a bound within"),
        pytest.param("<3.12", "3.12", False, id="an upper bound"),
        pytest.param("!=3.12.*", "3.12", False, id="an exception"),
        pytest.param("!=3.12.0", "3.12", True, id="an exception of one release"),
        pytest.param(">=3.14", "3.14t", True, id="free-threaded"),
    ],
)
def test_requires_python_lets_in_or_not(
    requires: str,
    python: str,
    served: object,
    shelf: Shelf,
) -> None:
    tag, dll = ("cp314-cp314t", "python314t.dll") if python[-1] == "t" else ("cp37-abi3", "")
    wheel = shelf.wheel(
        tag=f"{tag}-win_amd64", python=dll or "python3.dll", requires_python=requires
    )
    assert (refusal(python, wheel) == "") == served


def test_the_refused_are_told_with_the_reason_each(shelf: Shelf) -> None:
    plan = planned(shelf.wheel(), "3.6", "3.12", "3.14t")
    assert [wheel.pythons for wheel in plan.wheels] == [("3.12",)]
    assert [refused.python for refused in plan.refused] == ["3.6", "3.14t"]


def test_where_all_are_refused_there_is_no_plan_but_each_reason_once(shelf: Shelf) -> None:
    with pytest.raises(InputError) as caught:
        planned(shelf.wheel(), "3.5", "3.6", "3.14t")
    assert caught.value.code == "no-python"
    assert "no wheel for 3.5, 3.6: the wheel is for cp37-abi3-win_amd64 alone; 3.14t: " in str(
        caught.value
    )


# Which name


@pytest.mark.parametrize(
    ("tag", "python", "expected"),
    [
        pytest.param("cp37-abi3-win_amd64", "3.12", "cp312-cp312-win_amd64", id="stable ABI"),
        pytest.param("cp37-abi3-win_amd64", "3.7", "cp37-cp37m-win_amd64", id="3.7"),
        pytest.param("cp37-abi3-win_arm64", "3.12", "cp312-cp312-win_arm64", id="ARM"),
        pytest.param("cp37-abi3-win32", "3.12", "cp312-cp312-win32", id="32 bits"),
        pytest.param("py3-none-win_amd64", "3.12", "cp312-cp312-win_amd64", id="any Python"),
        pytest.param(
            "cp39.cp310-cp39.cp310-win_amd64", "3.10", "cp310-cp310-win_amd64", id="two Pythons"
        ),
    ],
)
def test_a_wheel_for_one_python_has_its_tag(
    tag: str, python: str, expected: str, shelf: Shelf
) -> None:
    wheel = one(planned(shelf.wheel(tag=tag), python))
    assert wheel.tag == expected
    assert parse_wheel_filename(wheel.filename)[3] == parse_tag(expected)
    assert f"\nTag: {expected}\n" in text_of(wheel, "WHEEL")


def test_one_wheel_for_all_keeps_its_tag_and_whom_it_lets_in(shelf: Shelf) -> None:
    plan = planned(shelf.wheel(requires_python=">=3.8"), "3.12", "3.13", "3.14t", emit="abi3")
    wheel = one(plan)
    assert (wheel.tag, wheel.pythons) == ("cp37-abi3-win_amd64", ("3.12", "3.13"))
    assert "\nRequires-Python: >=3.8\n" in text_of(wheel, "METADATA")
    assert [refused.python for refused in plan.refused] == ["3.14t"]


@pytest.mark.parametrize(
    ("version", "dlls", "local", "expected"),
    [
        pytest.param("4.13.0.90", CUDA_12, None, "4.13.0.90+cu12.patched", id="the major is known"),
        pytest.param("4.13.0+cuda126", CUDA_12, None, "4.13.0+cuda126.patched", id="it says more"),
        pytest.param("4.13.0", ("KERNEL32.dll",), None, "4.13.0+patched", id="no CUDA"),
        pytest.param(
            "4.13.0+cu129", CUDA_12, None, "4.13.0+cu129.patched", id="it says its CUDA itself"
        ),
        pytest.param(
            "4.13.0+cu12.patched", CUDA_12, None, "4.13.0+cu12.patched", id="patched before"
        ),
        pytest.param("4.13.0", CUDA_12, "team.7", "4.13.0+team.7", id="a label of one's own"),
        pytest.param("4.13.0+team.7", CUDA_12, "team.7", "4.13.0+team.7", id="that label again"),
        pytest.param("4.13.0+a", CUDA_12, "team", "4.13.0+a.team", id="beside another's"),
        pytest.param("4.12.0+dev2.f1a2", CUDA_12, None, "4.12.0+dev2.f1a2.cu12.patched", id="both"),
    ],
)
def test_the_version_says_what_was_done(
    version: str, dlls: Sequence[str], local: str | None, expected: str, shelf: Shelf
) -> None:
    wheel = one(planned(shelf.wheel(version=version, dlls=dlls), local=local))
    assert wheel.version == expected
    assert parse_wheel_filename(wheel.filename)[1] == Version(wheel.version)
    assert f"\nVersion: {wheel.version}\n" in text_of(wheel, "METADATA")


# METADATA


def requirements(analysis: Analysis, *python: str, **settings: Any) -> list[str]:  # noqa: ANN401
    """Return the Requires-Dist lines of the planned wheels, which all have the same METADATA."""
    (text,) = {
        text_of(wheel, "METADATA") for wheel in planned(analysis, *python, **settings).wheels
    }
    return re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("before", ["", ">=3.6", ">=3.12.4", "<4,>=3.8"])
def test_all_wheels_have_the_same_metadata_with_upstreams_requires_python(
    before: str, shelf: Shelf
) -> None:
    analysis = shelf.wheel(requires_python=before, requires=["numpy>=2"], numpy="2")
    wheels = planned(analysis, "3.12", "3.13", "3.14").wheels
    (text,) = {text_of(wheel, "METADATA") for wheel in wheels}
    lines = [f"Requires-Python: {before}"] if before else []
    assert [line for line in text.splitlines() if line.startswith("Requires-Python")] == lines


OF_4_12 = ["numpy<2.0; python_version < '3.9'", "numpy<2.3.0,>=2; python_version >= '3.9'"]


@pytest.mark.parametrize(
    ("numpy", "before", "after"),
    [
        pytest.param("2", ["numpy>=2"], ["numpy>=2"], id="open above"),
        pytest.param("2", ["numpy<3,>=2"], ["numpy<3,>=2"], id="a bound that rules out none"),
        pytest.param(
            "2", OF_4_12, [OF_4_12[0], 'numpy>=2; python_version >= "3.9"'], id="OpenCV 4.12"
        ),
        pytest.param("2", ["NumPy<2"], ["NumPy"], id="NumPy 1 alone, which it needs not be"),
        pytest.param("2", ["numpy~=2.1.0,!=2.1.1"], ["numpy!=2.1.1"], id="a compatible release"),
        pytest.param("2", ["numpy==1.26.*"], ["numpy"], id="one release"),
        pytest.param(
            "2",
            ["numpy<2; extra == 'old'", "numpy"],
            ["numpy<2; extra == 'old'", "numpy"],
            id="an extra's own",
        ),
        pytest.param("2", ["torch"], ["torch", "numpy"], id="none required"),
        pytest.param("1", ["numpy>=1.19"], ["numpy>=1.19", "numpy<2"], id="lets in NumPy 2"),
        pytest.param("1", ["numpy<2,>=1.19"], ["numpy<2,>=1.19"], id="NumPy 1 alone"),
        pytest.param("1", [], ["numpy<2"], id="none required, built for NumPy 1"),
        pytest.param(None, ["numpy<2"], ["numpy<2"], id="not built with NumPy"),
    ],
)
def test_the_lines_for_numpy_are_right_for_the_binary_on_every_python(
    numpy: str | None, before: list[str], after: list[str], shelf: Shelf
) -> None:
    analysis = shelf.wheel(requires=before, numpy=numpy)
    assert requirements(analysis, "3.10", "3.11") == after
    assert requirements(analysis, "3.12") == after


def test_a_bound_that_was_lifted_is_a_finding(shelf: Shelf) -> None:
    plan = planned(shelf.wheel(requires=OF_4_12, numpy="2"), "3.13")
    (message,) = (it.message for it in plan.findings if it.code == "numpy-bound-lifted")
    assert OF_4_12[1] in message


@pytest.mark.parametrize(
    ("numpy", "requires", "python"),
    [
        pytest.param("1", ["numpy>=1.19"], "3.13", id="built for NumPy 1"),
        pytest.param(None, ["numpy<2.3"], "3.14", id="bound, and nothing disproves it"),
        pytest.param("1", ["numpy<2"], "3.15", id="a Python to come"),
    ],
)
def test_a_python_for_which_there_can_be_no_numpy_is_refused(
    numpy: str | None, requires: list[str], python: str, shelf: Shelf
) -> None:
    plan = planned(shelf.wheel(requires=requires, numpy=numpy), "3.12", python)
    assert [wheel.pythons for wheel in plan.wheels] == [("3.12",)]
    (refused,) = plan.refused
    assert refused.python == python
    assert "no such NumPy has a wheel" in refused.reason


def test_a_python_for_which_the_index_lacks_something_is_refused(shelf: Shelf) -> None:
    plan = planned(shelf.wheel(), "3.12", "3.13", missing={"3.13": "it requires a moon"})
    assert [wheel.pythons for wheel in plan.wheels] == [("3.12",)]
    assert plan.refused == (Refusal(python="3.13", reason="it requires a moon"),)


def test_what_a_mode_requires_stands_in_every_wheel(shelf: Shelf) -> None:
    added = Supplement(requires=('nvidia-cudnn-cu12<10; extra == "dnn"',), extras=("dnn",))
    analysis = shelf.wheel(requires=["numpy"], numpy="2")
    lines = requirements(analysis, "3.12", "3.13", supplement=added)
    assert lines == ["numpy", 'nvidia-cudnn-cu12<10; extra == "dnn"']
    assert list(planned(analysis, supplement=added).requirements) == lines


# What is written


def test_what_is_not_edited_is_copied_as_it_lies(shelf: Shelf) -> None:
    analysis = shelf.wheel()
    build = Build(out=Path("dist"), python=("3.12",))
    patched = Patched(files={"cv2/__init__.py": b"new\n", "cv2/more.py": b"more\n"}, notes=())
    wheel = one(make_plan(build, analysis, patched, timestamp=TIME))
    info = f"{NAME}-{VERSION}+cu12.patched.dist-info"
    assert [(entry.name, type(entry)) for entry in wheel.entries] == [
        ("cv2/__init__.py", Added),
        ("cv2/cv2.pyd", Copied),
        ("cv2/more.py", Added),
        (f"{info}/METADATA", Added),
        (f"{info}/WHEEL", Added),
        (f"{info}/RECORD", Added),
    ]
    rows = [line.partition(",")[0] for line in text_of(wheel, "RECORD").splitlines()]
    assert sorted(rows) == sorted(str(entry.name) for entry in wheel.entries)


def test_the_recipe_changes_with_whatever_changes_the_bytes(shelf: Shelf) -> None:
    analysis = shelf.wheel()

    def recipe(python: str, text: bytes) -> str:
        build = Build(out=Path("dist"), python=(python,))
        patched = Patched(files={"cv2/__init__.py": text}, notes=())
        return one(make_plan(build, analysis, patched, timestamp=TIME)).recipe

    recipes = [recipe("3.12", b"a"), recipe("3.12", b"b"), recipe("3.13", b"a")]
    assert len(set(recipes)) == 3
    assert recipe("3.12", b"a") == recipes[0]


# NVIDIA's wheels


@pytest.mark.parametrize(
    ("dlls", "expected"),
    [
        pytest.param(("KERNEL32.dll",), (), id="no CUDA"),
        pytest.param(("cudart64_102.dll", "nppc64_10.dll", "cudnn64_7.dll"), (), id="CUDA 10"),
        pytest.param(
            ("cudart64_110.dll", "cublas64_11.dll", "cufft64_10.dll", "cudnn64_8.dll"),
            (
                "nvidia-cublas-cu11",
                "nvidia-cuda-runtime-cu11",
                "nvidia-cudnn-cu11==8.*",
                "nvidia-cufft-cu11",
            ),
            id="CUDA 11 and cuDNN 8",
        ),
        pytest.param(
            ("cudart64_12.dll", "cufft64_11.dll", "nppc64_12.dll", "nppif64_12.dll"),
            ("nvidia-cuda-runtime-cu12", "nvidia-cufft-cu12", "nvidia-npp-cu12"),
            id="CUDA 12, NPP's many DLLs once",
        ),
        pytest.param(
            ("cudart64_12.dll", "cudnn64_9.dll", "cudnn_ops64_9.dll"),
            ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12==9.*"),
            id="CUDA 12 and cuDNN 9",
        ),
        pytest.param(
            (
                *("cudart64_13.dll", "cublas64_13.dll", "cublasLt64_13.dll", "cufft64_12.dll"),
                *("curand64_10.dll", "cusolver64_12.dll", "nvrtc64_130_0.dll", "cudnn64_9.dll"),
                *("nppc64_13.dll", "nvJitLink_130_0.dll", "cupti64_2025.3.0.dll"),
            ),
            (
                "nvidia-cublas==13.*",
                "nvidia-cuda-cupti==13.*",
                "nvidia-cuda-nvrtc==13.*",
                "nvidia-cuda-runtime==13.*",
                "nvidia-cudnn-cu13==9.*",
                "nvidia-cufft==12.*",
                "nvidia-curand==10.*",
                "nvidia-cusolver==12.*",
                "nvidia-npp==13.*",
                "nvidia-nvjitlink==13.*",
            ),
            id="CUDA 13, whose wheels' names say no major",
        ),
        pytest.param(
            ("nppc64_12.dll", "nvcuda.dll"), ("nvidia-npp-cu12",), id="never the driver's"
        ),
    ],
)
def test_the_dlls_that_are_needed_come_from_these_wheels(
    dlls: Sequence[str], expected: tuple[str, ...], shelf: Shelf
) -> None:
    assert dll_requirements(shelf.wheel(dlls=dlls)) == expected


def test_delay_loaded_dlls_are_needed_too_and_those_in_the_wheel_are_not(shelf: Shelf) -> None:
    analysis = shelf.wheel(delayed=["cufft64_11.dll"], beside=["nppc64_12.dll"])
    assert dll_requirements(analysis) == ("nvidia-cuda-runtime-cu12", "nvidia-cufft-cu12")


# What the run-time module is told


def test_the_run_time_module_is_told_each_dll_by_family_and_what_brings_it(shelf: Shelf) -> None:
    analysis = shelf.wheel(
        version="4.13.0.90+cu129",
        dlls=[
            *("nppif64_12.dll", "nppial64_12.dll", "cudnn64_9.dll", "nvcuda.dll", "MF.dll"),
            *("KERNEL32.dll", "VCRUNTIME140.dll", "api-ms-win-crt-heap-l1-1-0.dll", "Foo.dll"),
        ],
        delayed=["cufft64_11.dll", "nvcuvid.dll", "bar.dll"],
        beside=["nppif64_12.dll"],
    )
    facts = build_facts(analysis, help_url="https://help.example.com/pages")
    cures = facts.pop("cures")
    assert isinstance(cures, dict)
    assert sorted(cures) == [
        *("api-set", "cudnn", "cufft", "driver", "media-foundation", "npp", "python"),
        *("vc-runtime", "windows"),
    ]
    assert facts == {
        "cuda": (12, 9),
        "delayed": ("cufft64_11.dll",),
        "families": {
            "cudnn": ("cudnn64_9.dll",),
            "cufft": ("cufft64_11.dll",),
            "npp": ("nppc64_12.dll", "nppial64_12.dll"),
        },
        "help_url": "https://help.example.com/pages/",
        "kinds": {
            "api-ms-win-crt-heap-l1-1-0.dll": "api-set",
            "bar.dll": "unknown",
            "cudnn64_9.dll": "cudnn",
            "cufft64_11.dll": "cufft",
            "foo.dll": "unknown",
            "kernel32.dll": "windows",
            "mf.dll": "media-foundation",
            "nppc64_12.dll": "npp",
            "nppial64_12.dll": "npp",
            "nvcuda.dll": "driver",
            "nvcuvid.dll": "driver",
            "python3.dll": "python",
            "vcruntime140.dll": "vc-runtime",
        },
        "machine": "x86-64",
        "numpy": None,
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


@pytest.mark.parametrize(
    ("dlls", "delayed", "families", "told_delayed"),
    [
        pytest.param(
            ["cublas64_12.dll", "nvblas64_11.dll"],
            [],
            {
                "cublas": (
                    *("cublas64_11.dll", "cublas64_12.dll", "cublasLt64_11.dll"),
                    *("cublasLt64_12.dll", "nvblas64_11.dll"),
                )
            },
            (),
            id="cuBLAS",
        ),
        pytest.param(["cublas64_100.dll"], [], {"cublas": ("cublas64_100.dll",)}, (), id="CUDA 10"),
        pytest.param(
            ["cufftw64_11.dll"],
            [],
            {"cufft": ("cufft64_11.dll", "cufftw64_11.dll")},
            (),
            id="cuFFTW",
        ),
        pytest.param(
            [],
            ["nppig64_12.dll"],
            {"npp": ("nppc64_12.dll", "nppig64_12.dll")},
            ("nppc64_12.dll", "nppig64_12.dll"),
            id="by delay-load",
        ),
        pytest.param(
            ["nppif64_12.dll"],
            ["nppig64_12.dll"],
            {"npp": ("nppc64_12.dll", "nppif64_12.dll", "nppig64_12.dll")},
            ("nppig64_12.dll",),
            id="needed at load time by another",
        ),
    ],
)
def test_what_nvidias_dlls_import_themselves_is_of_their_families(
    dlls: Sequence[str],
    delayed: Sequence[str],
    families: object,
    told_delayed: object,
    shelf: Shelf,
) -> None:
    facts = build_facts(shelf.wheel(dlls=dlls, delayed=delayed))
    assert (facts["families"], facts["delayed"]) == (families, told_delayed)


def test_what_they_import_is_not_looked_for_where_the_wheel_has_it(shelf: Shelf) -> None:
    analysis = shelf.wheel(dlls=["nppif64_12.dll"], beside=["NPPC64_12.dll"])
    assert build_facts(analysis)["families"] == {"npp": ("nppif64_12.dll",)}


def test_what_a_mode_adds_is_told_too(shelf: Shelf) -> None:
    added = Supplement(
        folders=("cv2.libs",),
        stand_ins={"nvcuda.dll": "cv2/stand-ins/nvcuda"},
        families={"nvjitlink": ("nvJitLink_120_0.dll",)},
    )
    facts = build_facts(shelf.wheel(), added)
    assert facts["stand_ins"] == {"nvcuda.dll": "cv2/stand-ins/nvcuda"}
    assert facts["vendored"] == ("cv2.libs",)
    assert facts["families"] == {
        "cudart": ("cudart64_12.dll",),
        "npp": ("nppc64_12.dll",),
        "nvjitlink": ("nvJitLink_120_0.dll",),
    }


def test_nothing_brings_the_dlls_of_cuda_10_by_pip(shelf: Shelf) -> None:
    assert build_facts(shelf.wheel(dlls=["nppc64_10.dll"]))["requires"] == {"npp": ()}


@pytest.mark.parametrize(
    ("dlls", "cuda"),
    [
        pytest.param(CUDA_12, (12, None), id="the major alone is known"),
        pytest.param(("nvcuda.dll",), None, id="nothing but the driver"),
        pytest.param(("KERNEL32.dll",), None, id="no CUDA"),
    ],
)
def test_the_run_time_module_is_told_the_cuda_as_far_as_it_is_known(
    dlls: Sequence[str], cuda: object, shelf: Shelf
) -> None:
    assert build_facts(shelf.wheel(dlls=dlls))["cuda"] == cuda

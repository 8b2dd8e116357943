"""The plan: which Python gets which wheel, under which name, and what it is told."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dllmaking import make_dll
from machines import table
from wheelmaking import make_analysis

from repack.config import load
from repack.inspect import Analysis, build_facts
from repack.plan import Plan, PlannedWheel, Supplement, make_plan, refusal
from repack.record import Cargo

CUDA_12 = ("nppc64_12.dll", "cudart64_12.dll")
#: What a module says that is built for a NumPy.
MARKS = {
    None: b"",
    "1": b"numpy.core._multiarray_umath\0",
    "2": b"numpy._core._multiarray_umath\0",
}


def analysed(
    folder: Path,
    *,
    dlls: Sequence[str] = ("python3.dll", *CUDA_12),
    delayed: Sequence[str] = (),
    numpy: str | None = None,
    **parts: Any,  # noqa: ANN401 - of a wheel
) -> Analysis:
    """Return what is known of a wheel whose module imports these DLLs."""
    imports, delay_imports = ({dll: ["symbol"] for dll in names} for names in (dlls, delayed))
    pyd = make_dll("cv2.pyd", imports=imports, delay_imports=delay_imports) + MARKS[numpy]
    return make_analysis(folder, pyd, **parts)


def planned(
    analysis: Analysis,
    *python: str,
    **settings: object,
) -> Plan:
    pythons = python or ("3.12",)
    config = load(None, [("build", {"python": [*pythons], **settings})])
    refusals = {python: refusal(python, analysis) for python in pythons}
    return make_plan(config, analysis, Supplement(), refusals, timestamp=0)


def text_of(wheel: PlannedWheel, name: str) -> str:
    """Return a file of the planned .dist-info."""
    (entry,) = (entry for entry in wheel.entries if entry.name.endswith(f".dist-info/{name}"))
    assert isinstance(entry.content, bytes)
    return entry.content.decode()


ABI3, OF_312, OF_314T = "cp37-abi3", "cp312-cp312", "cp314-cp314t"
THREADS = {"tag": OF_314T, "dlls": ["python314t.dll"]}
NO_NUMPY = "no such NumPy has a wheel for"


@table(
    "parts, python, reason",
    {
        "stable ABI, too old": ({}, "3.6", ABI3),
        "stable ABI, threads": ({}, "3.14t", "which Python 3.14t does not have"),
        "abi3 by its tag alone, another": ({"dlls": ["python39.dll"]}, "3.12", "python39.dll"),
        "another version": ({"tag": OF_312}, "3.13", OF_312),
        "free-threaded": (THREADS, "3.14t", ""),
        "not free-threaded": (THREADS, "3.14", "python314t.dll"),
        "one release is let in": ({"lines": ["Requires-Python: >=3.12.4"]}, "3.12", ""),
        "no release is": ({"lines": ["Requires-Python: !=3.12.*"]}, "3.12", "Requires-Python"),
        "a bound that nothing disproves": (
            {"lines": ["Requires-Dist: numpy<2.3"]},
            "3.14",
            NO_NUMPY,
        ),
        "NumPy 1 alone, a Python to come": ({"numpy": "1"}, "3.15", NO_NUMPY),
    },
)
def test_a_python_is_served_or_refused_with_the_reason(
    parts: dict[str, Any], python: str, reason: str, tmp_path: Path
) -> None:
    text = refusal(python, analysed(tmp_path, **parts))
    assert bool(text) == bool(reason)
    assert reason in text


@table(
    "parts, python, settings, name",
    {
        "it tells more": (
            *({"version": "4.13.0+cuda126"}, "3.7", {}),
            "4.13.0+cuda126.patched-cp37-cp37m",
        ),
        "no CUDA": (
            {"version": "4.13.0", "dlls": ["KERNEL32.dll"]},
            *("3.12", {}, f"4.13.0+patched-{OF_312}"),
        ),
        "a label of one's own": ({}, "3.12", {"local": "team.7"}, f"4.13.0.90+team.7-{OF_312}"),
        "one of its tags": (
            *({"tag": "cp39.cp310-cp39.cp310"}, "3.10", {}),
            "4.13.0.90+cu12.patched-cp310-cp310",
        ),
        "for all": ({}, "3.10", {"emit": "abi3"}, f"4.13.0.90+cu12.patched-{ABI3}"),
    },
)
def test_a_wheel_is_called_by_what_was_done_and_whom_it_is_for(
    parts: dict[str, Any], python: str, settings: dict[str, str], name: str, tmp_path: Path
) -> None:
    (wheel,) = planned(analysed(tmp_path, **parts), python, **settings).wheels
    assert wheel.filename == f"opencv_contrib_python-{name}-win_amd64.whl"
    version, _, tag = name.partition("-")
    assert f"\nVersion: {version}\n" in text_of(wheel, "METADATA")
    assert f"\nTag: {tag}-win_amd64\n" in text_of(wheel, "WHEEL")


OF_4_12 = ["numpy<2.0; python_version < '3.9'", "numpy<2.3.0,>=2; python_version >= '3.9'"]
OF_AN_EXTRA = ["numpy<2; extra == 'old'", "numpy"]


@table(
    "numpy, before, after",
    {
        "OpenCV 4.12": ("2", OF_4_12, [OF_4_12[0], 'numpy>=2; python_version >= "3.9"']),
        "NumPy 1 alone, which it needs not be": ("2", ["NumPy===1.26.4"], ["NumPy"]),
        "a compatible release": ("2", ["numpy~=2.1.0,!=2.1.1"], ["numpy!=2.1.1"]),
        "an extra's own, a bound that rules out none": ("2", OF_AN_EXTRA, OF_AN_EXTRA),
        "none required": ("2", ["torch"], ["torch", "numpy"]),
        "lets in NumPy 2": ("1", ["numpy>=1.19"], ["numpy>=1.19", "numpy<2"]),
        "NumPy 1 alone": ("1", ["numpy<2,>=1.19"], ["numpy<2,>=1.19"]),
        "built without NumPy": (None, ["numpy<2"], ["numpy<2"]),
    },
)
def test_all_wheels_have_the_same_metadata_with_the_lines_for_numpy_that_are_right(
    numpy: str | None, before: list[str], after: list[str], tmp_path: Path
) -> None:
    lines = ["Provides-Extra: x", "Requires-Python: <4"]
    lines += [f"Requires-Dist: {line}" for line in before]
    plan = planned(analysed(tmp_path, lines=lines, numpy=numpy), "3.10", "3.11", "3.12")
    (text,) = {text_of(wheel, "METADATA") for wheel in plan.wheels}
    assert re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE) == after
    assert list(plan.emitted.wheel.requires) == after
    assert "\nProvides-Extra: x\nRequires-Python: <4\n" in text


# What the run-time module is told


def test_the_run_time_module_is_told_each_dll_by_family_and_what_brings_it(tmp_path: Path) -> None:
    nvidias = ("nppif64_12.dll", "nppial64_12.dll", "cublas64_12.dll", "cudnn64_9.dll")
    inside = ("nppif64_12.dll", "NPPC64_12.dll")
    analysis = analysed(
        tmp_path,
        version="4.13.0.90+cu129",
        dlls=["python3.dll", *nvidias, "nvcuda.dll", "KERNEL32.dll", "Foo.dll"],
        delayed=["cublasLt64_12.dll", "cufft64_11.dll", "cufftw64_11.dll", "bar.dll"],
        files={f"cv2/{dll}": make_dll(dll) for dll in inside},
        numpy="1",
    )
    members = {"cv2.libs/nppif64_12.dll": "npp", "cv2/stand-ins/nvcuda/nvcuda.dll": "driver"}
    cargo = tuple(
        Cargo(member=member, family=family, origin="x", size=1, packed=1, sha256="0" * 64)
        for member, family in members.items()
    )
    help_url = "https://help.example.com/pages"
    left = ["nvJitLink_120_0.dll"]
    facts = build_facts(analysis, analysis.wheel.filename, cargo, left, help_url)
    cures = facts.pop("cures")
    assert isinstance(cures, dict)
    assert {"cudnn", "cufft", "driver", "npp", "windows"} <= cures.keys()
    kinds = {"python": ["python3.dll"], "windows": ["kernel32.dll"], "driver": ["nvcuda.dll"]}
    kinds |= {"npp": ["nppial64_12.dll"], "cufft": ["cufft64_11.dll", "cufftw64_11.dll"]}
    kinds |= {"cudnn": ["cudnn64_9.dll"], "unknown": ["bar.dll", "foo.dll"]}
    kinds |= {"nvjitlink": ["nvjitlink_120_0.dll"]}
    # What NVIDIA's DLLs import themselves is of their families.
    kinds |= {"cublas": ["cublas64_12.dll", "cublaslt64_12.dll"]}
    assert facts == {
        "cuda": (12, 9),
        "delayed": ("cufft64_11.dll", "cufftw64_11.dll"),
        "families": {
            "cublas": ("cublas64_12.dll", "cublasLt64_12.dll"),
            "cudnn": ("cudnn64_9.dll",),
            "cufft": ("cufft64_11.dll", "cufftw64_11.dll"),
            "npp": ("nppial64_12.dll",),
            "nvjitlink": ("nvJitLink_120_0.dll",),
        },
        "help_url": f"{help_url}/",
        "kinds": {dll: kind for kind, dlls in kinds.items() for dll in dlls},
        "machine": "x86-64",
        "numpy": "numpy<2",
        "opencv": "4.13.0.90",
        "original": {"filename": analysis.wheel.path.name},
        "others": ("Foo.dll",),
        "requires": {
            "cublas": ("nvidia-cublas-cu12",),
            "cudnn": ("nvidia-cudnn-cu12==9.*",),
            "cufft": ("nvidia-cufft-cu12",),
            "npp": ("nvidia-npp-cu12",),
            "nvjitlink": ("nvidia-nvjitlink-cu12",),
        },
        "stand_ins": {"nvcuda.dll": "cv2/stand-ins/nvcuda"},
        "vendored": ("cv2.libs",),
    }

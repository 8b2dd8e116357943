"""What a wheel's binaries and texts say: who needs which DLL, of which CUDA, and what to tell."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import wheelmaking
from dllmaking import make_dll
from wheelmaking import make_pyd, make_wheel

from repack.errors import InputError
from repack.files import Memory
from repack.inspect import Analysis, analyse, require_cv2, require_windows
from repack.wheel import parse_filename

CUDA_12 = {"nppc64_12.dll": ["nppGetLibVersion"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
NUMPY_1 = b"\0numpy.core._multiarray_umath\0numpy.core.multiarray failed to import\0"
NUMPY_2 = b"\0numpy._core._multiarray_umath\0numpy.core._multiarray_umath\0"
#: CUDA 10 and 11 have it.
CUFFT_10 = make_pyd({"cufft64_10.dll": ["x"]})
HASH = "0123456789abcdef0123456789abcdef"
TOOLKITS = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"

Analyser = Callable[..., Analysis]


def config(version: str, directory: str = "os.path.join(LOADER_DIR, '../../')") -> bytes:
    """Return OpenCV's config.py of a CUDA build."""
    return (
        "import os\n\n"
        "BINARIES_PATHS = [\n"
        f"    os.path.join({directory}, 'x64/vc17/bin'),\n"
        f"    os.path.join(os.getenv('CUDA_PATH', '{TOOLKITS}/{version}'), 'bin')\n"
        "] + BINARIES_PATHS\n"
    ).encode()


@pytest.fixture
def analysed(tmp_path: Path) -> Analyser:
    """Give what analyses a wheel of opencv-python's layout, made of these parts."""

    def make(  # noqa: PLR0913 - a wheel's parts
        *,
        pyd: bytes | None = None,
        files: Mapping[str, bytes] | None = None,
        name: str = "opencv_python",
        version: str = "4.9.0.80",
        tag: str = "cp37-abi3",
        requires: Sequence[str] = ("numpy",),
        pythons: Sequence[str] = ("3.7", "3.12"),
    ) -> Analysis:
        members = {
            "cv2/__init__.py": b"from .cv2 import *\n",
            "cv2/cv2.pyd": make_pyd(CUDA_12) if pyd is None else pyd,
            **(files or {}),
        }
        path = tmp_path / f"{name}-{version}-{tag}-win_amd64.whl"
        wheel = make_wheel(path, members, requires=requires)
        return analyse(wheel, pythons=pythons, allow_startup_hook=True)

    return make


def codes(analysis: Analysis) -> list[str]:
    return [finding.code for finding in analysis.findings]


def answers(analysis: Analysis) -> dict[str, str | None]:
    return {need.dll.name: need.in_wheel for need in analysis.needs}


def test_a_one_file_build_says_which_dlls_it_needs(analysed: Analyser) -> None:
    pyd = make_pyd(
        {**CUDA_12, "nvcuda.dll": ["cuInit"], "KERNEL32.dll": ["Sleep"]},
        delay_imports={"cublas64_12.dll": ["cublasCreate_v2"]},
    )
    analysis = analysed(pyd=pyd)
    assert analysis.native == ("cv2/cv2.pyd",)
    assert [(need.dll.name, need.dll.family, need.delayed) for need in analysis.needs] == [
        ("cublas64_12.dll", "cublas", True),
        ("cudart64_12.dll", "cudart", False),
        ("KERNEL32.dll", "windows", False),
        ("nppc64_12.dll", "npp", False),
        ("nvcuda.dll", "driver", False),
        ("python3.dll", "python", False),
    ]
    assert {need.needed_by for need in analysis.needs} == {("cv2/cv2.pyd",)}
    assert (analysis.cuda_major, analysis.abi3, analysis.findings) == (12, True, ())


def test_a_wheel_that_delvewheel_has_repaired_is_a_cuda_build(analysed: Analyser) -> None:
    npp, driver = f"nppc64_12-{HASH}.dll", f"nvcuda-{HASH}.dll"
    libs = {f"opencv_python.libs/{dll}": make_dll(dll) for dll in (npp, driver)}
    analysis = analysed(
        pyd=make_pyd({npp: ["nppGetLibVersion"], driver: ["cuInit"], "cufft64_11.dll": ["x"]}),
        files=libs,
    )
    assert analysis.cuda_major == 12
    assert {need.dll.family: need.in_wheel for need in analysis.needs} == {
        "npp": f"opencv_python.libs/{npp}",
        "driver": f"opencv_python.libs/{driver}",
        "cufft": None,
        "python": None,
    }
    assert codes(analysis) == ["vendored-driver", "vendored-without-licence"]


def test_a_large_module_is_read_whole(analysed: Analyser) -> None:
    pyd = make_dll("cv2.pyd", code={"run": bytes(range(256)) * 12_000}, imports=CUDA_12)
    # The mark lies across the edge of two pieces that are looked through.
    analysis = analysed(pyd=pyd + bytes((1 << 22) - len(pyd) - 9) + NUMPY_2)
    assert {need.dll.name for need in analysis.needs} == set(CUDA_12)
    assert analysis.numpy == "2"


class TestNeeds:
    def test_reach_through_dlls_that_lie_in_the_wheel(self, analysed: Analyser) -> None:
        needs = {"opencv_core490.dll": ["a"], "cufft64_11.dll": ["cufftPlan1d"]}
        analysis = analysed(
            pyd=make_pyd({"opencv_core490.dll": ["a"], "OPENCV_CUDAARITHM490.DLL": ["b"]}),
            files={
                "cv2/opencv_core490.dll": make_dll("opencv_core490.dll"),
                "cv2/opencv_cudaarithm490.dll": make_dll("x.dll", imports=needs),
                "cv2/opencv_unused490.dll": make_dll("x.dll", imports={"npps64_11.dll": ["x"]}),
            },
        )
        by_key = {need.dll.key: need for need in analysis.needs}
        assert by_key["cufft64_11.dll"].needed_by == ("cv2/opencv_cudaarithm490.dll",)
        assert by_key["cufft64_11.dll"].in_wheel is None
        assert by_key["opencv_core490.dll"].in_wheel == "cv2/opencv_core490.dll"
        assert by_key["opencv_core490.dll"].needed_by == (
            "cv2/cv2.pyd",
            "cv2/opencv_cudaarithm490.dll",
        )
        assert "npps64_11.dll" not in by_key
        assert analysis.cuda_major == 12

    def test_are_met_by_the_dll_beside_the_module_before_another(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd({"a.dll": ["x"], "b.dll": ["x"]}),
            files={
                "aaa/a.dll": make_dll("a.dll"),
                "cv2/A.dll": make_dll("a.dll"),
                "cv2.libs/b.dll": make_dll("b.dll"),
            },
        )
        assert answers(analysis) == {
            "a.dll": "cv2/A.dll",
            "b.dll": "cv2.libs/b.dll",
            "python3.dll": None,
        }

    def test_are_delayed_where_only_a_delayed_dll_has_them(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd(CUDA_12, delay_imports={"late.dll": ["x"]}),
            files={"cv2/late.dll": make_dll("late.dll", imports={"cufft64_11.dll": ["x"]})},
        )
        delayed = {need.dll.name for need in analysis.needs if need.delayed}
        assert delayed == {"late.dll", "cufft64_11.dll"}

    def test_end_where_dlls_need_each_other(self, analysed: Analyser) -> None:
        files = {
            "cv2/a.dll": make_dll("a.dll", imports={"b.dll": ["x"]}),
            "cv2/b.dll": make_dll("b.dll", imports={"a.dll": ["x"]}),
        }
        assert (
            answers(analysed(pyd=make_pyd({"a.dll": ["x"]}), files=files))["b.dll"] == "cv2/b.dll"
        )


@pytest.mark.parametrize(
    ("parts", "major", "version"),
    [
        pytest.param({}, 12, None, id="not said"),
        pytest.param({"files": {"cv2/config.py": config("v12.6")}}, 12, (12, 6), id="in config.py"),
        pytest.param(
            {"files": {"cv2/_cuda_build.py": b'"""What."""\n\nBUILD = {"cuda": (12, 3)}\n'}},
            *(12, (12, 3)),
            id="in what repack wrote",
        ),
        pytest.param(
            {"files": {"cv2/_cuda_build.py": b"BUILD = f()\n"}}, 12, None, id="code there"
        ),
        pytest.param({"version": "4.9+cu126"}, 12, (12, 6), id="in the local version"),
        pytest.param({"version": "4.9+cu1210.x"}, 12, (12, 10), id="a minor of two digits"),
        pytest.param({"version": "4.9+cu12"}, 12, None, id="no minor"),
        pytest.param(
            {"version": "4.9+cu118", "pyd": CUFFT_10},
            *(11, (11, 8)),
            id="the text decides between two majors",
        ),
        pytest.param({"pyd": CUFFT_10}, None, None, id="two majors"),
        pytest.param(
            {
                "name": "opencv_cu102",
                "version": "4.9+cu11",
                "pyd": CUFFT_10,
            },
            *(11, None),
            id="no minor of another major",
        ),
        pytest.param(
            {"version": "4.9+cu126", "pyd": make_pyd({"nvcuda.dll": ["cuInit"]})},
            *(12, (12, 6)),
            id="only the driver is imported",
        ),
        pytest.param({"version": "4.9+cu126", "pyd": make_pyd()}, None, None, id="no CUDA"),
    ],
)
def test_the_cuda_version_is_taken_from_binary_and_texts(
    parts: dict[str, Any],
    major: int | None,
    version: tuple[int, int] | None,
    analysed: Analyser,
) -> None:
    analysis = analysed(**parts)
    assert (analysis.cuda_major, analysis.cuda_version) == (major, version)
    assert set(codes(analysis)) <= {"not-cuda"}


@pytest.mark.parametrize(
    ("marks", "numpy"),
    [
        pytest.param(b"", None, id="none"),
        pytest.param(NUMPY_1, "1", id="built on NumPy 1"),
        pytest.param(b"\0numpy.core.multiarray\0", "1", id="on one before 1.16"),
        pytest.param(NUMPY_2, "2", id="built on NumPy 2"),
        pytest.param(b"numpy.core.multiarray failed", None, id="a message alone"),
    ],
)
def test_the_numpy_abi_is_read_from_the_binary(
    marks: bytes, numpy: str | None, analysed: Analyser
) -> None:
    assert analysed(pyd=make_pyd(CUDA_12) + marks).numpy == numpy


SPLIT = ['numpy<2; python_version < "3.9"', 'numpy; python_version >= "3.9"']


@pytest.mark.parametrize(
    ("marks", "requires", "pythons", "expected"),
    [
        pytest.param(NUMPY_1, [], ["3.12"], ["numpy-missing"], id="none required"),
        pytest.param(NUMPY_2, ["torch"], ["3.12"], ["numpy-missing"], id="another one required"),
        pytest.param(b"", [], ["3.12"], [], id="not used"),
        pytest.param(NUMPY_1, ["numpy>=1.17"], ["3.12"], ["numpy-contradicted"], id="no cap"),
        pytest.param(NUMPY_1, ["numpy<2,>=1.17"], ["3.12"], [], id="capped"),
        pytest.param(
            NUMPY_1,
            ['numpy; sys_platform == "linux"', "numpy==1.*"],
            *(["3.12"], []),
            id="capped on Windows",
        ),
        pytest.param(NUMPY_2, ["numpy"], ["3.12"], [], id="NumPy 2's runs on both"),
        pytest.param(NUMPY_1, SPLIT, ["3.7"], [], id="the other Python is not asked for"),
        pytest.param(NUMPY_1, SPLIT, ["3.7", "3.12"], ["numpy-contradicted"], id="it is asked for"),
        pytest.param(NUMPY_1, ["numpy"], ["3.7"], [], id="NumPy 2 has no such Python"),
        pytest.param(NUMPY_1, ["numpy"], [], [], id="no Python asked for"),
    ],
)
def test_requirements_must_fit_the_binary_on_the_pythons_asked_for(
    marks: bytes, requires: list[str], pythons: list[str], expected: list[str], analysed: Analyser
) -> None:
    pyd = make_pyd(CUDA_12) + marks
    assert codes(analysed(pyd=pyd, requires=requires, pythons=pythons)) == expected


def linked(dll: str, machine: str = "x86-64") -> bytes:
    """Return a CUDA module that imports that DLL of Python's."""
    return make_dll("cv2.pyd", imports={dll: ["x"], **CUDA_12}, machine=machine)


LOCAL = b"PYTHON_EXTENSIONS_PATHS = ['F:\\python39\\Lib'] + PYTHON_EXTENSIONS_PATHS\r\n"


@pytest.mark.parametrize(
    ("parts", "code", "member", "text"),
    [
        pytest.param(
            {
                "pyd": make_pyd(),
                "name": "opencv_cu126",
                "files": {"cv2/config.py": config("v12.6")},
            },
            *("not-cuda", ""),
            "a build without CUDA: no module in it imports a CUDA DLL, though cv2/config.py says "
            "CUDA 12.6, its name says CUDA 12.6",
            id="no CUDA, though it says so",
        ),
        pytest.param(
            {"files": {"cv2/config.py": config("v11.8")}},
            *("cuda-version-contradicted", ""),
            "cv2/config.py says CUDA 11.8, the binary imports the DLLs of CUDA 12",
            id="another CUDA than it says",
        ),
        pytest.param(
            {"pyd": make_pyd({**CUDA_12, "cufft64_10.dll": ["x"]})},
            *("cuda-majors-mixed", "", "cufft64_10.dll (CUDA 10, 11)"),
            id="two majors",
        ),
        pytest.param(
            {"files": {"cv2/config.py": config("v12.6", "'F:/make_software/install'")}},
            *("build-machine-path", "cv2/config.py", "F:/make_software/install"),
            id="a directory of the build machine",
        ),
        pytest.param(
            {"files": {"cv2/config-3.9.py": LOCAL}},
            *("build-machine-path", "cv2/config-3.9.py", "python39"),
            id="one of extensions",
        ),
        pytest.param(
            {"files": {"cv2/config.py": config("v12.6").replace(b"bin'),", b"bin')")}},
            *("config-broken", "cv2/config.py", "line 4 is not Python"),
            id="a missing comma",
        ),
        pytest.param(
            {"pyd": linked("python3.dll", "x86")},
            *(
                "tag-mismatch",
                "cv2/cv2.pyd",
                "it is for x86, the wheel's tag says cp37-abi3-win_amd64",
            ),
            id="x86",
        ),
        pytest.param(
            {"pyd": linked("python3.dll", "arm64")},
            *("tag-mismatch", "cv2/cv2.pyd", "it is for arm64,"),
            id="arm64",
        ),
        pytest.param(
            {"pyd": linked("python39.dll")},
            *("tag-mismatch", "cv2/cv2.pyd", "it imports python39.dll"),
            id="one Python's DLL under a tag for all",
        ),
        pytest.param(
            {"pyd": linked("python311.dll"), "tag": "cp312-cp312"},
            *("tag-mismatch", "cv2/cv2.pyd", "it imports python311.dll"),
            id="another Python's DLL",
        ),
        pytest.param(
            {"tag": "cp314-cp314t"},
            *("tag-mismatch", "cv2/cv2.pyd", "free-threaded Python does not have"),
            id="the stable ABI on a free-threaded Python",
        ),
        pytest.param(
            {"tag": "cp312-cp312", "files": {"cv2/cv2.cp311-win_amd64.pyd": make_pyd()}},
            *("tag-mismatch", "cv2/cv2.cp311-win_amd64.pyd", "its name says cp311-win_amd64"),
            id="another Python's suffix",
        ),
        pytest.param(
            {
                "files": {
                    "opencv_python-4.9.0.80.dist-info/WHEEL": wheelmaking.wheel_file(
                        ["cp37-abi3-win_amd64"], purelib=True
                    )
                }
            },
            *("purelib-mismatch", "opencv_python-4.9.0.80.dist-info/WHEEL", "1 binaries"),
            id="a binary in a wheel that calls itself pure",
        ),
        pytest.param(
            {"files": {"cv2.pth": b"import cv2\n"}},
            *("startup-hook", "cv2.pth", "at each start"),
            id="a file that Python runs at each start",
        ),
        pytest.param(
            {"pyd": make_pyd({**CUDA_12, "libopenblas.dll": ["x"]})},
            *("unknown-dll", "cv2/cv2.pyd", "it needs libopenblas.dll"),
            id="a DLL that nobody knows",
        ),
    ],
)
def test_what_is_wrong_is_found(
    parts: dict[str, Any], code: str, member: str, text: str, analysed: Analyser
) -> None:
    (finding,) = analysed(**parts).findings
    assert (finding.code, finding.member) == (code, member)
    assert text in finding.message


@pytest.mark.parametrize(
    ("dll", "tag"),
    [
        pytest.param("python3.dll", "cp37-abi3", id="stable ABI"),
        pytest.param("python3.dll", "cp312-cp312", id="stable ABI for one Python"),
        pytest.param("python39.dll", "cp39-none", id="one Python, no ABI said"),
        pytest.param("python37.dll", "cp37-cp37m", id="a Python with m"),
        pytest.param("python314t.dll", "cp314-cp314t", id="a free-threaded Python"),
    ],
)
def test_a_tag_that_the_binary_bears_out_is_right(dll: str, tag: str, analysed: Analyser) -> None:
    assert analysed(pyd=linked(dll), tag=tag).findings == ()


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("cv2/cv2.pyd", id="one for all Pythons"),
        pytest.param("cv2/cv2.cp39-win_amd64.pyd", id="one Python's"),
        pytest.param("cv2/python-3.9/cv2.cp39-win_amd64.pyd", id="in OpenCV's own layout"),
        pytest.param("cv2.pyd", id="at the root"),
    ],
)
def test_no_place_where_cv2_lies_is_refused(member: str, tmp_path: Path) -> None:
    pyd = make_dll("cv2.pyd", imports=CUDA_12)
    require_cv2(analyse(make_wheel(tmp_path / "x-1-cp39-cp39-win_amd64.whl", {member: pyd})))
    require_windows(parse_filename(Path("opencv_python-4.9-cp37-abi3-win_arm64.whl")))


class TestMemory:
    """A wheel that was looked through once is known by its hash, and by nothing less."""

    @pytest.fixture
    def memory(self, tmp_path: Path) -> Memory:
        return Memory(tmp_path / "seen")

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> Path:
        return wheelmaking.cuda_wheel(tmp_path, numpy=b"numpy._core._multiarray_umath")

    def test_gives_the_same_as_the_first_look(self, wheel: Path, memory: Memory) -> None:
        first = analyse(wheel, memory=memory)
        assert len(list(memory.folder.iterdir())) == 1
        assert analyse(wheel, memory=memory) == first == analyse(wheel)

    def test_knows_no_other_file_of_that_name_and_size(self, wheel: Path, memory: Memory) -> None:
        analyse(wheel, memory=memory)
        content = bytearray(wheel.read_bytes())
        content[content.index(b"cv2/cv2.pyd") + 80] ^= 1
        wheel.write_bytes(content)
        with pytest.raises(InputError):
            analyse(wheel, memory=memory)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            pytest.param("{", "", id="no JSON"),
            pytest.param('"images"', '"image"', id="a part is missing"),
            pytest.param('"machine": "x86-64"', '"machine": 64', id="another type"),
        ],
    )
    def test_forgets_a_damaged_entry(self, old: str, new: str, wheel: Path, memory: Memory) -> None:
        first = analyse(wheel, memory=memory)
        (entry,) = memory.folder.iterdir()
        text = entry.read_text("utf-8")
        entry.write_text(text.replace(old, new, 1), encoding="utf-8")
        assert analyse(wheel, memory=memory) == first
        assert entry.read_text("utf-8") == text

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            pytest.param("cv2/no.dll", "not-pe", id="refused for its binaries"),
            pytest.param("evil.pth", "at each start", id="refused for what lies beside them"),
        ],
    )
    def test_lets_no_wheel_in_that_is_refused(
        self, name: str, reason: str, tmp_path: Path, memory: Memory
    ) -> None:
        files = {"cv2/cv2.pyd": make_pyd(), name: b"import os\n"}
        wheel = make_wheel(tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl", files)
        if name.endswith(".pth"):
            analyse(wheel, allow_startup_hook=True, memory=memory)
        for _ in range(2):
            with pytest.raises(InputError, match=reason):
                analyse(wheel, memory=memory)

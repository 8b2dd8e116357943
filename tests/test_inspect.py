"""What a wheel's binaries and texts say: who needs which DLL, of which CUDA, and what to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import wheelmaking
from dllmaking import make_dll
from wheelmaking import make_pyd, make_wheel

from repack.inspect import Analysis, analyse, require_cv2, require_windows
from repack.wheel import parse_filename

_CUDA_12 = {"nppc64_12.dll": ["nppGetLibVersion"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
_NUMPY_1 = b"\0numpy.core._multiarray_umath\0numpy.core.multiarray failed to import\0"
_NUMPY_2 = b"\0numpy._core._multiarray_umath\0numpy.core._multiarray_umath\0"
_CONFIG = (
    "import os\n\n"
    "BINARIES_PATHS = [\n"
    "    os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin'),\n"
    "    os.path.join(os.getenv('CUDA_PATH', '%s'), 'bin')\n"
    "] + BINARIES_PATHS\n"
)
_TOOLKITS = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"


def _config(version: str) -> bytes:
    return (_CONFIG % f"{_TOOLKITS}/{version}").encode()


@pytest.fixture
def analysed(tmp_path: Path) -> Analyser:
    return Analyser(tmp_path)


class Analyser:
    """Makes a wheel of opencv-python's layout and analyses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(  # noqa: PLR0913 - a wheel's parts
        self,
        *,
        pyd: bytes | None = None,
        files: Mapping[str, bytes] | None = None,
        name: str = "opencv_python",
        version: str = "4.9.0.80",
        tag: str = "cp37-abi3-win_amd64",
        requires: Sequence[str] = ("numpy",),
        pythons: Sequence[str] = ("3.7", "3.12"),
    ) -> Analysis:
        whole = {
            "cv2/__init__.py": b"from .cv2 import *\n",
            "cv2/cv2.pyd": make_pyd(_CUDA_12) if pyd is None else pyd,
            **(files or {}),
        }
        path = self._folder / f"{name}-{version}-{tag}.whl"
        return analyse(make_wheel(path, whole, requires=requires), pythons=pythons)


def _codes(analysis: Analysis) -> list[str]:
    return [finding.code for finding in analysis.findings]


def _message(analysis: Analysis, code: str) -> str:
    (finding,) = (finding for finding in analysis.findings if finding.code == code)
    return finding.message


def _answers(analysis: Analysis) -> dict[str, str | None]:
    return {need.dll.name: need.in_wheel for need in analysis.needs}


def test_a_one_file_build_says_which_dlls_it_needs(analysed: Analyser) -> None:
    pyd = make_pyd(
        {**_CUDA_12, "nvcuda.dll": ["cuInit"], "KERNEL32.dll": ["Sleep"]},
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
    assert (analysis.cuda_major, analysis.abi3) == (12, True)
    assert analysis.findings == ()


def test_a_wheel_that_delvewheel_has_repaired_is_a_cuda_build(analysed: Analyser) -> None:
    npp, driver = (
        f"{name}-0123456789abcdef0123456789abcdef.dll" for name in ("nppc64_12", "nvcuda")
    )
    folder = "opencv_python.libs"
    analysis = analysed(
        pyd=make_pyd({npp: ["nppGetLibVersion"], driver: ["cuInit"]}),
        files={f"{folder}/{npp}": make_dll(npp), f"{folder}/{driver}": make_dll(driver)},
    )
    assert analysis.cuda_major == 12
    assert {need.dll.family: need.in_wheel for need in analysis.needs} == {
        "npp": f"{folder}/{npp}",
        "driver": f"{folder}/{driver}",
        "python": None,
    }
    assert _codes(analysis) == ["vendored-driver", "vendored-without-licence"]


def test_a_large_module_is_read_whole(analysed: Analyser) -> None:
    code = bytes(range(256)) * 12_000
    pyd = make_dll("cv2.pyd", code={"run": code}, imports=_CUDA_12)
    # A mark may lie across the edge of two pieces that are looked through.
    content = pyd + bytes((1 << 22) - len(pyd) - 9) + _NUMPY_2
    analysis = analysed(pyd=content)
    assert {need.dll.name for need in analysis.needs} == set(_CUDA_12)
    assert analysis.numpy == "2"


class TestFollowing:
    def test_reaches_dlls_that_lie_in_the_wheel(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd({"opencv_core490.dll": ["a"], "OPENCV_CUDAARITHM490.DLL": ["b"]}),
            files={
                "cv2/opencv_core490.dll": make_dll("opencv_core490.dll"),
                "cv2/opencv_cudaarithm490.dll": make_dll(
                    "opencv_cudaarithm490.dll",
                    imports={"opencv_core490.dll": ["a"], "cufft64_11.dll": ["cufftPlan1d"]},
                ),
                "cv2/opencv_unused490.dll": make_dll("x.dll", imports={"npps64_11.dll": ["x"]}),
            },
        )
        needs = {need.dll.key: need for need in analysis.needs}
        assert needs["cufft64_11.dll"].needed_by == ("cv2/opencv_cudaarithm490.dll",)
        assert needs["cufft64_11.dll"].in_wheel is None
        assert needs["opencv_core490.dll"].in_wheel == "cv2/opencv_core490.dll"
        assert needs["opencv_core490.dll"].needed_by == (
            "cv2/cv2.pyd",
            "cv2/opencv_cudaarithm490.dll",
        )
        assert "npps64_11.dll" not in needs
        assert analysis.cuda_major == 12

    def test_takes_the_dll_beside_the_module_before_another(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd({"a.dll": ["x"], "b.dll": ["x"]}),
            files={
                "aaa/a.dll": make_dll("a.dll"),
                "cv2/A.dll": make_dll("a.dll"),
                "cv2.libs/b.dll": make_dll("b.dll"),
            },
        )
        answers = _answers(analysis)
        assert (answers["a.dll"], answers["b.dll"]) == ("cv2/A.dll", "cv2.libs/b.dll")

    def test_calls_delayed_what_only_a_delayed_dll_loads(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd(_CUDA_12, delay_imports={"late.dll": ["x"]}),
            files={"cv2/late.dll": make_dll("late.dll", imports={"cufft64_11.dll": ["x"]})},
        )
        delayed = {need.dll.name for need in analysis.needs if need.delayed}
        assert delayed == {"late.dll", "cufft64_11.dll"}

    def test_ends_where_dlls_need_each_other(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd({"a.dll": ["x"]}),
            files={
                "cv2/a.dll": make_dll("a.dll", imports={"b.dll": ["x"]}),
                "cv2/b.dll": make_dll("b.dll", imports={"a.dll": ["x"]}),
            },
        )
        assert _answers(analysis)["b.dll"] == "cv2/b.dll"


class TestCudaVersion:
    @pytest.mark.parametrize(
        ("version", "files", "expected"),
        [
            pytest.param("4.9", {}, None, id="not said"),
            pytest.param("4.9", {"cv2/config.py": _config("v12.6")}, (12, 6), id="in config.py"),
            pytest.param(
                "4.9",
                {"cv2/_cuda_build.py": b'"""What."""\n\nBUILD = {"cuda": (12, 3), "x": ()}\n'},
                (12, 3),
                id="in what repack wrote",
            ),
            pytest.param(
                "4.9", {"cv2/_cuda_build.py": b'BUILD = {"cuda": None}\n'}, None, id="None there"
            ),
            pytest.param("4.9", {"cv2/_cuda_build.py": b"BUILD = f()\n"}, None, id="code there"),
            pytest.param("4.9+cu126", {}, (12, 6), id="in the local version"),
            pytest.param("4.9+cu1210.x", {}, (12, 10), id="with a minor of two digits"),
            pytest.param("4.9+cu12", {}, None, id="without a minor"),
        ],
    )
    def test_is_taken_from_what_the_wheel_says(
        self,
        version: str,
        files: dict[str, bytes],
        expected: tuple[int, int] | None,
        analysed: Analyser,
    ) -> None:
        analysis = analysed(version=version, files=files)
        assert (analysis.cuda_major, analysis.cuda_version) == (12, expected)
        assert analysis.findings == ()

    def test_is_not_taken_where_the_binary_says_otherwise(self, analysed: Analyser) -> None:
        analysis = analysed(files={"cv2/config.py": _config("v11.8")})
        assert (analysis.cuda_major, analysis.cuda_version) == (12, None)
        assert _codes(analysis) == ["cuda-version-contradicted"]
        assert "cv2/config.py says CUDA 11.8" in _message(analysis, "cuda-version-contradicted")

    def test_decides_where_the_names_leave_two_majors(self, analysed: Analyser) -> None:
        pyd = make_pyd({"cufft64_10.dll": ["x"]})
        assert analysed(pyd=pyd).cuda_major is None
        assert analysed(pyd=pyd, version="4.9+cu118").cuda_major == 11

    def test_has_no_minor_of_another_major(self, analysed: Analyser) -> None:
        pyd = make_pyd({"cufft64_10.dll": ["x"]})
        analysis = analysed(pyd=pyd, name="opencv_cu102", version="4.9+cu11")
        assert (analysis.cuda_major, analysis.cuda_version) == (11, None)

    def test_decides_where_only_the_driver_is_imported(self, analysed: Analyser) -> None:
        analysis = analysed(pyd=make_pyd({"nvcuda.dll": ["cuInit"]}), version="4.9+cu126")
        assert (analysis.cuda_major, analysis.cuda_version) == (12, (12, 6))
        assert analysis.findings == ()

    def test_is_none_for_a_build_that_needs_no_cuda(self, analysed: Analyser) -> None:
        analysis = analysed(pyd=make_pyd(), version="4.9+cu126")
        assert (analysis.cuda_major, analysis.cuda_version) == (None, None)


class TestNumPy:
    @pytest.mark.parametrize(
        ("marks", "expected"),
        [
            pytest.param(b"", None, id="none"),
            pytest.param(_NUMPY_1, "1", id="built on NumPy 1"),
            pytest.param(b"\0numpy.core.multiarray\0", "1", id="on one before 1.16"),
            pytest.param(_NUMPY_2, "2", id="built on NumPy 2"),
            pytest.param(b"numpy.core.multiarray failed", None, id="a message alone"),
        ],
    )
    def test_abi_is_read_from_the_binary(
        self, marks: bytes, expected: str | None, analysed: Analyser
    ) -> None:
        assert analysed(pyd=make_pyd(_CUDA_12) + marks).numpy == expected

    @pytest.mark.parametrize(
        ("marks", "tag", "requires", "code"),
        [
            pytest.param(_NUMPY_1, "cp37-abi3", [], "numpy-missing", id="none required"),
            pytest.param(_NUMPY_2, "cp37-abi3", ["torch"], "numpy-missing", id="another one"),
            pytest.param(_NUMPY_1, "cp37-abi3", ["numpy>=1.17"], "numpy-contradicted", id="no cap"),
            pytest.param(
                _NUMPY_1,
                "cp37-abi3",
                ['numpy<2; python_version < "3.12"', 'numpy>=1.26; python_version >= "3.12"'],
                "numpy-contradicted",
                id="no cap on a newer Python",
            ),
            pytest.param(_NUMPY_1, "cp37-abi3", ["numpy<2,>=1.17"], None, id="capped"),
            pytest.param(
                _NUMPY_1,
                "cp37-abi3",
                ['numpy; sys_platform == "linux"', "numpy==1.*"],
                None,
                id="capped on Windows",
            ),
            pytest.param(_NUMPY_1, "cp37-cp37m", ["numpy"], None, id="NumPy 2 has no such Python"),
            pytest.param(_NUMPY_2, "cp37-abi3", ["numpy"], None, id="NumPy 2's runs on both"),
            pytest.param(b"", "cp37-abi3", [], None, id="not used"),
        ],
    )
    def test_requirement_must_fit_the_binary(
        self, marks: bytes, tag: str, requires: list[str], code: str | None, analysed: Analyser
    ) -> None:
        pyd = make_dll("cv2.pyd", imports={"python37.dll" if "m" in tag else "python3.dll": ["x"]})
        with_cuda = make_dll("c.dll", imports=_CUDA_12)
        analysis = analysed(
            pyd=pyd + marks,
            tag=f"{tag}-win_amd64",
            requires=requires,
            files={"cv2/c.dll": with_cuda},
        )
        said = [found for found in _codes(analysis) if found.startswith("numpy")]
        assert said == ([code] if code else [])

    @pytest.mark.parametrize(
        ("pythons", "expected"),
        [
            pytest.param(["3.7"], [], id="that there is no NumPy 2 for"),
            pytest.param(["3.7", "3.12"], ["numpy-contradicted"], id="of which one has it"),
            pytest.param([], [], id="none"),
        ],
    )
    def test_findings_concern_the_pythons_asked_for(
        self, pythons: list[str], expected: list[str], analysed: Analyser
    ) -> None:
        requires = ['numpy<2; python_version < "3.9"', 'numpy; python_version >= "3.9"']
        analysis = analysed(pyd=make_pyd(_CUDA_12) + _NUMPY_1, requires=requires, pythons=pythons)
        assert _codes(analysis) == expected


class TestFindings:
    def test_a_build_without_cuda_that_says_it_has(self, analysed: Analyser) -> None:
        analysis = analysed(
            pyd=make_pyd(), name="opencv_cu126", files={"cv2/config.py": _config("v12.6")}
        )
        assert _codes(analysis) == ["not-cuda"]
        assert _message(analysis, "not-cuda") == (
            "a build without CUDA: no module in it imports a CUDA DLL, though "
            "cv2/config.py says CUDA 12.6, its name says CUDA 12.6"
        )

    def test_a_build_without_cuda_that_says_nothing(self, analysed: Analyser) -> None:
        message = _message(analysed(pyd=make_pyd()), "not-cuda")
        assert message == "a build without CUDA: no module in it imports a CUDA DLL"

    def test_directories_of_the_build_machine(self, analysed: Analyser) -> None:
        config = _config("v12.6").replace(
            b"os.path.join(LOADER_DIR, '../../')", b"'F:/make_software/install'"
        )
        local = b"PYTHON_EXTENSIONS_PATHS = ['F:\\python39\\Lib'] + PYTHON_EXTENSIONS_PATHS\r\n"
        analysis = analysed(files={"cv2/config.py": config, "cv2/config-3.9.py": local})
        assert [(found.code, found.member) for found in analysis.findings] == [
            ("build-machine-path", "cv2/config-3.9.py"),
            ("build-machine-path", "cv2/config.py"),
        ]
        assert r"F:\\python39\\Lib" in analysis.findings[0].message
        assert "F:/make_software/install" in analysis.findings[1].message
        assert "NVIDIA" not in analysis.findings[1].message

    def test_a_configuration_that_is_no_python(self, analysed: Analyser) -> None:
        config = _config("v12.6").replace(b"'x64/vc17/bin'),", b"'x64/vc17/bin')")
        assert _codes(analysed(files={"cv2/config.py": config})) == ["config-broken"]

    @pytest.mark.parametrize(
        ("pyd", "member", "tag", "reason"),
        [
            pytest.param(
                make_pyd(_CUDA_12, machine="x86"), "cv2/cv2.pyd", "cp37-abi3", "for x86,", id="x86"
            ),
            pytest.param(
                make_pyd(_CUDA_12, machine="arm64"),
                "cv2/cv2.pyd",
                "cp37-abi3",
                "for arm64,",
                id="arm64",
            ),
            pytest.param(
                make_dll("cv2.pyd", imports={"python39.dll": ["x"], **_CUDA_12}),
                "cv2/cv2.pyd",
                "cp37-abi3",
                "imports python39.dll",
                id="one Python's DLL under a tag for all",
            ),
            pytest.param(
                make_dll("cv2.pyd", imports={"python311.dll": ["x"], **_CUDA_12}),
                "cv2/cv2.pyd",
                "cp312-cp312",
                "imports python311.dll",
                id="another Python's DLL",
            ),
            pytest.param(
                make_pyd(_CUDA_12),
                "cv2/cv2.pyd",
                "cp314-cp314t",
                "free-threaded Python does not have",
                id="the stable ABI on a free-threaded Python",
            ),
            pytest.param(
                make_dll("cv2.pyd", imports={"python312.dll": ["x"], **_CUDA_12}),
                "cv2/cv2.cp311-win_amd64.pyd",
                "cp312-cp312",
                "its name says cp311-win_amd64",
                id="another Python's suffix",
            ),
        ],
    )
    def test_a_tag_that_the_binary_contradicts(
        self, pyd: bytes, member: str, tag: str, reason: str, analysed: Analyser
    ) -> None:
        cpu = make_dll("cv2.pyd", imports=_CUDA_12)
        files = {member: pyd, **({} if member == "cv2/cv2.pyd" else {"cv2/cv2.pyd": cpu})}
        analysis = analysed(files=files, tag=f"{tag}-win_amd64")
        assert _codes(analysis) == ["tag-mismatch"]
        assert reason in _message(analysis, "tag-mismatch")
        assert analysis.findings[0].member == member

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
    def test_no_tag_that_the_binary_bears_out(self, dll: str, tag: str, analysed: Analyser) -> None:
        pyd = make_dll("cv2.pyd", imports={dll: ["x"], **_CUDA_12})
        assert analysed(pyd=pyd, tag=f"{tag}-win_amd64").findings == ()

    def test_a_binary_in_a_wheel_that_calls_itself_pure(self, analysed: Analyser) -> None:
        lying = wheelmaking.wheel_file(["cp37-abi3-win_amd64"], purelib=True)
        analysis = analysed(files={"opencv_python-4.9.0.80.dist-info/WHEEL": lying})
        assert _codes(analysis) == ["purelib-mismatch"]

    def test_dlls_of_two_cuda_majors(self, analysed: Analyser) -> None:
        analysis = analysed(pyd=make_pyd({**_CUDA_12, "cufft64_10.dll": ["x"]}))
        assert _codes(analysis) == ["cuda-majors-mixed"]
        assert "cufft64_10.dll (CUDA 10, 11)" in _message(analysis, "cuda-majors-mixed")
        assert analysis.cuda_major is None

    def test_a_file_that_python_runs_at_each_start(self, tmp_path: Path) -> None:
        files = {"cv2/cv2.pyd": make_pyd(_CUDA_12), "cv2.pth": b"import cv2\n"}
        path = make_wheel(tmp_path / "opencv_python-4.9-cp37-abi3-win_amd64.whl", files)
        analysis = analyse(path, allow_startup_hook=True)
        assert [(found.code, found.member) for found in analysis.findings] == [
            ("startup-hook", "cv2.pth")
        ]

    def test_a_dll_that_nobody_knows(self, analysed: Analyser) -> None:
        analysis = analysed(pyd=make_pyd({**_CUDA_12, "libopenblas.dll": ["x"]}))
        assert _codes(analysis) == ["unknown-dll"]
        assert "needs libopenblas.dll" in _message(analysis, "unknown-dll")


class TestRefusals:
    @pytest.mark.parametrize(
        "member",
        [
            pytest.param("cv2/cv2.pyd", id="one for all Pythons"),
            pytest.param("cv2/cv2.cp39-win_amd64.pyd", id="one Python's"),
            pytest.param("cv2/python-3.9/cv2.cp39-win_amd64.pyd", id="in OpenCV's own layout"),
            pytest.param("cv2.pyd", id="at the root"),
        ],
    )
    def test_no_place_where_cv2_lies(self, member: str, tmp_path: Path) -> None:
        pyd = make_dll("cv2.pyd", imports=_CUDA_12)
        require_cv2(analyse(make_wheel(tmp_path / "x-1-cp39-cp39-win_amd64.whl", {member: pyd})))

    def test_no_wheel_for_windows(self) -> None:
        require_windows(parse_filename(Path("opencv_python-4.9-cp37-abi3-win_arm64.whl")))


def test_the_same_wheel_gives_the_same_analysis(tmp_path: Path) -> None:
    path = wheelmaking.cuda_wheel(tmp_path)
    assert analyse(path) == analyse(path)

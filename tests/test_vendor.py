"""`repack build --mode vendor`: which DLLs are in the wheel, as what, and which are not."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from driving import Repack, everything
from nvidia import (
    CUBLAS,
    CUBLAS_LT,
    CUDART,
    CUDNN,
    CUDNN_PARTS,
    CUSPARSE,
    DRIVER,
    LICENCE,
    NPPC,
    NPPIF,
    NVJITLINK,
    NVJPEG,
    NVRTC,
    NVRTC_BUILTINS,
    SIGNATURE,
    Pretended,
    nvidia_wheels,
    toolkit,
)
from wheelmaking import make_pyd, make_wheel

from repack.patching import builtin_folder
from repack.wheel import open_archive

LIBS = "opencv_contrib_python.libs"
TAG = "cp37-abi3-win_amd64"
NEEDS = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
    "KERNEL32.dll": ["GetProcAddress"],
}
DNN = {**NEEDS, "cudnn64_9.dll": ["cudnnGetVersion"], "cublas64_12.dll": ["cublasCreate_v2"]}


class Shop:
    """Builds wheels in vendor mode, from wheels of a folder that takes the place of the index."""

    def __init__(self, repack: Repack, folder: Path) -> None:
        self.repack = repack
        self.folder = folder
        self.index = nvidia_wheels(folder / "index")

    def source(
        self,
        needs: Mapping[str, Sequence[str]] | None = None,
        *,
        delayed: Mapping[str, Sequence[str]] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Return a wheel whose cv2.pyd imports what `needs` says."""
        pyd = make_pyd(NEEDS if needs is None else needs, delay_imports=delayed)
        content = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": pyd, **(files or {})}
        path = self.folder / f"opencv_contrib_python-4.13.0.90-{TAG}.whl"
        return make_wheel(path, content, requires=["numpy>=2"])

    def build(self, source: Path, *options: object, python: str = "3.12") -> dict[str, Any]:
        """Return what `repack build` said of a wheel that it made."""
        ran = self.run(source, *options, python=python)
        assert ran.code == 0, ran.err
        told: dict[str, Any] = ran.json
        return told

    def run(self, source: Path, *options: object, python: str = "3.12") -> Any:  # noqa: ANN401
        return self.repack(
            *("build", "--source", source, "--mode", "vendor", "--no-smoke", "--json", "-q"),
            *("--python", python, *options),
        )

    def refused(self, source: Path, *options: object) -> str:
        """Return the one line that says why there is no wheel; nothing was written."""
        ran = self.run(source, *options)
        assert ran.code == 1
        assert not (self.repack.folder / "dist").exists()
        return str(ran.error)


@pytest.fixture
def shop(tmp_path: Path, repack: Repack, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(repack, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    return made


def opened(told: Mapping[str, Any]) -> zipfile.ZipFile:
    """Return the wheel that a build has told of."""
    return zipfile.ZipFile(told["wheels"][0]["path"])


def vendored(told: Mapping[str, Any]) -> list[str]:
    """Return the names of the DLLs that lie in the wheel's own folder for them."""
    with opened(told) as wheel:
        names = wheel.namelist()
    return sorted(name.removeprefix(f"{LIBS}/") for name in names if name.startswith(LIBS))


def codes(told: Mapping[str, Any]) -> list[str]:
    return [finding["code"] for finding in told["findings"]]


def names(*dlls: Pretended) -> list[str]:
    return sorted(dll.name for dll in dlls)


def option(key: str, value: object) -> tuple[str, str]:
    return "--set", f"{key}={json.dumps(value)}"


PLAIN = (CUDART, NPPC, NPPIF)
JPEG = {**NEEDS, "nvjpeg64_12.dll": ["nvjpegCreate"]}
LATE = {"cublas64_12.dll": ["cublasCreate_v2"]}
CORE = Pretended(name="opencv_core.dll", imports=LATE)
BESIDE = {"cv2/opencv_core.dll": CORE.content}
ALLOWED = option("allow.unlisted-dlls", ["NVJPEG64_12.dll"])
DNN_LOADS = (CUBLAS, CUBLAS_LT, CUDNN, *CUDNN_PARTS, NVRTC, NVRTC_BUILTINS)
NOTHING = {"KERNEL32.dll": ["Sleep"]}
#: Of the wheel what it needs, what it needs late and what lies in it; options; DLLs and findings.
CHOICES: dict[str, tuple[Any, Any, Any, tuple[str, ...], tuple[Pretended, ...], list[str]]] = {
    "what is imported, and what that imports": (NEEDS, {}, {}, (), PLAIN, []),
    "by DLLs beside the module": (
        {**NEEDS, "opencv_core.dll": ["function"]},
        {},
        BESIDE,
        (),
        (*PLAIN, CUBLAS, CUBLAS_LT),
        [],
    ),
    "cuDNN's parts, and what it loads by name": (DNN, {}, {}, (), (*PLAIN, *DNN_LOADS), []),
    "delay-loaded": (NEEDS, LATE, {}, (), (*PLAIN, CUBLAS, CUBLAS_LT), []),
    "not what the licence does not list": (JPEG, {}, {}, (), PLAIN, ["not-listed"]),
    "allowed by name": (JPEG, {}, {}, ALLOWED, (*PLAIN, NVJPEG), ["unlisted-shipped"]),
    "nothing": (NOTHING, {}, {}, (), (), ["not-cuda", "nothing-to-vendor"]),
}


@pytest.mark.parametrize("case", CHOICES)
def test_exactly_what_is_asked_for_is_in_the_wheel(case: str, shop: Shop) -> None:
    needs, delayed, files, options, dlls, findings = CHOICES[case]
    told = shop.build(shop.source(needs, delayed=delayed, files=files), *options)
    assert vendored(told) == names(*dlls)
    assert codes(told) == findings
    assert told["left_out"] == ([NVJPEG.name] if "not-listed" in findings else [])


class TestChoice:
    def test_a_cudnn_that_lacks_a_part_is_spoken_of(self, shop: Shop, tmp_path: Path) -> None:
        parts = [part for part in CUDNN_PARTS if "heuristic" not in part.name]
        folder = toolkit(tmp_path / "cudnn", CUDNN, *parts)
        told = shop.build(shop.source(DNN), *option("vendor.dll-dirs", [str(folder)]))
        assert codes(told) == ["vendored-incomplete"]

    def test_families_can_be_chosen_and_the_others_are_left_to_the_machine(
        self, shop: Shop
    ) -> None:
        told = shop.build(shop.source(DNN), *option("vendor.families", ["npp", "cudart"]))
        assert vendored(told) == names(CUDART, NPPC, NPPIF)
        assert told["left_out"] == [CUBLAS.name, CUDNN.name]
        families = build_facts(told)["families"]
        assert families["cudnn"] == (CUDNN.name,)
        assert families["cublas"] == (CUBLAS.name, "cublasLt64_12.dll")

    def test_what_a_vendored_dll_needs_and_may_not_be_is_looked_for_on_the_machine(
        self, shop: Shop
    ) -> None:
        told = shop.build(shop.source({**NEEDS, "cusparse64_12.dll": ["cusparseCreate"]}))
        assert vendored(told) == names(CUDART, CUSPARSE, NPPC, NPPIF)
        assert build_facts(told)["families"]["nvjitlink"] == (NVJITLINK.name,)

    def test_the_driver_is_never_in_the_wheel_though_it_lies_on_the_search_path(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        folder = toolkit(tmp_path / "cuda", NPPC, NPPIF, CUDART, DRIVER)
        source = shop.source({**NEEDS, "nvcuda.dll": ["cuInit"]})
        told = shop.build(source, *option("vendor.dll-dirs", [str(folder)]))
        assert vendored(told) == names(CUDART, NPPC, NPPIF)
        assert codes(told) == ["driver-not-shipped"]

    def test_a_directory_comes_before_wheels_which_have_what_it_lacks(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        newer = Pretended(name=NPPC.name, exports=["nppGetLibVersion", "newer"])
        folder = toolkit(tmp_path / "cuda", newer, NPPIF)
        told = shop.build(shop.source(), *option("vendor.dll-dirs", [str(folder)]))
        with opened(told) as wheel:
            assert wheel.read(f"{LIBS}/{NPPC.name}") == newer.content
        origins = {each["member"]: each["origin"] for each in told["carried"]}
        assert origins[f"{LIBS}/{CUDART.name}"] == "nvidia-cuda-runtime-cu12 12.9.79"


class TestRefusals:
    def test_a_dll_that_is_nowhere(self, shop: Shop) -> None:
        (shop.index / "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl").unlink()
        assert "nvidia-npp-cu12" in shop.refused(shop.source())

    def test_a_dll_that_a_named_wheel_does_not_hold(self, shop: Shop) -> None:
        said = shop.refused(shop.source(), *option("vendor.dlls", ["nvidia-npp-cu12"]))
        assert said == (
            "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl: cudart64_12.dll, which "
            "cv2/cv2.pyd needs, is nowhere to be had; looked into: nvidia-npp-cu12 12.4.1.87 "
            "[no-dll]; name a directory that holds it under vendor.dll-dirs, or leave its family "
            "out of vendor.families"
        )

    def test_a_dll_that_is_too_old_for_the_binary(self, shop: Shop) -> None:
        source = shop.source({**NEEDS, "nppif64_12.dll": ["nppiFilter_8u_C1R", "nppiNewer"]})
        assert shop.refused(source) == (
            "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl: nppif64_12.dll of "
            "nvidia-npp-cu12 12.4.1.87 has no nppiNewer, which cv2/cv2.pyd asks for "
            "[symbol-missing]; take the release of CUDA that the wheel was built with, under "
            "vendor.dlls or vendor.dll-dirs"
        )

    def test_a_wheel_larger_than_the_index_takes_with_what_weighs_most(self, shop: Shop) -> None:
        said = shop.refused(shop.source(), *option("publish.max-size", "4 kB"))
        assert "the index takes 0.0 MB: " in said
        assert "nppif64_12.dll" in said
        assert "[too-large]" in said

    def test_a_directory_that_is_not_there(self, shop: Shop, tmp_path: Path) -> None:
        said = shop.refused(shop.source(), *option("vendor.dll-dirs", [str(tmp_path / "nowhere")]))
        assert said.startswith(f"{tmp_path / 'nowhere'}: there is no such file")


class TestContent:
    def test_each_dll_is_nvidias_to_the_byte_signature_and_all(self, shop: Shop) -> None:
        with opened(shop.build(shop.source())) as wheel:
            for dll in (NPPC, NPPIF, CUDART):
                content = wheel.read(f"{LIBS}/{dll.name}")
                assert content == dll.content
                assert content.endswith(SIGNATURE)

    def test_what_lies_deflated_in_nvidias_wheel_is_copied_as_it_lies(self, shop: Shop) -> None:
        told = shop.build(shop.source())
        theirs = open_archive(shop.index / "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl")
        ours = open_archive(Path(told["wheels"][0]["path"]))
        before = theirs.member(f"nvidia/npp/bin/{NPPIF.name}")
        after = ours.member(f"{LIBS}/{NPPIF.name}")
        assert before is not None
        assert after is not None
        assert (after.method, after.compressed_size) == (before.method, before.compressed_size)
        assert raw(ours.path, after) == raw(theirs.path, before)

    def test_what_lies_in_a_directory_is_deflated(self, shop: Shop, tmp_path: Path) -> None:
        folder = toolkit(tmp_path / "cuda", NPPC, NPPIF, CUDART)
        with opened(shop.build(shop.source(), *option("vendor.dll-dirs", [str(folder)]))) as wheel:
            info = wheel.getinfo(f"{LIBS}/{NPPIF.name}")
            assert info.compress_type == zipfile.ZIP_DEFLATED
            assert wheel.read(info) == NPPIF.content

    def test_record_has_a_true_row_for_each_dll(self, shop: Shop) -> None:
        with opened(shop.build(shop.source())) as wheel:
            (record,) = [name for name in wheel.namelist() if name.endswith("/RECORD")]
            rows = dict(line.split(",", 1) for line in wheel.read(record).decode().splitlines())
            for dll in (NPPC, NPPIF, CUDART):
                digest = base64.urlsafe_b64encode(hashlib.sha256(dll.content).digest())
                row = f"sha256={digest.rstrip(b'=').decode()},{len(dll.content)}"
                assert rows[f"{LIBS}/{dll.name}"] == row

    def test_the_licence_of_each_wheel_lies_in_licenses(self, shop: Shop) -> None:
        with opened(shop.build(shop.source())) as wheel:
            licences = [name for name in wheel.namelist() if "/licenses/" in name]
            assert [name.split("/licenses/")[1] for name in licences] == [
                "nvidia-cuda-runtime-cu12-12.9.79/License.txt",
                "nvidia-npp-cu12-12.4.1.87/License.txt",
            ]
            assert {wheel.read(name) for name in licences} == {LICENCE}

    def test_the_licence_of_a_toolkit_is_found_beside_its_bin(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        folder = toolkit(tmp_path / "cuda", NPPC, NPPIF, CUDART)
        told = shop.build(shop.source(), *option("vendor.dll-dirs", [str(folder)]))
        with opened(told) as wheel:
            (licence,) = [name for name in wheel.namelist() if "/licenses/" in name]
            assert wheel.read(licence) == LICENCE

    def test_a_toolkit_without_one_is_spoken_of(self, shop: Shop, tmp_path: Path) -> None:
        folder = toolkit(tmp_path / "cuda", NPPC, NPPIF, CUDART, licence=False)
        told = shop.build(shop.source(), *option("vendor.dll-dirs", [str(folder)]))
        assert codes(told) == ["licence-missing"]

    def test_the_run_time_module_is_told_where_they_lie(self, shop: Shop) -> None:
        assert build_facts(shop.build(shop.source()))["vendored"] == (LIBS,)

    def test_the_sbom_names_each_dll_and_the_wheel_it_came_from(self, shop: Shop) -> None:
        told = shop.build(shop.source())
        with opened(told) as wheel:
            (name,) = [name for name in wheel.namelist() if "/sboms/" in name]
            sbom = json.loads(wheel.read(name))
        parts = {part["name"]: part for part in sbom["components"]}
        assert sorted(parts) == names(CUDART, NPPC, NPPIF)
        digest = hashlib.sha256(NPPC.content).hexdigest()
        assert parts[NPPC.name]["hashes"] == [{"alg": "SHA-256", "content": digest}]
        filename = "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"
        assert parts[NPPC.name]["purl"].endswith(f"nvidia-npp-cu12@12.4.1.87?file_name={filename}")
        (source,) = sbom["metadata"]["component"]["pedigree"]["ancestors"]
        assert source["hashes"][0]["content"] == told["source"]["sha256"]


class TestWhole:
    def test_the_plan_tells_the_exact_size(self, shop: Shop) -> None:
        told = shop.build(shop.source(DNN))
        assert told["plan"][0]["size"] == told["wheels"][0]["size"]

    def test_a_dry_run_tells_the_same_and_writes_nothing(self, shop: Shop) -> None:
        source = shop.source(DNN)
        before = everything(shop.repack.folder)
        dry = shop.build(source, "--dry-run")
        assert everything(shop.repack.folder) == before
        real = shop.build(source)
        for key in ("plan", "carried", "left_out", "requires"):
            assert dry[key] == real[key]

    def test_the_same_input_gives_the_same_bytes(self, shop: Shop) -> None:
        source = shop.source(DNN)
        first = shop.build(source, "-w", "one")["wheels"][0]["sha256"]
        assert shop.build(source, "-w", "two")["wheels"][0]["sha256"] == first

    def test_every_mode_has_the_same_bytes_of_our_modules(self, shop: Shop) -> None:
        source = shop.source(TestDriverStub.NEEDS)
        modes: list[tuple[str, ...]] = [
            ("--mode", "patch"),
            ("--mode", "depend", "--driver-stub"),
            ("--mode", "vendor"),
        ]
        told = [shop.build(source, *mode, "-w", mode[1])["wheels"][0]["path"] for mode in modes]
        for name in ("cuda_dlls.py", "_cuda_report.py"):
            contents = {zipfile.ZipFile(path).read(f"cv2/{name}") for path in told}
            assert contents == {(builtin_folder() / "cv2" / name).read_bytes()}

    def test_a_wheel_that_delvewheel_has_repaired_keeps_what_it_has(self, shop: Shop) -> None:
        source = shop.source(
            {"nppc64_12-0123abcd.dll": ["nppGetLibVersion"], "cudart64_12.dll": ["function"]},
            files={
                f"{LIBS}/nppc64_12-0123abcd.dll": NPPC.content,
                f"{LIBS}/cudart64_12.dll": Pretended(name="cudart64_12.dll").content,
                "opencv_contrib_python-4.13.0.90.dist-info/DELVEWHEEL": b"Version: 1.13.2\n",
            },
        )
        told = shop.build(source)
        wanted = ["already-vendored", "nothing-to-vendor", "vendored-without-licence"]
        assert codes(told) == wanted
        assert vendored(told) == ["cudart64_12.dll", "nppc64_12-0123abcd.dll"]

    def test_a_damaged_wheel_of_nvidias_is_refused(self, shop: Shop) -> None:
        path = shop.index / "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"
        place = {f"nvidia/npp/bin/{dll.name}": dll.content for dll in (NPPC, NPPIF)}
        record = "nvidia_npp_cu12-12.4.1.87.dist-info/RECORD"
        make_wheel(path, {**place, record: f"{next(iter(place))},,\n{record},,\n".encode()})
        assert "[record]" in shop.refused(shop.source())


class TestDepend:
    def test_metadata_requires_nvidias_wheels_and_has_cudnn_as_an_extra(self, shop: Shop) -> None:
        source = shop.source(delayed={"cudnn64_9.dll": ["cudnnCreate"]})
        with opened(shop.build(source, "--mode", "depend")) as wheel:
            (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
            lines = wheel.read(name).decode().splitlines()
        assert [line for line in lines if line.startswith(("Requires-Dist", "Provides"))] == [
            "Requires-Dist: numpy>=2",
            "Requires-Dist: nvidia-cuda-runtime-cu12>=12,<13",
            "Requires-Dist: nvidia-npp-cu12>=12,<13",
            'Requires-Dist: nvidia-cudnn-cu12>=9,<10; extra == "dnn"',
            "Provides-Extra: dnn",
        ]

    def test_a_distribution_that_the_index_has_not_is_an_error_and_nothing_is_written(
        self, shop: Shop
    ) -> None:
        (shop.index / "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl").unlink()
        said = shop.refused(shop.source(), "--mode", "depend")
        assert said.startswith("nvidia-npp-cu12>=12,<13 for Python 3.12 on win_amd64: ")

    def test_offline_nobody_is_asked(self, shop: Shop) -> None:
        (shop.index / "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl").unlink()
        told = shop.build(shop.source(), "--mode", "depend", "--offline")
        assert "nvidia-npp-cu12>=12,<13" in told["requires"]

    def test_its_version_says_so(self, shop: Shop) -> None:
        told = shop.build(shop.source(), "--mode", "depend")
        assert "+cu12.depend-" in told["wheels"][0]["path"]


class TestDriverStub:
    NEEDS = MappingProxyType({**NEEDS, "nvcuda.dll": ["cuInit"]})

    @pytest.mark.parametrize("mode", ["patch", "depend", "vendor"])
    def test_it_goes_with_each_mode(self, shop: Shop, mode: str) -> None:
        told = shop.build(shop.source(self.NEEDS), "--mode", mode, "--driver-stub")
        assert build_facts(told)["stand_ins"] == {"nvcuda.dll": "cv2/stand-ins/nvcuda"}
        with opened(told) as wheel:
            assert "cv2/stand-ins/nvcuda/nvcuda.dll" in wheel.namelist()
        assert ".stub-" in told["wheels"][0]["path"]

    def test_without_it_there_is_none(self, shop: Shop) -> None:
        told = shop.build(shop.source(self.NEEDS), "--mode", "patch")
        assert build_facts(told)["stand_ins"] == {}


def raw(path: Path, member: Any) -> bytes:  # noqa: ANN401 - a member of repack's
    """Return a member's bytes as they lie in the archive."""
    return path.read_bytes()[member.offset : member.offset + member.compressed_size]


def build_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the wheel's run-time module is told of the build."""
    with opened(told) as wheel:
        text = wheel.read("cv2/_cuda_build.py").decode()
    facts: dict[str, Any] = ast.literal_eval(text.partition("BUILD = ")[2])
    return facts

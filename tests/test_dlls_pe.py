"""`pe` reads what other tools read, refuses what the loader refuses, writes what both take."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import lief
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repack.dlls import (
    Image,
    Import,
    LeftOutError,
    Spooled,
    make_dll,
    mere_code,
    mere_content,
    read_exports,
    read_image,
)
from repack.errors import InputError

_RETURN_42 = b"\xb8\x2a\x00\x00\x00\xc3"
_RETURN_TRUE = b"\xb8\x01\x00\x00\x00\xc3"


def _whole(machine: str = "x86-64") -> bytes:
    """Return a DLL that has every part `make_dll` can write."""
    return make_dll(
        "whole.dll",
        forwards={"Sleepy": "KERNEL32.Sleep", "another": "python312.PyObject_Repr"},
        code={"answer": _RETURN_42, "Zero": b"\x31\xc0\xc3"},
        imports={"KERNEL32.dll": ["Sleep", "GetTickCount"], "nppc64_12.dll": ["nppGetLibVersion"]},
        delay_imports={"cublas64_12.dll": ["cublasCreate_v2", "cublasDestroy_v2"]},
        entry_point=_RETURN_TRUE,
        machine=machine,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        path = tmp_path / "some.dll"
        path.write_bytes(content)
        return path

    return save


@pytest.mark.parametrize(
    ("machine", "wide"),
    [
        pytest.param("x86-64", True, id="x86-64"),
        pytest.param("arm64", True, id="arm64"),
        pytest.param("x86", False, id="x86"),
    ],
)
def test_reads_back_what_was_written(
    machine: str, *, wide: bool, saved: Callable[[bytes], Path]
) -> None:
    path = saved(_whole(machine))
    assert read_image(path, name="whole.dll") == Image(
        machine=machine,
        wide=wide,
        dll=True,
        imports=(
            Import(dll="KERNEL32.dll", symbols=("Sleep", "GetTickCount")),
            Import(dll="nppc64_12.dll", symbols=("nppGetLibVersion",)),
        ),
        delay_imports=(
            Import(dll="cublas64_12.dll", symbols=("cublasCreate_v2", "cublasDestroy_v2")),
        ),
    )
    assert read_exports(path) == ("Sleepy", "Zero", "another", "answer")


@pytest.mark.parametrize("machine", ["x86-64", "arm64", "x86"])
def test_another_reader_sees_the_same_dll(machine: str) -> None:
    binary = lief.PE.parse(list(_whole(machine)))
    assert isinstance(binary, lief.PE.Binary)
    assert [
        (entry.name, [symbol.name for symbol in entry.entries]) for entry in binary.imports
    ] == [
        ("KERNEL32.dll", ["Sleep", "GetTickCount"]),
        ("nppc64_12.dll", ["nppGetLibVersion"]),
    ]
    assert [entry.name for entry in binary.delay_imports] == ["cublas64_12.dll"]
    exports = binary.get_export()
    assert exports is not None
    assert exports.name == "whole.dll"
    assert {
        str(entry.name): entry.forward_information.library
        for entry in exports.entries
        if entry.is_forwarded
    } == {"Sleepy": "KERNEL32", "another": "python312"}


def test_the_same_parts_make_the_same_bytes() -> None:
    assert _whole() == _whole()
    assert make_dll("a.dll", forwards={"x": "b.x", "y": "b.y"}) == make_dll(
        "a.dll", forwards={"y": "b.y", "x": "b.x"}
    )


def test_a_dll_without_anything_is_still_a_dll(saved: Callable[[bytes], Path]) -> None:
    path = saved(make_dll("empty.dll"))
    assert read_image(path, name="empty.dll") == Image(machine="x86-64", wide=True, dll=True)
    assert read_exports(path) == ()


def test_an_export_cannot_be_code_and_forwarder_at_once() -> None:
    with pytest.raises(ValueError, match="answer"):
        make_dll("a.dll", code={"answer": _RETURN_42}, forwards={"answer": "b.answer"})


def test_a_dll_of_which_nothing_is_asked_is_no_import(saved: Callable[[bytes], Path]) -> None:
    path = saved(make_dll("a.dll", imports={"unused.dll": [], "KERNEL32.dll": ["Sleep"]}))
    assert [wanted.dll for wanted in read_image(path, name="a.dll").imports] == ["KERNEL32.dll"]


def test_a_section_is_read_from_whole_sectors_as_the_loader_does(
    saved: Callable[[bytes], Path],
) -> None:
    content = bytearray(_whole())
    content[content.index(b".rdata") + 20] += 1
    path = saved(bytes(content) + bytes(512))
    assert [wanted.dll for wanted in read_image(path, name="a.dll").imports] == [
        "KERNEL32.dll",
        "nppc64_12.dll",
    ]


def test_more_symbols_than_pefile_would_read_are_all_read(saved: Callable[[bytes], Path]) -> None:
    many = [f"symbol_{number}" for number in range(10_000)]
    path = saved(make_dll("a.dll", imports={"big.dll": many, "last.dll": ["x"]}))
    first, last = read_image(path, name="a.dll").imports
    assert first.symbols == tuple(many)
    assert last.dll == "last.dll"


@pytest.mark.parametrize("machine", ["x86-64", "x86"])
def test_a_symbol_asked_for_by_number_is_named_by_it(
    machine: str, saved: Callable[[bytes], Path]
) -> None:
    path = saved(make_dll("a.dll", imports={"WS2_32.dll": ["#115", "send"]}, machine=machine))
    (wanted,) = read_image(path, name="a.dll").imports
    assert wanted.symbols == ("#115", "send")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"MZ", "it has no PE header", id="two bytes"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            "it begins with 'version https://git-lfs.github.com/spec/', not with 'MZ'",
            id="a placeholder of a large-file store",
        ),
        pytest.param(b"\x7fELF" + bytes(100), "it begins with", id="a Linux library"),
        pytest.param(_whole()[:1000], "its section table|it is cut short", id="cut in the headers"),
        pytest.param(_whole()[:-600], "it is cut short: section", id="cut at the end"),
        pytest.param(
            _whole().replace(b"KERNEL32.dll", b"KERNEL|2.dll"),
            r"it asks for a DLL called 'KERNEL\|2.dll'",
            id="a name that no file can have",
        ),
    ],
)
def test_what_the_loader_would_not_take_is_refused_in_one_line(
    content: bytes, reason: str, saved: Callable[[bytes], Path]
) -> None:
    path = saved(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_image(path, name="cv2/cv2.pyd", file="some.whl")
    error = caught.value
    assert (error.code, error.file, error.member) == ("not-pe", "some.whl", "cv2/cv2.pyd")
    assert str(error).startswith("some.whl: 'cv2/cv2.pyd': not a Windows program or DLL: ")
    assert "\n" not in str(error)


def _is_read_or_refused(path: Path) -> None:
    _read_or_not_pe(lambda: read_image(path, name="some.dll"))
    _read_or_not_pe(lambda: read_exports(path))


def _read_or_not_pe(read: Callable[[], object]) -> None:
    try:
        read()
    except InputError as error:
        assert error.code == "not-pe"  # noqa: PT017 - either outcome is right


def test_every_truncation_is_refused(saved: Callable[[bytes], Path]) -> None:
    whole = _whole()
    # Less than a sector may go: what the padding holds is not part of the DLL.
    for size in range(0, len(whole) - 512, 7):
        path = saved(whole[:size])
        with pytest.raises(InputError, match="not-pe"):
            read_image(path, name="some.dll")


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=6))
def test_flipped_bytes_are_read_or_refused_and_nothing_else(
    flips: list[tuple[int, int]], saved: Callable[[bytes], Path]
) -> None:
    content = bytearray(_whole())
    for place, change in flips:
        content[place % len(content)] ^= change
    _is_read_or_refused(saved(bytes(content)))


def test_every_single_byte_of_the_headers_may_be_anything(saved: Callable[[bytes], Path]) -> None:
    whole = _whole()
    for place in range(0x200):
        for value in (0, 0x7F, 0xFF):
            content = bytearray(whole)
            content[place] = value
            _is_read_or_refused(saved(bytes(content)))


def test_a_table_without_end_ends(saved: Callable[[bytes], Path]) -> None:
    # Every descriptor points to one long list: few bytes, millions of symbols.
    content = make_dll("a.dll", imports={f"x{number}.dll": ["s"] * 4000 for number in range(200)})
    path = saved(content)
    with pytest.raises(InputError, match="its import table has no end"):
        read_image(path, name="a.dll")


class TestMereCode:
    CODE = bytes(range(1, 256)) * 400

    def large(self, *, rdata_flags: int = 0) -> bytes:
        """Return a DLL that is mostly code; the flags are added to those of its tables."""
        content = bytearray(
            make_dll("large.dll", code={"run": self.CODE}, imports={"nppc64_12.dll": ["nppGet"]})
        )
        flags = content.index(b".rdata\0\0") + 36
        content[flags : flags + 4] = struct.pack(
            "<I", struct.unpack_from("<I", content, flags)[0] | rdata_flags
        )
        return bytes(content)

    @pytest.mark.parametrize("flags", [0, 0x20], ids=["apart", "in a section of code"])
    def test_is_what_no_table_begins_in(self, flags: int) -> None:
        content = self.large(rdata_flags=flags)
        ((first, last),) = mere_code(content[:4096])
        assert content[first:last].rstrip(b"\0") == self.CODE.rstrip(b"\0")

    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"", id="of nothing"),
            pytest.param(b"version https://git-lfs", id="of a text"),
            pytest.param(b"MZ" + bytes(60), id="of half a header"),
        ],
    )
    def test_is_nothing_of_what_is_not_understood(self, head: bytes) -> None:
        assert mere_code(head) == ()


class TestMereContent:
    DATA = bytes(range(1, 256)) * 400

    def large(self) -> bytes:
        """Return a DLL that is mostly one section without tables, which is called data."""
        content = bytearray(
            make_dll(
                "large.dll", code={"run": self.DATA}, imports={"cudart64_12.dll": ["cudaMalloc"]}
            )
        )
        flags = content.index(b".text\0\0\0") + 36
        content[flags : flags + 4] = struct.pack("<I", 0x40000040)
        return bytes(content)

    def spooled(self, content: bytes, tmp_path: Path, size: int = 8192) -> Spooled:
        spooled = Spooled(tmp_path / "spooled.dll", mere_content)
        for start in range(0, len(content), size):
            spooled.write(content[start : start + size])
        spooled.close()
        return spooled

    def test_is_data_too_in_which_no_table_of_names_begins(self) -> None:
        content = self.large()
        (largest,) = (content[first:last] for first, last in mere_content(content[:4096])[:1])
        assert largest.rstrip(b"\0") == self.DATA.rstrip(b"\0")
        assert mere_code(content[:4096]) == ()

    def test_what_is_kept_of_a_file_tells_the_same_as_the_whole(
        self, saved: Callable[[bytes], Path], tmp_path: Path
    ) -> None:
        content = self.large()
        holed = self.spooled(content, tmp_path)
        assert holed.path.stat().st_size == len(content)
        assert holed.path.read_bytes().count(self.DATA[:255]) < 200
        whole, left_out = saved(content), holed.left_out
        assert read_image(holed.path, name="", left_out=left_out) == read_image(whole, name="")
        assert read_exports(holed.path, left_out=left_out) == read_exports(whole)

    def test_exports_that_lie_in_it_are_missed(self, saved: Callable[[bytes], Path]) -> None:
        content = self.large()
        with pytest.raises(LeftOutError):
            read_exports(saved(content), left_out=[(0, len(content))])

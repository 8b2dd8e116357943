"""PE files: read as other tools read them, refused as the loader refuses, written for both."""

from collections.abc import Callable
from pathlib import Path

import dllmaking
import lief
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repack.dlls.pe import Import, read_exports, read_image
from repack.dlls.writing import make_dll
from repack.errors import InputError

RETURN_42 = b"\xb8\x2a\x00\x00\x00\xc3"


def whole_dll(machine: str = "x86-64") -> bytes:
    """Return a DLL that has every kind of table."""
    return dllmaking.make_dll(
        "whole.dll",
        forwards={"Sleepy": "KERNEL32.Sleep", "another": "python312.PyObject_Repr"},
        code={"answer": RETURN_42, "Zero": b"\x31\xc0\xc3"},
        imports={"KERNEL32.dll": ["Sleep", "#12"], "nppc64_12.dll": ["nppGetLibVersion"]},
        delay_imports={"cublas64_12.dll": ["cublasCreate_v2", "cublasDestroy_v2"]},
        machine=machine,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        path = tmp_path / "some.dll"
        path.write_bytes(content)
        return path

    return save


@pytest.mark.parametrize("machine", ["x86-64", "arm64", "x86"])
def test_all_tables_of_a_dll_are_read(machine: str, saved: Callable[[bytes], Path]) -> None:
    image = read_image(saved(whole_dll(machine)))
    assert image.machine == machine
    assert image.imports == (
        Import(dll="KERNEL32.dll", symbols=("Sleep", "#12")),
        Import(dll="nppc64_12.dll", symbols=("nppGetLibVersion",)),
    )
    (late,) = image.delay_imports
    assert late == Import(dll="cublas64_12.dll", symbols=("cublasCreate_v2", "cublasDestroy_v2"))
    assert image.exports == ("Sleepy", "Zero", "another", "answer")


def test_all_symbols_are_read_where_pefile_stops_and_a_dll_without_any_is_left_out(
    saved: Callable[[bytes], Path],
) -> None:
    many = [f"symbol_{number}" for number in range(10_000)]
    imports = {"unused.dll": [], "big.dll": many, "last.dll": ["x"]}
    image = read_image(saved(dllmaking.make_dll("a.dll", imports=imports)))
    assert {imported.dll: list(imported.symbols) for imported in image.imports} == {
        "big.dll": many,
        "last.dll": ["x"],
    }


def test_a_section_is_read_from_whole_sectors_as_the_loader_does(
    saved: Callable[[bytes], Path],
) -> None:
    content = bytearray(whole_dll())
    content[content.index(b".text") + 20] += 1
    image = read_image(saved(bytes(content) + bytes(512)))
    assert [imported.dll for imported in image.imports] == ["KERNEL32.dll", "nppc64_12.dll"]


#: Every descriptor points to one long list: few bytes, millions of symbols.
ENDLESS = dllmaking.make_dll("a.dll", imports={f"x{n}.dll": ["s"] * 4000 for n in range(200)})
REFUSED = {
    "empty": (b"", "empty file"),
    "two bytes": (b"MZ", "Unable to read the DOS Header"),
    "half a header": (whole_dll()[:1000], "its section table|it is cut short"),
    "cut at the end": (whole_dll()[:-600], "it is cut short: section"),
    "no file's name": (whole_dll().replace(b"KERNEL32", b"KERNEL|2"), r"called 'KERNEL\|2.dll'"),
    "a table without end": (ENDLESS, "its import table has no end"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_loader_would_not_take_is_refused_in_one_line(
    content: bytes, reason: str, saved: Callable[[bytes], Path]
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_image(saved(content), name="cv2/cv2.pyd", file="some.whl")
    assert caught.value.code == "not-pe"
    assert str(caught.value).startswith("some.whl: 'cv2/cv2.pyd': not a Windows program or DLL: ")


def is_read_or_refused(path: Path) -> bool:
    """Return whether the file was read; any error but "not-pe" is raised."""
    try:
        read_image(path)
    except InputError as error:
        assert error.code == "not-pe"  # noqa: PT017 - either outcome is right
        return False
    return True


def test_every_truncation_is_refused(saved: Callable[[bytes], Path]) -> None:
    whole = whole_dll()
    # Less than a sector may go: what the padding holds is not part of the DLL.
    sizes = range(0, len(whole) - 512, 19)
    assert not [size for size in sizes if is_read_or_refused(saved(whole[:size]))]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=6))
def test_flipped_bytes_are_read_or_refused_and_nothing_else(
    flips: list[tuple[int, int]], saved: Callable[[bytes], Path]
) -> None:
    content = bytearray(whole_dll())
    for place, change in flips:
        content[place % len(content)] ^= change
    is_read_or_refused(saved(bytes(content)))


def test_another_reader_sees_the_exports_that_were_written(saved: Callable[[bytes], Path]) -> None:
    forwards = {"Sleepy": "KERNEL32.Sleep", "another": "python312.PyObject_Repr"}
    code = {"answer": RETURN_42, "#7": b"\xc3"}
    content = make_dll("made.dll", forwards=forwards, code=code)
    assert content == make_dll("made.dll", forwards=dict(reversed(forwards.items())), code=code)
    assert read_exports(saved(content)) == ("Sleepy", "another", "answer")
    binary = lief.PE.parse(list(content))
    assert isinstance(binary, lief.PE.Binary)
    exports = binary.get_export()
    assert exports is not None
    assert exports.name == "made.dll"
    entries = {str(entry.name): entry for entry in exports.entries}
    targets = {name: entry.forward_information.library for name, entry in entries.items()}
    assert (targets["Sleepy"], targets["another"]) == ("KERNEL32", "python312")
    numbers = {name: entry.ordinal for name, entry in entries.items() if entry.address}
    assert numbers == {"answer": 3, "": 7}
    address = entries["answer"].address
    assert bytes(binary.get_content_from_virtual_address(address, 6)) == RETURN_42

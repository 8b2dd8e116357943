"""`repack.lock`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wheelmaking import make_wheel

from repack.config import FileSource
from repack.errors import ConfigError, FetchError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import sha256_of
from repack.lock import Pin, difference, read_lock, write_lock

ONE = Pin(
    key="owner/repo 1 *.whl",
    filename="a-1-py3-none-any.whl",
    url="https://host/a-1-py3-none-any.whl",
    size=7,
    sha256="1" * 64,
)
TWO = Pin(
    key="numpy<2 for Python 3.12 on win_amd64",
    filename="numpy-1.26.4-cp312-cp312-win_amd64.whl",
    url="pkg:pypi/numpy@1.26.4?file_name=numpy-1.26.4-cp312-cp312-win_amd64.whl",
    size=15,
    sha256="2" * 64,
)
BOTH = {pin.key: pin for pin in (ONE, TWO)}

texts = st.text(st.characters(codec="utf-8"), max_size=20)
pins = st.builds(
    Pin,
    key=texts,
    filename=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,20}", fullmatch=True),
    url=texts,
    size=st.integers(0, 2**40),
    sha256=st.just("1" * 64),
)


def test_what_is_written_is_read_again_and_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "repack.lock"
    assert read_lock(path) == {}
    write_lock(path, BOTH)
    assert read_lock(path) == BOTH
    head, first, second = path.read_text(encoding="utf-8").split("\n[[source]]\n")
    assert "`repack build --update-lock` renews it" in head
    assert head.endswith("\nversion = 1\n")
    assert first.splitlines()[:2] == [f'key = "{TWO.key}"', f'filename = "{TWO.filename}"']
    assert second.splitlines()[2:] == [f'url = "{ONE.url}"', "size = 7", f'sha256 = "{"1" * 64}"']
    before = path.stat().st_ino
    write_lock(path, dict(reversed(BOTH.items())))
    assert path.stat().st_ino == before


@given(st.lists(pins, unique_by=lambda pin: pin.key, max_size=4))
def test_any_pins_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, some: list[Pin]
) -> None:
    path = tmp_path_factory.getbasetemp() / "repack.lock"
    write_lock(path, {pin.key: pin for pin in some})
    assert read_lock(path) == {pin.key: pin for pin in some}


def test_two_locks_differ_by_lines_that_a_person_reads() -> None:
    renewed = Pin(key=ONE.key, filename="a-2.whl", url="https://b", size=7, sha256="3" * 64)
    added = Pin(key="z", filename="z.whl", url="https://z", size=1, sha256="4" * 64)
    old = f"{ONE.url} ({ONE.filename}, 7 bytes, sha256 {'1' * 64})"
    assert difference(BOTH, BOTH | {ONE.key: renewed, "z": added}) == (
        f"~ {ONE.key}: {old} -> https://b (a-2.whl, 7 bytes, sha256 {'3' * 64})",
        f"+ z: https://z (z.whl, 1 bytes, sha256 {'4' * 64})",
    )
    assert difference(BOTH, BOTH) == ()


ENTRY = f"""
[[source]]
key = "{ONE.key}"
filename = "{ONE.filename}"
url = "{ONE.url}"
size = 7
sha256 = "{ONE.sha256}"
"""
#: A text, and a part of the reason.
BROKEN = {
    "no TOML": ("version = 1\n[[source", "is not TOML in UTF-8: "),
    "newer": ("version = 2", "Invalid enum value 2 - at `$.version`"),
    "lacks": (ENTRY.replace("size = 7\n", ""), "missing required field `size`"),
    "hash": (ENTRY.replace("1" * 64, "1" * 63), "Expected `str` matching regex"),
    "path": (ENTRY.replace('"a-1', '"../a-1'), "Expected `str` matching regex"),
    "twice": (ENTRY + ENTRY, f"'{ONE.key}' is pinned twice"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_file_broken_by_hand_is_said_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "repack.lock"
    path.write_text(text if text.startswith("version") else "version = 1\n" + text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_lock(path)
    assert str(caught.value).startswith(f"{path}: is no")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; delete the file, or take it from version control again")
    assert "\n" not in str(caught.value)


# Two processes, one lock

WHEEL = "x-1-py3-none-any.whl"


def fetched(folder: Path, content: str, *, update: bool = False) -> Supply:
    """Return a supply that has fetched a wheel of that content, and pinned nothing yet."""
    (folder / content).mkdir()
    wheel = make_wheel(folder / content / WHEEL, {"x.py": content.encode()})
    supply = Supply(Cache(folder / "cache"), folder / "repack.lock", offline=True, update=update)
    supply.fetch(FileSource(path=wheel))
    return supply


def test_the_first_to_pin_a_source_is_right_until_one_renews_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "repack.lock"
    first, second = fetched(tmp_path, "a"), fetched(tmp_path, "b")
    # What another process has pinned meanwhile stays.
    write_lock(lock, {TWO.key: TWO})
    assert len(first.keep()) == 1
    assert list(read_lock(lock)) == [f"file:{WHEEL}", TWO.key]
    before = lock.read_bytes()
    with pytest.raises(FetchError, match=r"repack\.lock says"):
        second.keep()
    assert lock.read_bytes() == before
    assert fetched(tmp_path, "c", update=True).keep()
    assert read_lock(lock)[f"file:{WHEEL}"].sha256 == sha256_of(tmp_path / "c" / WHEEL)

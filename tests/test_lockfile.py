"""`repack.lock`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wheelmaking import make_wheel

from repack.config import FileSource
from repack.console import SILENT
from repack.errors import ConfigError, FetchError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import sha256_of
from repack.lock import Lock, Pin, difference, format_lock, read_lock, write_lock

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
BOTH = Lock().with_pin(ONE).with_pin(TWO)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,20}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
pins = st.builds(
    Pin,
    key=texts,
    filename=names,
    url=texts,
    size=st.integers(0, 2**40),
    sha256=st.from_regex("[0-9a-f]{64}", fullmatch=True),
)


def test_what_is_written_is_read_again_and_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "repack.lock"
    assert read_lock(path) == Lock()
    write_lock(path, BOTH)
    assert read_lock(path) == BOTH
    head, first, second = path.read_text(encoding="utf-8").split("\n[[source]]\n")
    assert "`repack build --update-lock` renews it" in head
    assert head.endswith("\nversion = 1\n")
    assert first.splitlines()[:2] == [f'key = "{TWO.key}"', f'filename = "{TWO.filename}"']
    assert second.splitlines()[2:] == [f'url = "{ONE.url}"', "size = 7", f'sha256 = "{"1" * 64}"']
    before = path.stat().st_ino
    write_lock(path, BOTH)
    assert path.stat().st_ino == before


@given(st.lists(pins, unique_by=lambda pin: pin.key, max_size=4))
def test_any_pins_survive_the_file_in_whatever_order_they_came(
    tmp_path_factory: pytest.TempPathFactory, some: list[Pin]
) -> None:
    path = tmp_path_factory.mktemp("lock") / "repack.lock"
    forth, back = Lock(), Lock()
    for pin in some:
        forth = forth.with_pin(pin)
    for pin in reversed(some):
        back = back.with_pin(pin)
    assert format_lock(forth) == format_lock(back)
    write_lock(path, forth)
    assert read_lock(path) == forth


def test_two_locks_differ_by_lines_that_a_person_reads() -> None:
    renewed = Pin(key=ONE.key, filename="a-2.whl", url=ONE.url, size=7, sha256="3" * 64)
    added = Pin(key="z", filename="z.whl", url="https://host/z.whl", size=1, sha256="4" * 64)
    new = Lock().with_pin(renewed).with_pin(added)
    assert difference(BOTH, new) == (
        f"- {TWO.key}: {TWO.filename}",
        f"~ {ONE.key}",
        "    filename: a-1-py3-none-any.whl -> a-2.whl",
        f"    sha256: {'1' * 64} -> {'3' * 64}",
        f"+ z: z.whl, 1 bytes, sha256 {'4' * 64}",
    )
    assert difference(BOTH, BOTH) == ()


ENTRY = format_lock(Lock().with_pin(ONE))
#: A text, and a part of the reason.
BROKEN = {
    "no TOML": ("version = 1\n[[source", "is not TOML in UTF-8: "),
    "newer": ("version = 2", "Invalid enum value 2 - at `$.version`"),
    "lacks": (ENTRY.replace("size = 7\n", ""), "missing required field `size`"),
    "hash": (ENTRY.replace("1" * 64, "1" * 63), "Expected `str` matching regex"),
    "path": (ENTRY.replace('"a-1', '"../a-1'), "Expected `str` matching regex"),
    "twice": (ENTRY + ENTRY.partition("version = 1")[2], f"'{ONE.key}' is pinned twice"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_file_broken_by_hand_is_said_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "repack.lock"
    path.write_text(text, encoding="utf-8")
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
    lock, cache = folder / "repack.lock", Cache(root=folder / "cache")
    supply = Supply(cache, lock, offline=True, update=update, progress=SILENT)
    supply.fetch(FileSource(path=wheel))
    return supply


def test_what_another_process_has_pinned_meanwhile_stays(tmp_path: Path) -> None:
    ours = fetched(tmp_path, "a")
    lock = tmp_path / "repack.lock"
    theirs = Pin(key="theirs", filename="a.whl", url="file:a.whl", size=1, sha256="1" * 64)
    write_lock(lock, read_lock(tmp_path / "none").with_pin(theirs))
    assert len(ours.keep()) == 1
    assert [pin.key for pin in read_lock(lock).pins] == [f"file:{WHEEL}", "theirs"]


def test_the_first_to_pin_a_source_is_right_until_one_renews_the_lock(tmp_path: Path) -> None:
    first, second = fetched(tmp_path, "a"), fetched(tmp_path, "b")
    first.keep()
    before = (tmp_path / "repack.lock").read_bytes()
    with pytest.raises(FetchError, match="another build has pinned it meanwhile"):
        second.keep()
    assert (tmp_path / "repack.lock").read_bytes() == before
    renewing = fetched(tmp_path, "c", update=True)
    assert renewing.keep()
    (pin,) = read_lock(tmp_path / "repack.lock").pins
    assert pin.sha256 == sha256_of(tmp_path / "c" / WHEEL)

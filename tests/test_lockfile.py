"""`repack.lock`."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from wheelmaking import make_wheel

from repack.config import FileSource
from repack.errors import ConfigError, FetchError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import sha256_of
from repack.lock import Pin, read_lock, write_lock

PIN = Pin(
    key='owner/repo 1 "\\é\x1f\x7f.whl',
    filename="a-1-py3-none-any.whl",
    url="https://host/a-1-py3-none-any.whl",
    size=7,
    sha256="1" * 64,
)
PINS = {PIN.key: PIN, "a": replace(PIN, key="a")}


def test_what_is_written_is_read_again_and_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "repack.lock"
    assert read_lock(path) == {}
    write_lock(path, PINS)
    assert list(read_lock(path).items()) == sorted(PINS.items())
    assert "`repack build --update-lock` renews it" in path.read_text(encoding="utf-8")
    before = path.stat().st_ino
    write_lock(path, dict(reversed(PINS.items())))
    assert path.stat().st_ino == before


#: A text, and a part of the reason.
BROKEN = {
    "newer": ("version = 1\n[[source]]\nnew = 1\n", "unknown field `new`"),
    "path": ('version = 1\n[[source]]\nkey = "a"\nfilename = "../a"\n', "matching regex"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_file_broken_by_hand_is_said_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "repack.lock"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason) as caught:
        read_lock(path)
    assert str(caught.value).startswith(f"{path}: is not a lock file of this version of repack: ")
    assert "\n" not in str(caught.value)


WHEEL = "x-1-py3-none-any.whl"
#: A name of another encoding than the system's.
LOCK = "r\udce9pack.lock"


def fetched(folder: Path, content: str, *, update: bool = False) -> Supply:
    """Return a supply that has fetched a wheel of that content, and pinned nothing yet."""
    (folder / content).mkdir()
    wheel = make_wheel(folder / content / WHEEL, {"x.py": content.encode()})
    supply = Supply(Cache(folder / "cache"), folder / LOCK, offline=True, update=update)
    supply.fetch(FileSource(path=wheel))
    return supply


def test_the_first_to_pin_a_source_is_right_until_one_renews_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    first, second = fetched(tmp_path, "a"), fetched(tmp_path, "b")
    # What another process has pinned meanwhile stays.
    write_lock(lock, {PIN.key: PIN})
    (added,) = first.keep()
    assert added.startswith(f"+ file:{WHEEL}: file:{WHEEL} (")
    assert list(read_lock(lock)) == [f"file:{WHEEL}", PIN.key]
    before = lock.read_bytes()
    with pytest.raises(FetchError, match=r"repack\.lock says"):
        second.keep()
    assert lock.read_bytes() == before
    (renewed,) = fetched(tmp_path, "c", update=True).keep()
    assert renewed.startswith(f"~ file:{WHEEL}: ")
    assert " -> " in renewed
    assert read_lock(lock)[f"file:{WHEEL}"].sha256 == sha256_of(tmp_path / "c" / WHEEL)

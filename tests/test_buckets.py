"""An index in a bucket, on a genuine S3 server and in processes of their own."""

import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from driving import Repack
from obstore.store import from_url
from platforms import POSIX
from publishing import PROJECT, checked, published, tiny
from s3server import ACCESS_KEY, SECRET_KEY, S3Server

pytestmark = [POSIX, pytest.mark.usefixtures("s3")]
Capture = pytest.CaptureFixture[str]


def test_of_two_wheels_of_one_name_the_second_is_refused(
    tmp_path: Path, s3: S3Server, capsys: Capture
) -> None:
    place = f"s3://team/{uuid.uuid4().hex}"
    wheel = tiny(tmp_path / "a", "1.0")
    tiny(tmp_path / "b", "1.0", value=2)
    published(capsys, tmp_path / "a", "--index-dir", place)
    # As if the first had put its wheel, and not yet written any page.
    store = from_url(place, client_options={"allow_http": True})
    for key in ("index.json", "index.html", f"{PROJECT}/index.json", f"{PROJECT}/index.html"):
        obstore.delete(store, key)
    answer = published(capsys, tmp_path / "b", "--index-dir", place, code=1)
    assert answer["error"]["code"] == "other-bytes"
    assert (s3.folder(place) / PROJECT / wheel.name).read_bytes() == wheel.read_bytes()
    published(capsys, tmp_path / "a", "--index-dir", place)
    assert checked(capsys, place)["faults"] == []


def test_whoever_is_overtaken_by_another_at_any_write_loses_nothing_of_either(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another publishes, and is done, just before the n-th change of an object."""
    tiny(tmp_path / "one", "1.0")
    tiny(tmp_path / "two", "2.0")
    tiny(tmp_path / "two", "1.0", name="other_thing")
    originals = {name: getattr(obstore, name) for name in ("put", "copy", "delete")}
    number, left = 0, -1
    while number == 0 or left < 0:
        left = number
        place = f"s3://team/{uuid.uuid4().hex}"

        def overtaken(call: Callable[..., object], place: str) -> Callable[..., object]:
            def wrapper(*args: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left == -1:
                    published(capsys, tmp_path / "two", "--index-dir", place)
                return call(*args, **named)

            return wrapper

        with monkeypatch.context() as patch:
            for name, call in originals.items():
                patch.setattr(obstore, name, overtaken(call, place))
            published(capsys, tmp_path / "one", "--index-dir", place)
        answer = checked(capsys, place)
        assert (answer["files"], answer["faults"]) == (3 if left < 0 else 1, []), number
        number += 1
    assert number > 8


KEY, SERVER = "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"


@pytest.mark.parametrize(
    ("place", "changed", "code", "reason"),
    [
        pytest.param("s3://nobody/x", {}, 1, "NoSuchBucket", id="no such bucket"),
        pytest.param("s3://team/x", {KEY: "wrong"}, 1, "SignatureDoesNotMatch", id="wrong key"),
        pytest.param("s3://team/x", {SERVER: "http://127.0.0.1:9"}, 1, "error", id="down"),
        pytest.param("memory://x", {}, 2, "name a folder, or a bucket", id="another scheme"),
        pytest.param("https://x/simple", {}, 2, "name a folder, or a bucket", id="a web site"),
        pytest.param("s3://me:pw@team/x", {}, 2, "without a password", id="a password"),
    ],
)
def test_a_fault_is_one_line_without_a_key(  # noqa: PLR0913, PLR0917 - fixtures and a row
    place: str,
    changed: dict[str, str],
    code: int,
    reason: str,
    repack: Repack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    tiny(repack.folder / "dist")
    ran = repack("publish", "--index-dir", place)
    assert (ran.code, reason in ran.error) == (code, True)
    assert code == 2 or f"{place}: the store says: " in ran.error
    assert not re.search(f":pw|{ACCESS_KEY}|{SECRET_KEY}", ran.error)


def test_where_obstore_is_missing_what_installs_it_is_said(
    repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    ran = repack("publish", "--check", "--index-dir", "s3://team/x")
    assert (ran.code, "python -m pip install obstore" in ran.error) == (2, True)

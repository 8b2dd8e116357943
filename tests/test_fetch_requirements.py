"""Index requirements, through the real pip, from a small index on loopback."""

import base64
import functools
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faultserver import Exchange, Resource, answers, serve
from fetching import Site, fetch, hurry, no_proxies, pin_of, refuse, sha256
from wheelmaking import make_wheel, metadata

from repack.config import IndexSource
from repack.fetch import Fetched, pin_key
from repack.fetch.cache import Cache
from repack.lock import Pin

CP310 = "sample_cu126-4.12.0-cp310-none-win_amd64.whl"
ABI3 = "sample_cu126-4.13.0-cp37-abi3-win_amd64.whl"
THREADED = "sample_cu126-4.13.0-cp314-cp314t-win_amd64.whl"
LINUX = "sample_cu126-4.14.0-cp37-abi3-manylinux_2_28_x86_64.whl"
LOCAL = "sample_cu126-4.11.0+cu126-py3-none-any.whl"
NAMES = (CP310, ABI3, THREADED, LINUX, LOCAL)
PAGE = "/simple/sample-cu126/"
SOURCE = IndexSource(requirement="sample-cu126==4.13.0", python="3.12")


@functools.cache
def wheel(name: str) -> bytes:
    """The wheel of that name."""
    content = random.Random(name).randbytes(700_000)  # noqa: S311 - no secret
    with TemporaryDirectory() as folder:
        files = {"cv2/cv2.pyd": content}
        return make_wheel(Path(folder, name), files, requires=["unasked"]).read_bytes()


class Index(Site):
    """An index that pip reads, and the cache of those who fetch from it."""

    def list_wheels(self, *names: str, is_modern: bool = True) -> None:
        """Fill the project's page; an old one says neither hashes nor that there is metadata."""
        links = ""
        for name in names:
            place = f"/files/{name.replace('+', '%2B')}"
            self.add(place, wheel(name))
            told = metadata("sample-cu126", name.split("-")[1], "Requires-Dist: unasked")
            self.add(f"{place}.metadata", told)
            more = f'#sha256={sha256(wheel(name))}" data-core-metadata="true' if is_modern else ""
            links += f'<a href="{place}{more}">{name}</a>\n'
        self.add(PAGE, f"<!DOCTYPE html><html>{links}</html>".encode(), kind="text/html", etag=None)

    def take(self, source: IndexSource = SOURCE, pin: Pin | None = None) -> Fetched:
        return fetch(source, self.cache, pin)

    def downloads(self) -> list[str]:
        """The wheels that were asked for, by name."""
        asked = [seen.path.rpartition("/")[2] for seen in self.seen if seen.command == "GET"]
        return [name for name in asked if name.endswith(".whl")]


@pytest.fixture
def index(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index that the user's environment names."""
    no_proxies(monkeypatch)
    hurry(monkeypatch)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_KEYRING_PROVIDER", "subprocess")
    # With which pip would not list its settings, or not those of the environment.
    monkeypatch.setenv("PIP_PYTHON", "/no/such/python")
    monkeypatch.setenv("PIP_ISOLATED", "1")
    with Index(cache) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url("/simple/"))
        index.list_wheels(*NAMES)
        yield index


REQUIREMENTS = {
    "for one Python": ("sample-cu126==4.12.0", "3.10", CP310),
    "free-threaded": ("sample-cu126==4.13.0", "3.14t", THREADED),
    "a local version": ("sample-cu126==4.11.0+cu126", "3.12", LOCAL),
}


@pytest.mark.parametrize(("requirement", "python", "name"), REQUIREMENTS.values(), ids=REQUIREMENTS)
def test_pip_finds_the_wheel_of_a_python(
    index: Index, requirement: str, python: str, name: str
) -> None:
    fetched = index.take(IndexSource(requirement=requirement, python=python))
    assert fetched.path == index.cache.place(sha256(wheel(name)), name)
    assert fetched.path.read_bytes() == wheel(name)
    escaped, version = name.replace("+", "%2B"), name.split("-")[1].replace("+", "%2B")
    assert index.downloads() == [escaped]
    # What it is called on whatever mirror it lies.
    assert fetched.pin.url == f"pkg:pypi/sample-cu126@{version}?file_name={escaped}"
    assert str(index.port) not in str(fetched.pin)


def test_a_pin_binds_pip_to_its_version_and_file_though_another_fits_better(index: Index) -> None:
    added = ABI3.replace("cp37-abi3", "cp312-none")
    index.list_wheels(*NAMES, added)
    assert index.take().pin.filename == added
    source = IndexSource(requirement="sample-cu126")
    pin = pin_of(pin_key(source), wheel(ABI3), ABI3)
    assert index.take(source, pin).path.read_bytes() == wheel(ABI3)


def test_an_old_index_is_asked_for_a_part_of_the_wheel(index: Index, tmp_path: Path) -> None:
    index.list_wheels(*NAMES, is_modern=False)
    assert index.take().path.read_bytes() == wheel(ABI3)
    asked = [seen for seen in index.seen if seen.path.endswith(ABI3)]
    assert [seen.command for seen in asked if "range" not in seen.headers] == ["HEAD", "GET"]
    index.add(f"/files/{ABI3}", wheel(ABI3), answers("405 Method Not Allowed"))
    index.cache = Cache(tmp_path / "another")
    assert index.take().path.read_bytes() == wheel(ABI3)


def test_a_pip_of_the_working_directory_is_not_run(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('planted')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert index.take().pin.filename == ABI3


#: What the user has told pip about how and where to install, and what it may say to us.
SETTINGS = (
    *("user=1", "target=elsewhere", "report=elsewhere.json", "require-hashes=1", "quiet=3"),
    *("no-binary=:all:", "platform=any", "python-version=2.7", "pre=1"),
)


def test_settings_about_how_and_where_to_install_do_not_reach_us(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["[install]", f"index-url = {index.url('/simple/')}", *SETTINGS]
    monkeypatch.delenv("PIP_INDEX_URL")
    (tmp_path / "pip.conf").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for setting in SETTINGS:
        name, _, value = setting.partition("=")
        monkeypatch.setenv(f"PIP_{name.upper().replace('-', '_')}", value)
    assert index.take().path.read_bytes() == wheel(ABI3)
    assert index.downloads() == [ABI3]
    assert {path.name for path in tmp_path.iterdir()} == {"pip.conf", "cache"}


LOGIN = f"Basic {base64.b64encode(b'team:s3cr@t').decode()}"


def guard(exchange: Exchange, resource: Resource) -> None:
    """Serve those who have the right name and password."""
    resource.faults.append(guard)
    if exchange.headers.get("authorization") == LOGIN:
        serve(exchange, resource)
    else:
        asked = {"WWW-Authenticate": 'Basic realm="team"', "Content-Length": "0"}
        exchange.send("401 Unauthorized", asked)


@pytest.mark.skipif(sys.platform == "win32", reason="the keyring here is a shell script")
@pytest.mark.parametrize(
    ("login", "way"), [("team:s3cr%40t@", "URL"), ("", "netrc"), ("team@", "keyring")]
)
def test_a_private_index_is_read_with_the_password_that_pip_knows(
    login: str, way: str, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for resource in index.resources.values():
        resource.faults.append(guard)
    monkeypatch.setenv("PIP_INDEX_URL", index.url("/simple/").replace("://", f"://{login}"))
    # After the URL's, before keyring's: whose password is old is asked further.
    netrc, password = tmp_path / "netrc", "s3cr@t" if way == "netrc" else "old"
    netrc.write_text(f"machine 127.0.0.1 login team password {password}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    if way == "keyring":
        reply = json.dumps({"username": "team", "password": "s3cr@t"})
        (tmp_path / "keyring").write_text(f"#!/bin/sh\necho '{reply}'\n", encoding="utf-8")
        (tmp_path / "keyring").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    fetched = index.take()
    assert fetched.path.read_bytes() == wheel(ABI3)
    # Whom we are not let in as, pip may be.
    client = "pip/" if way == "keyring" else "repack/"
    assert index.seen[-1].headers["user-agent"].startswith(client)
    assert "s3cr" not in str(fetched.pin)


def test_what_an_index_lacks_is_told_in_a_line(index: Index) -> None:
    index.list_wheels(CP310)
    error = refuse(IndexSource(requirement="sample-cu126==4.12.0", python="3.14"), index.cache)
    assert error.code == "no-such-version"
    assert error.file == "sample-cu126==4.12.0 for Python 3.14 on win_amd64"
    assert "the index has no such wheel: " in str(error)
    assert "No matching distribution found for sample-cu126==4.12.0" in str(error)


#: What pip is told, and a part of the reason: none of it says that the wheel is not there.
NOT_ASKED = {
    "wants a password": ({}, "401 Error, Credentials not correct"),
    "is not there": ({"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "1"}, "refused"),
    "no value": ({"PIP_NO_INDEX": "maybe"}, "maybe is not a valid value"),
    "knows nobody": ({}, "EOFError"),
}


@pytest.mark.parametrize("case", NOT_ASKED)
def test_an_index_that_cannot_be_asked_is_told(
    case: str, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, reason = NOT_ASKED[case]
    index.resources[PAGE].faults.append(guard)
    login = "" if case == "knows nobody" else "team:wrong@"
    url = index.url("/simple/").replace("://", f"://{login}")
    for name, value in {"PIP_INDEX_URL": url, **variables}.items():
        monkeypatch.setenv(name, value)
    error = refuse(SOURCE, index.cache)
    assert error.code == "index"
    assert reason in str(error)
    assert "wrong" not in str(error)
    assert "a name and a password go into pip's index-url, .netrc or keyring" in error.hint

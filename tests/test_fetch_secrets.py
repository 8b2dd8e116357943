"""No secret of a URL, a variable or a login stands in any file, wheel or message."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import Repack
from faultserver import FaultServer, answers
from fetching import no_proxies
from wheelmaking import cuda_wheel

SECRET = "hunter2-of-the-team"  # noqa: S105 - looked for, and good for nothing


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    no_proxies(monkeypatch)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_KEYRING_PROVIDER", "disabled")
    return cuda_wheel(tmp_path)


def contents(folder: Path) -> Iterator[bytes]:
    """What all files of the folder hold, and what lies in the wheels."""
    for path in sorted(folder.rglob("*")):
        yield str(path).encode()
        if path.is_file() and path.name != "repack.toml":
            yield path.read_bytes()
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                yield from map(archive.read, archive.namelist())


def build(repack: Repack, source: str, *, code: int) -> None:
    """Build from that source, and look for the secret everywhere."""
    (repack.folder / "repack.toml").write_text(f"[source]\n{source}\n", encoding="utf-8")
    ran = repack("build", "-vv", "--no-smoke", "--python", "3.12")
    assert ran.code == code, ran.err
    assert SECRET not in ran.out + ran.err
    assert not [text for text in contents(repack.folder.parent) if SECRET.encode() in text]


def test_no_part_of_a_signed_url_is_kept(repack: Repack, server: FaultServer, wheel: Path) -> None:
    signed = [f"/{wheel.name}?X-Amz-Signature={SECRET}-{number}" for number in (1, 2)]
    for path in signed:
        server.add(path, wheel.read_bytes(), answers("404 Not Found"))
        build(repack, f'url = "{server.url(path)}"', code=1)
        server.add(path, wheel.read_bytes())
    build(repack, f'url = "{server.url(signed[0])}"', code=0)
    files = {path.name: path.read_bytes() for path in (repack.folder / "dist").iterdir()}
    server.seen.clear()
    build(repack, f'url = "{server.url(signed[1])}"', code=0)
    assert {path.name: path.read_bytes() for path in (repack.folder / "dist").iterdir()} == files
    assert not server.seen


def test_of_an_index_are_kept(
    repack: Repack, server: FaultServer, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("/simple/").replace("://", f"://team:{SECRET}@")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    project = wheel.name.split("-")[0].replace("_", "-")
    page = f'<a href="/{wheel.name}?token={SECRET}">{wheel.name}</a>'
    server.add(f"/simple/{project}/", page.encode(), kind="text/html", etag=None)
    server.add(f"/{wheel.name}?token={SECRET}", b"", *[answers("403 No")] * 40)
    build(repack, f'requirement = "{project}"', code=1)
    server.add(f"/{wheel.name}?token={SECRET}", wheel.read_bytes())
    build(repack, f'requirement = "{project}"', code=0)
    assert server.seen[-1].headers["authorization"].startswith("Basic ")

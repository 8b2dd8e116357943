"""GitHub releases, from a loopback copy of the release API."""

from pathlib import Path
from typing import Any

import pytest
from faultserver import FaultServer, answers, ends_after
from fetching import NAME, REPOSITORY, GitHub, make_content, pin_of, sha256

from repack.fetch import pin_key
from repack.fetch.cache import Cache

CONTENT = make_content()
RELEASES = f"/repos/{REPOSITORY}/releases"
RELEASE, ASSET = f"{RELEASES}/tags/4.13.0.90", f"{RELEASES}/assets/1"
PRE = b'[{"tag_name": "5.0rc1"}, {"tag_name": "5.0b1"}]'
LINUX = "opencv_contrib_python-4.13.0.90-cp37-abi3-linux_x86_64.whl"


def test_an_asset_is_fetched_by_the_api_and_pinned_by_its_url(github: GitHub) -> None:
    github.release("4.13.0.90", {NAME: CONTENT, LINUX: make_content(seed=1)})
    signed = github.storage.resources["/storage/1?X-Amz-Signature=secret"]
    signed.faults.append(ends_after(9_000))
    fetched = github.get()
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.pin.url == f"https://github.com/{REPOSITORY}/releases/download/4.13.0.90/{NAME}"
    # A signed address does not live long: the API is asked for another.
    assert github.api.paths() == [RELEASE, ASSET, ASSET]
    accepted = [seen.headers["accept"] for seen in github.api.seen[:2]]
    assert accepted == ["application/vnd.github+json", "application/octet-stream"]
    assert github.storage.seen[1].headers["range"] == "bytes=9000-"
    # Its digest says that it is here already.
    github.get()
    assert len(github.storage.seen) == 2
    github.api.seen.clear()
    assert github.get(pin=fetched.pin) == fetched
    assert not github.api.seen


def test_the_latest_release_is_that_of_the_pin(github: GitHub, tmp_path: Path) -> None:
    github.release("4.13.0/90", {NAME: CONTENT})
    github.get(tag="4.13.0/90")
    assert github.api.paths()[0].endswith("/releases/tags/4.13.0%2F90")
    pin = github.get(tag=None).pin
    assert pin.key == f"{REPOSITORY} (latest release) *win_amd64.whl"
    github.release("4.14", {NAME.replace("13", "14"): make_content(seed=1)})
    github.cache = Cache(tmp_path / "another")
    assert github.get(tag=None, pin=pin).path.read_bytes() == CONTENT


def test_assets_of_which_not_one_matches_are_told(github: GitHub) -> None:
    github.release("4.13.0.90", {NAME: CONTENT, LINUX: CONTENT})
    reason = f"2 assets match '*.whl'; there are {LINUX}, {NAME}"
    assert reason in str(github.refused(asset="*.whl"))


def test_a_digest_is_held_unless_there_is_none_or_lock_or_settings_say_otherwise(
    github: GitHub,
) -> None:
    github.release("4.13.0.90", {NAME: CONTENT}, digest=f"sha256:{'0' * 64}")
    assert f"has SHA-256 {sha256(CONTENT)}, the server says {'0' * 64}" in str(github.refused())
    pin = pin_of(pin_key(github.source()), make_content(seed=1))
    assert "the release lacks" in str(github.refused(pin=pin))
    assert github.get(sha256=sha256(CONTENT)).sha256 == sha256(CONTENT)
    github.release("4.13.0.90", {NAME: CONTENT}, digest=None)
    assert github.get().sha256 == sha256(CONTENT)


OURS = ("GH_TOKEN", "GITHUB_TOKEN", "OUR_TOKEN")


@pytest.fixture
def public(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    """A release on the GitHub that a workflow says it runs on."""
    monkeypatch.setenv("GITHUB_API_URL", github.api.url(""))
    github.release("4.13.0.90", {NAME: CONTENT})
    return github


def sent(server: FaultServer) -> list[str | None]:
    return [seen.headers.get("authorization") for seen in server.seen]


@pytest.mark.parametrize("name", OURS)
def test_a_token_goes_to_the_api_and_nowhere_else_whatever_netrc_says(
    name: str, public: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv(name, " sec\nret\n")
    public.api.resources[RELEASE].faults.append(answers("401 Bad credentials"))
    refusal = public.refused(token_env=OURS)
    assert f"renew the token in {name}, or unset it" in refusal.hint
    assert "secret" not in f"{refusal} {public.get(token_env=OURS).pin}"
    assert sent(public.api) == ["Bearer secret"] * 3
    assert sent(public.storage) == [None]


@pytest.mark.parametrize("own", ["", "https://api.github.com", "https://127.0.0.1"])
def test_a_token_of_github_goes_to_no_other_server_and_to_none_without_encryption(
    own: str, public: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_API_URL", own)
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    public.get(token_env=OURS)
    assert sent(public.api) == [None, None]
    monkeypatch.setenv("OUR_TOKEN", "secret")
    with FaultServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        public.cache = Cache(public.cache.root / "another")
        public.refused(token_env=OURS, api="http://ghe.invalid/api/v3")
        assert set(sent(proxy)) == {None}


#: Settings of the source, what the API has at a path, code, and a part of the reason.
TOLD: dict[str, tuple[dict[str, Any], str, bytes, str, str]] = {
    "pre-releases only": ({"tag": None}, RELEASES, PRE, "http-404", "pre-releases: 5.0rc1, 5.0b1"),
    "private": ({"token_env": ["OURS"]}, "/", b"", "http-404", "a token that may read it in OURS"),
    "no API": ({}, RELEASE, b"<!DOCTYPE html>", "not-json", "does not answer with releases: "),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_missing_release_is_told(case: str, github: GitHub) -> None:
    settings, path, content, code, reason = TOLD[case]
    github.api.add(path, content)
    error = github.refused(**settings)
    assert error.code == code
    assert reason in str(error)


def test_an_asset_of_another_name_may_be_given_a_wheels(github: GitHub) -> None:
    github.release("4.13.0.90", {"../cuda-win_amd64.whl": CONTENT})
    assert github.refused().code == "filename"
    assert not github.storage.seen
    first = github.get(filename=NAME)
    assert first.path == github.cache.place(sha256(CONTENT), NAME)
    github.cache = Cache(github.cache.root / "another")
    assert github.get(filename=NAME, pin=first.pin).pin.filename == NAME

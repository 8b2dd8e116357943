"""GitHub releases, from a loopback copy of the release API."""

from __future__ import annotations

from pathlib import Path

import pytest
from faultserver import ProxyServer, answers, resets_after
from fetching import NAME, fast_session, locked, make_content, sha256
from releases import REPOSITORY, GitHub

from repack.config import ReleaseSource
from repack.errors import RepackError
from repack.fetch import Cache, Fetched, fetch, pin_key
from repack.lock import Lock

CONTENT = make_content()
RELEASE = f"/repos/{REPOSITORY}/releases/tags/4.13.0.90"
LINUX = "opencv_contrib_python-4.13.0.90-cp37-abi3-linux_x86_64.whl"


def get(source: ReleaseSource, cache: Cache, *, lock: Lock | None = None) -> Fetched:
    return fetch(source, lock=lock, cache=cache, session=fast_session())


def refused(source: ReleaseSource, cache: Cache, *, lock: Lock | None = None) -> RepackError:
    with pytest.raises(RepackError) as caught:
        get(source, cache, lock=lock)
    assert "\n" not in str(caught.value)
    assert not list((cache.root / "files").rglob("*.whl"))
    return caught.value


def test_the_asset_that_matches_is_fetched_by_the_api_and_pinned_by_its_download_url(
    github: GitHub, cache: Cache
) -> None:
    github.release("4.13.0.90", {NAME: CONTENT, LINUX: make_content(seed=1)})
    signed = github.storage.resources["/storage/1?X-Amz-Signature=secret"]
    signed.faults.append(resets_after(9_000))
    fetched = get(github.source(), cache)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.url == f"https://github.com/{REPOSITORY}/releases/download/4.13.0.90/{NAME}"
    # A signed address does not live long: the API is asked for another.
    assert github.api.paths() == [RELEASE, *[f"/repos/{REPOSITORY}/releases/assets/1"] * 2]
    accepted = [seen.headers["accept"] for seen in github.api.seen[:2]]
    assert accepted == ["application/vnd.github+json", "application/octet-stream"]
    assert github.storage.seen[1].headers["range"] == "bytes=9000-"
    get(github.source(), cache, lock=Lock())
    assert len(github.storage.seen) == 2


def test_a_tag_may_hold_a_slash_and_the_latest_release_is_that_of_the_pin(
    github: GitHub, cache: Cache, tmp_path: Path
) -> None:
    github.release("4.13.0/90", {NAME: CONTENT})
    get(github.source(tag="4.13.0/90"), cache)
    assert github.api.paths()[0].endswith("/releases/tags/4.13.0%2F90")
    source = github.source(tag=None)
    pin = get(source, cache).pin
    assert pin.key == f"{REPOSITORY} (latest release) *win_amd64.whl"
    github.release("4.14", {NAME.replace("13", "14"): make_content(seed=1)})
    again = get(source, Cache(tmp_path / "another"), lock=Lock().with_pin(pin))
    assert again.path.read_bytes() == CONTENT


MANY = {f"{number}.zip": b"" for number in range(30)}
BOTH = {NAME: CONTENT, LINUX: CONTENT}
#: Assets and their state, the pattern, and a part of the reason.
UNCLEAR = {
    "several": (BOTH, "uploaded", "*.whl", f"2 assets match '*.whl'; there are {LINUX}, {NAME}"),
    "none of two": (BOTH, "uploaded", "*arm64.whl", f"there are {LINUX}, {NAME}"),
    "none of many": (MANY, "uploaded", "*.whl", "and 22 more"),
    "none at all": ({}, "uploaded", "*.whl", "there are none"),
    "still being uploaded": ({NAME: CONTENT}, "starter", "*.whl", "there are none"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_assets_of_which_not_one_matches_are_told(case: str, github: GitHub, cache: Cache) -> None:
    assets, state, pattern, reason = UNCLEAR[case]
    github.release("4.13.0.90", assets, state=state)
    assert reason in str(refused(github.source(asset=pattern), cache))


WRONG = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("digest", [None, "", "sha512:abc", 7])
def test_a_digest_that_is_none_is_no_mismatch(github: GitHub, cache: Cache, digest: object) -> None:
    github.release("4.13.0.90", {NAME: CONTENT}, digest=digest)
    assert get(github.source(), cache).sha256 == sha256(CONTENT)


def test_a_digest_is_held_unless_configuration_or_lock_say_otherwise(
    github: GitHub, cache: Cache
) -> None:
    github.release("4.13.0.90", {NAME: CONTENT}, digest=WRONG)
    error = refused(github.source(), cache)
    assert f"has SHA-256 {sha256(CONTENT)}, the release says {'0' * 64}" in str(error)
    lock = locked(pin_key(github.source()), make_content(seed=1))
    error = refused(github.source(), cache, lock=lock)
    assert f"has SHA-256 {sha256(CONTENT)}, repack.lock says" in str(error)
    assert "--update-lock" in error.hint
    assert get(github.source(sha256=sha256(CONTENT)), cache).sha256 == sha256(CONTENT)


OURS = ("GH_TOKEN", "GITHUB_TOKEN", "OUR_TOKEN")


class TestTheToken:
    @pytest.fixture(autouse=True)
    def _release(self, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
        """A release on the GitHub that a workflow says it runs on, and no token."""
        for name in OURS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GITHUB_API_URL", github.api.url(""))
        github.release("4.13.0.90", {NAME: CONTENT})

    def sent(self, github: GitHub) -> list[str | None]:
        return [seen.headers.get("authorization") for seen in github.api.seen]

    @pytest.mark.parametrize("name", OURS)
    def test_of_the_environment_goes_to_the_api_and_nowhere_else(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "secret")
        get(github.source(token_env=OURS), cache)
        assert self.sent(github) == ["Bearer secret", "Bearer secret"]
        assert "authorization" not in github.storage.seen[0].headers

    @pytest.mark.parametrize("own", ["", "https://api.github.com", "https://127.0.0.1"])
    def test_of_github_goes_to_no_other_server(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch, own: str
    ) -> None:
        monkeypatch.setenv("GITHUB_API_URL", own)
        monkeypatch.setenv("GITHUB_TOKEN", "secret")
        get(github.source(token_env=OURS), cache)
        assert self.sent(github) == [None, None]

    def test_goes_to_no_server_without_encryption(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OUR_TOKEN", "secret")
        with ProxyServer() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url(""))
            refused(github.source(token_env=OURS, api="http://ghe.invalid/api/v3"), cache)
            assert proxy.seen
            assert all("authorization" not in seen.headers for seen in proxy.seen)

    def test_goes_to_no_other_port_of_the_same_host(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "secret")
        same_host = github.storage.url("/storage/1?X-Amz-Signature=secret")
        place = f"/repos/{REPOSITORY}/releases/assets/1"
        github.api.add(place, b"", answers("302 Found", {"Location": same_host}))
        get(github.source(), cache)
        assert "authorization" not in github.storage.seen[0].headers

    def test_keeps_netrc_out(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password secret\n", encoding="utf-8")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("GH_TOKEN", "token")
        get(github.source(), cache)
        assert self.sent(github)[0] == "Bearer token"
        assert "authorization" not in github.storage.seen[0].headers

    @pytest.mark.parametrize("status", [401, 403])
    def test_that_is_stale_is_let_go_on_a_public_repository(
        self,
        github: GitHub,
        cache: Cache,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        status: int,
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "secret")
        github.api.resources[RELEASE].faults.append(answers(f"{status} Bad credentials"))
        assert get(github.source(), cache).path.read_bytes() == CONTENT
        assert self.sent(github) == ["Bearer secret", None, None]
        assert "the token in GH_TOKEN is refused" in caplog.text
        assert "secret" not in caplog.text

    def test_that_is_stale_is_named_on_a_private_one(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "not-to-be-seen")
        github.api.add(RELEASE, b"", answers("401 Bad credentials"), answers("404 Not Found"))
        error = refused(github.source(), cache)
        assert "401 Bad credentials: the token in GH_TOKEN is refused" in str(error)
        assert "put a new token into GH_TOKEN" in error.hint
        assert "not-to-be-seen" not in str(error)


#: The tag, what the server lists, and what is said.
MISSING = {
    "pre-releases only": (None, ["5.0rc1", "5.0b1"], "has pre-releases only: 5.0rc1, 5.0b1"),
    "no release": (None, [], "the repository has no release"),
    "no such tag": ("5.0", ["4.13", "4.12"], "no release of the tag '5.0' [http-404]; there are 4"),
    "no repository": ("5.0", None, "put a token into OUR_TOKEN"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_release_that_is_not_there_is_told_with_those_that_are(
    case: str, github: GitHub, cache: Cache
) -> None:
    tag, listed, reason = MISSING[case]
    if listed is not None:
        releases = [{"tag_name": name, "prerelease": True} for name in listed]
        github.api.add_json(f"/repos/{REPOSITORY}/releases", releases)
    error = refused(github.source(tag=tag, token_env=("OUR_TOKEN",)), cache)
    assert error.code == "http-404"
    assert reason in str(error)
    if case == "pre-releases only":
        assert 'source.tag = "5.0rc1"' in error.hint


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([], id="a list"),
        pytest.param({"message": "hello"}, id="no release"),
        pytest.param({"tag_name": "1", "assets": [{"name": "x.whl"}]}, id="half an asset"),
        pytest.param({"tag_name": "1", "assets": ["x.whl"]}, id="names"),
    ],
)
def test_an_api_that_answers_something_else_is_named(
    github: GitHub, cache: Cache, document: object
) -> None:
    github.api.add_json(RELEASE, document)
    assert "does not answer with releases" in str(refused(github.source(), cache))
    github.api.add(RELEASE, b"<!DOCTYPE html>", kind="text/html")
    assert refused(github.source(), cache).code == "not-json"


def test_an_api_is_not_asked_where_the_lock_and_the_cache_suffice(
    github: GitHub, cache: Cache
) -> None:
    github.release("4.13.0.90", {NAME: CONTENT})
    lock = Lock().with_pin(get(github.source(), cache).pin)
    github.api.seen.clear()
    assert get(github.source(), cache, lock=lock).path.is_file()
    assert not github.api.seen


def test_an_asset_that_was_pinned_and_is_gone_is_told(github: GitHub, cache: Cache) -> None:
    github.release("4.13.0.90", {LINUX: CONTENT})
    lock = locked(pin_key(github.source()), CONTENT)
    error = refused(github.source(), cache, lock=lock)
    assert f"the release has {NAME} no more; there are {LINUX}" in str(error)
    assert "--update-lock" in error.hint


def test_an_asset_of_another_name_is_refused_and_may_be_given_one(
    github: GitHub, cache: Cache
) -> None:
    github.release("4.13.0.90", {"../cuda-win_amd64.whl": CONTENT})
    assert refused(github.source(), cache).code == "filename"
    assert not github.storage.seen
    source = github.source(filename=NAME)
    first = get(source, cache)
    assert first.path == cache.place(sha256(CONTENT), NAME)
    assert (
        get(source, Cache(cache.root / "another"), lock=Lock().with_pin(first.pin)).filename == NAME
    )

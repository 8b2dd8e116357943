"""GitHub releases, from a loopback copy of the release API."""

from __future__ import annotations

from pathlib import Path

import pytest
from faultserver import answers, resets_after
from fetching import NAME, Waits, locked, make_content, sha256
from releases import REPOSITORY, GitHub

from repack.config import ReleaseSource
from repack.errors import FetchError, RepackError
from repack.fetch import Cache, Fetched, fetch, pin_key
from repack.lock import Lock

CONTENT = make_content()
LINUX = "opencv_contrib_python-4.13.0.90-cp37-abi3-linux_x86_64.whl"


def get(source: ReleaseSource, cache: Cache, *, lock: Lock | None = None) -> Fetched:
    return fetch(source, lock=lock, cache=cache, client=Waits().client())


def refused(source: ReleaseSource, cache: Cache, *, lock: Lock | None = None) -> RepackError:
    with pytest.raises(RepackError) as caught:
        get(source, cache, lock=lock)
    assert "\n" not in str(caught.value)
    assert not list((cache.root / "files").rglob("*.whl"))
    return caught.value


class TestTheAsset:
    def test_that_matches_is_fetched_and_pinned_by_its_download_url(
        self, github: GitHub, cache: Cache
    ) -> None:
        github.release("4.13.0.90", {NAME: CONTENT, LINUX: make_content(seed=1)})
        fetched = get(github.source(), cache)
        assert fetched.path.read_bytes() == CONTENT
        assert fetched.filename == NAME
        assert fetched.url == (
            f"https://github.com/{REPOSITORY}/releases/download/4.13.0.90/{NAME}"
        )

    def test_is_asked_for_as_bytes_by_the_api(self, github: GitHub, cache: Cache) -> None:
        github.release("4.13.0.90", {NAME: CONTENT})
        get(github.source(), cache)
        assert github.api.paths() == [
            f"/repos/{REPOSITORY}/releases/tags/4.13.0.90",
            f"/repos/{REPOSITORY}/releases/assets/1",
        ]
        accepted = [seen.headers["accept"] for seen in github.api.seen]
        assert accepted == ["application/vnd.github+json", "application/octet-stream"]

    def test_is_resumed_from_the_api_and_not_from_the_signed_url(
        self, github: GitHub, cache: Cache
    ) -> None:
        github.release("4.13.0.90", {NAME: CONTENT})
        github.storage.resources["/storage/1?X-Amz-Signature=secret"].faults.append(
            resets_after(9_000)
        )
        assert get(github.source(), cache).path.read_bytes() == CONTENT
        assert github.api.paths()[1:] == [f"/repos/{REPOSITORY}/releases/assets/1"] * 2
        assert github.storage.seen[1].headers["range"] == "bytes=9000-"

    def test_of_a_tag_with_a_slash_is_found(self, github: GitHub, cache: Cache) -> None:
        github.release("4.9.80_13/05/24", {NAME: CONTENT})
        fetched = get(github.source(tag="4.9.80_13/05/24"), cache)
        assert github.api.paths()[0].endswith("/releases/tags/4.9.80_13%2F05%2F24")
        assert fetched.path.read_bytes() == CONTENT

    def test_of_the_latest_release_is_taken_where_no_tag_is_given(
        self, github: GitHub, cache: Cache
    ) -> None:
        github.release("4.13.0.90", {NAME: CONTENT})
        assert get(github.source(tag=None), cache).pin.key == (
            f"{REPOSITORY} (latest release) *win_amd64.whl"
        )

    def test_of_what_was_the_latest_when_it_was_pinned_is_had_again(
        self, github: GitHub, cache: Cache, tmp_path: Path
    ) -> None:
        github.release("4.13.0/90", {NAME: CONTENT})
        source = github.source(tag=None)
        lock = Lock().with_pin(get(source, cache).pin)
        github.release("4.14", {NAME.replace("13", "14"): make_content(seed=1)})
        again = get(source, Cache(tmp_path / "another"), lock=lock)
        assert again.path.read_bytes() == CONTENT


MANY = {f"{number}.zip": b"" for number in range(30)}
BOTH = {NAME: CONTENT, LINUX: CONTENT}
#: Assets and their state, the pattern, and a part of the reason.
UNCLEAR = {
    "several": (BOTH, "uploaded", "*.whl", f"2 assets match '*.whl': {LINUX}, {NAME} [asset]; "),
    "none of two": (BOTH, "uploaded", "*arm64.whl", f"the release has {LINUX}, {NAME}"),
    "none of many": (MANY, "uploaded", "*.whl", "and 22 more"),
    "none at all": ({}, "uploaded", "*.whl", "the release has none"),
    "still being uploaded": ({NAME: CONTENT}, "starter", "*.whl", "the release has none"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_assets_of_which_not_one_matches_are_told(case: str, github: GitHub, cache: Cache) -> None:
    assets, state, pattern, reason = UNCLEAR[case]
    github.release("4.13.0.90", assets, state=state)
    assert reason in str(refused(github.source(asset=pattern), cache))


class TestTheDigest:
    @pytest.mark.parametrize("digest", [None, "", "sha512:abc", 7])
    def test_that_is_none_is_no_mismatch(
        self, github: GitHub, cache: Cache, digest: object
    ) -> None:
        github.release("4.13.0.90", {NAME: CONTENT}, digest=digest)
        assert get(github.source(), cache).sha256 == sha256(CONTENT)

    def test_that_differs_is_refused_with_both(self, github: GitHub, cache: Cache) -> None:
        github.release("4.13.0.90", {NAME: CONTENT}, digest=f"sha256:{'0' * 64}")
        error = refused(github.source(), cache)
        assert f"has SHA-256 {sha256(CONTENT)}, the release says {'0' * 64}" in str(error)

    def test_yields_to_the_hash_of_the_configuration(self, github: GitHub, cache: Cache) -> None:
        github.release("4.13.0.90", {NAME: CONTENT}, digest=f"sha256:{'0' * 64}")
        assert get(github.source(sha256=sha256(CONTENT)), cache).sha256 == sha256(CONTENT)

    def test_does_not_help_what_the_lock_contradicts(self, github: GitHub, cache: Cache) -> None:
        other = make_content(seed=1)
        github.release("4.13.0.90", {NAME: other})
        lock = locked(pin_key(github.source()), CONTENT)
        error = refused(github.source(), cache, lock=lock)
        assert f"has SHA-256 {sha256(other)}, repack.lock says {sha256(CONTENT)}" in str(error)
        assert "--update-lock" in error.hint

    def test_saves_a_download_of_what_is_there(self, github: GitHub, cache: Cache) -> None:
        github.release("4.13.0.90", {NAME: CONTENT})
        get(github.source(), cache)
        get(github.source(), cache, lock=Lock())
        assert len(github.storage.seen) == 1


class TestTheToken:
    @pytest.mark.parametrize("name", ["GH_TOKEN", "GITHUB_TOKEN", "OUR_TOKEN"])
    def test_of_the_environment_goes_to_the_api_and_nowhere_else(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "secret")
        github.release("4.13.0.90", {NAME: CONTENT})
        get(github.source(token_env=("GH_TOKEN", "GITHUB_TOKEN", "OUR_TOKEN")), cache)
        sent = [seen.headers.get("authorization") for seen in github.api.seen]
        assert sent == ["Bearer secret", "Bearer secret"]
        assert "authorization" not in github.storage.seen[0].headers

    def test_goes_to_no_other_port_of_the_same_host(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "secret")
        github.release("4.13.0.90", {NAME: CONTENT})
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
        github.release("4.13.0.90", {NAME: CONTENT})
        get(github.source(), cache)
        assert github.api.seen[0].headers["authorization"] == "Bearer token"
        assert "authorization" not in github.storage.seen[0].headers

    def test_is_not_shown(
        self, github: GitHub, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "not-to-be-seen")
        error = refused(github.source(), cache)
        assert "not-to-be-seen" not in str(error)
        assert "the token in GH_TOKEN or GITHUB_TOKEN" in error.hint


class TestTheApi:
    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_that_refuses_is_not_asked_again_and_the_token_is_named(
        self, github: GitHub, cache: Cache, status: int
    ) -> None:
        place = f"/repos/{REPOSITORY}/releases/tags/4.13.0.90"
        github.api.add(place, b"", answers(f"{status} No"))
        error = refused(github.source(), cache)
        assert error.code == f"http-{status}"
        assert "put a token in GH_TOKEN or GITHUB_TOKEN" in error.hint
        assert len(github.api.seen) == 1

    def test_whose_limit_is_used_up_says_until_when(self, github: GitHub, cache: Cache) -> None:
        limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000060"}
        place = f"/repos/{REPOSITORY}/releases/tags/4.13.0.90"
        github.api.add(place, b"", answers("403 rate limit exceeded", limit))
        error = refused(github.source(), cache)
        assert "used up until 2027-01-15 08:01 UTC, in 1 minute [rate-limit]" in str(error)
        assert "GH_TOKEN" in error.hint

    def test_that_asks_for_a_pause_says_how_long(self, github: GitHub, cache: Cache) -> None:
        place = f"/repos/{REPOSITORY}/releases/tags/4.13.0.90"
        github.api.add(place, b"", answers("403 Forbidden", {"Retry-After": "600"}))
        assert "in 10 minutes [rate-limit]" in str(refused(github.source(), cache))

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param([], id="a list"),
            pytest.param({"message": "hello"}, id="no assets"),
            pytest.param({"assets": [{"name": "x.whl"}]}, id="half an asset"),
            pytest.param({"assets": ["x.whl"]}, id="names"),
        ],
    )
    def test_that_answers_something_else_is_named(
        self, github: GitHub, cache: Cache, document: object
    ) -> None:
        github.api.add_json(f"/repos/{REPOSITORY}/releases/tags/4.13.0.90", document)
        error = refused(github.source(), cache)
        assert "the answer is no release" in str(error)

    def test_that_answers_with_a_page_is_named(self, github: GitHub, cache: Cache) -> None:
        place = f"/repos/{REPOSITORY}/releases/tags/4.13.0.90"
        github.api.add(place, b"<!DOCTYPE html>", kind="text/html")
        assert refused(github.source(), cache).code == "not-json"

    def test_is_not_asked_where_the_lock_and_the_cache_suffice(
        self, github: GitHub, cache: Cache
    ) -> None:
        github.release("4.13.0.90", {NAME: CONTENT})
        lock = Lock().with_pin(get(github.source(), cache).pin)
        github.api.seen.clear()
        assert get(github.source(), cache, lock=lock).path.is_file()
        assert not github.api.seen

    def test_that_has_the_pinned_asset_no_more_says_what_it_has(
        self, github: GitHub, cache: Cache
    ) -> None:
        github.release("4.13.0.90", {LINUX: CONTENT})
        lock = locked(pin_key(github.source()), CONTENT)
        error = refused(github.source(), cache, lock=lock)
        assert f"the release has {NAME} no more; it has {LINUX}" in str(error)
        assert "--update-lock" in error.hint


def test_a_name_that_is_no_wheel_is_refused(github: GitHub, cache: Cache) -> None:
    github.release("4.13.0.90", {"../evil-win_amd64.whl": CONTENT})
    with pytest.raises(FetchError) as caught:
        get(github.source(), cache)
    assert caught.value.code == "filename"
    assert not github.storage.seen

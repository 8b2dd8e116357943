"""An error is one line, and no secret is in it."""

from __future__ import annotations

import pytest

from repack.errors import FetchError, redact, redact_url

KEPT = [
    pytest.param("the server says 403 Forbidden", id="prose"),
    pytest.param("https://example.com/simple/x/", id="plain-url"),
    pytest.param("https://example.com:8443/x#sha256=0123", id="port-and-fragment"),
    pytest.param("https://[::1]:80/x", id="address"),
    pytest.param("look at https://example.com/x, or at http://example.com.", id="sentence"),
    pytest.param("abfs://container@account/x", id="container-of-azure"),
    pytest.param("pkg:pypi/x@1?file_name=x.whl", id="package-url"),
    pytest.param("user@example.com asks: who?", id="mail"),
    pytest.param("set TWINE_PASSWORD, or GH_TOKEN: both do", id="names-of-variables"),
    pytest.param("bad token: ]", id="token-of-a-grammar"),
    pytest.param("C:\\x@y\\a?b", id="path"),
    pytest.param("Content-Length: 12", id="other-header"),
]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("https://me:b@example.com/b", "https://example.com/b", id="password"),
        pytest.param("https://TOKEN@example.com/x", "https://example.com/x", id="token-as-user"),
        pytest.param("https://a:p@ss@example.com/", "https://example.com/", id="at-in-a-password"),
        pytest.param("abfs://c:key@account/x", "abfs://account/x", id="password-for-azure"),
        pytest.param("git+ssh://me:p@h/x", "git+ssh://h/x", id="other-scheme"),
        pytest.param("HTTPS://me:p@h/x", "HTTPS://h/x", id="capitals"),
        pytest.param("https://h/x?X-Amz-Signature=s", "https://h/x", id="query"),
        pytest.param("https://h?sig=s", "https://h", id="query-without-a-path"),
        pytest.param("https://h/x?url=http://me:p@h/", "https://h/x", id="url-in-a-query"),
        pytest.param("at https://h/x?a=b; run", "at https://h/x; run", id="sentence"),
        pytest.param("'http://a:b@h/x' (http://c:d@h)", "'http://h/x' (http://h)", id="two"),
        pytest.param("Authorization: Basic bWU6Yg==", "Authorization: ***", id="basic"),
        pytest.param("authorization:Bearer abc", "authorization:***", id="bearer"),
        pytest.param("Proxy-Authorization: Basic x", "Proxy-Authorization: ***", id="proxy"),
        pytest.param(
            "{'Authorization': 'Basic x', 'A': 'b'}",
            "{'Authorization': ***, 'A': 'b'}",
            id="dictionary",
        ),
        pytest.param("Cookie: a=b; c=d\nHost: h", "Cookie: ***\nHost: h", id="cookie"),
        pytest.param("PRIVATE-TOKEN: x", "PRIVATE-TOKEN: ***", id="gitlab"),
        pytest.param("x-amz-security-token: x", "x-amz-security-token: ***", id="amazon"),
    ],
)
def test_a_secret_is_hidden_where_secrets_stand(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("https://h/a b?sig=s", "https://h/a b", id="space"),
        pytest.param("https://h/a'b?sig=s", "https://h/a'b", id="quote"),
        pytest.param("/x?sig=s", "/x", id="relative"),
        pytest.param("https://me:b@h/http://x?s", "https://h/http://x", id="url-in-a-path"),
        pytest.param("https://me:b@h:x/", "https://h:x/", id="no-port"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_no_part_of_an_error_holds_a_secret() -> None:
    url = "https://me:hunter2@h/x?sig=hunter2"
    error = FetchError(f"{url} is gone", file=url, hint=f"look at {url}")
    assert "hunter2" not in f"{error} {error.what} {error.file} {error.hint} {error!r}"


def test_an_error_is_one_line_of_what_can_be_shown() -> None:
    error = FetchError("two\nlines\x1b", code="x", file="a\rb", member="m\n", hint="do\tit")
    assert str(error) == r"a\rb: 'm\n': two lines\x1b [x]; do\tit"

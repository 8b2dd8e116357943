"""An error is one line, and no secret is in it."""

import pytest

from repack.errors import FetchError, redact, redact_url

KEPT = [
    "the server says 403 Forbidden",
    "https://example.com:8443/x#sha256=0123",
    "https://[::1]:80/x",
    "abfs://container@account/x",
    "C:\\x@y\\a?b",
]
#: A text, and what is shown of it.
HIDDEN = {
    "https://a:b@h,http://c:d@i/x": "https://h,http://i/x",
    "https://me:b@example.com/b": "https://example.com/b",
    "https://a:p@ss@example.com/": "https://example.com/",
    "abfs://c:key@account/x": "abfs://account/x",
    "https://h/x?X-Amz-Signature=s": "https://h/x",
    "'http://a:b@h/x' (http://c:d@h)": "'http://h/x' (http://h)",
    "Authorization: Basic bWU6Yg==": "Authorization: ***",
    "X-JFrog-Art-Api: x": "X-JFrog-Art-Api: ***",
    "Cookie: a=b; c=d\nHost: h": "Cookie: ***\nHost: h",
    "PRIVATE-TOKEN: x": "PRIVATE-TOKEN: ***",
}
URLS = {
    "https://me:p?q@h/x": "https://***",
    "https://h/a b?sig=s": "https://h/a b",
    "/x?sig=s": "/x",
}


@pytest.mark.parametrize("text", [*KEPT, *HIDDEN])
def test_a_secret_is_hidden_where_secrets_stand_and_all_else_is_shown(text: str) -> None:
    assert redact(text) == HIDDEN.get(text, text)


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_secrets(url: str) -> None:
    assert redact_url(url) == URLS[url]


def test_no_part_of_an_error_holds_a_secret() -> None:
    url = "https://me:hunter2@h/x?sig=hunter2"
    error = FetchError(f"{url} is gone", file=url, hint=f"look at {url}")
    assert "hunter2" not in f"{error} {error.what} {error.file} {error.hint} {error!r}"


def test_an_error_is_one_line_of_what_can_be_shown() -> None:
    error = FetchError("two\nlines\x1b", code="x", file="a\rb", member="m\n", hint="do\tit")
    assert str(error) == r"a\rb: 'm\n': two lines\x1b [x]; do\tit"

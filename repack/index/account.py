"""Who uploads where: twine's settings, from `.pypirc` and the environment."""

import configparser
import os
from pathlib import Path
from urllib.parse import urlsplit

from repack.errors import ConfigError, UsageError, redact_url
from repack.index.web import Login

#: Our setting -> that of .pypirc and twine's variable.
_SETTINGS = {
    "username": ("username", "TWINE_USERNAME"),
    "password": ("password", "TWINE_PASSWORD"),
    "cacert": ("ca_cert", "TWINE_CERT"),
    "client_cert": ("client_cert", "TWINE_CLIENT_CERT"),
}


def read_account(url: str | None, repository: str | None, config_file: Path | None) -> Login:
    """Return the account for a URL or for a name of `.pypirc`, or for what twine's variables say.

    Variables go before the file, as for twine. Raises ConfigError, or UsageError for a URL with a
    password in it.
    """
    if url is None and repository is None:
        url = os.environ.get("TWINE_REPOSITORY_URL")
        repository = os.environ.get("TWINE_REPOSITORY")
    path = config_file or Path("~/.pypirc").expanduser()
    section: dict[str, str] = {}
    if url is None or config_file is not None:
        section = _read_section(path, url, repository or "pypi", required=url is None)
    place = url or section.get("repository", "")
    if not place:
        raise ConfigError(
            f"it says no repository for {repository}",
            code="pypirc",
            file=path,
            hint="add the line `repository = URL`, or give --repository-url",
        )
    parts = urlsplit(place)
    if parts.username or parts.password:
        raise UsageError(
            "the URL holds a name or a password",
            code="secret-in-url",
            file=redact_url(place),
            hint="put them into TWINE_USERNAME and TWINE_PASSWORD, or .pypirc",
        )
    settings = {
        name: os.environ.get(variable) or section.get(key, "")
        for name, (key, variable) in _SETTINGS.items()
    }
    return Login(url=place, **settings)


def _read_section(path: Path, url: str | None, name: str, *, required: bool) -> dict[str, str]:
    """Return the settings of the section of that name, or of that URL."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be read") from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8") from None
    except configparser.Error as error:
        # The error's own words hold the line, and the line may hold a password.
        number = getattr(error, "lineno", None) or getattr(error, "errors", [(0, "")])[0][0]
        raise _unreadable(path, f"line {number} cannot be understood") from None
    for section in parser.sections():
        if section == name or (url and parser.get(section, "repository", fallback="") == url):
            return dict(parser[section])
    if required:
        raise _unreadable(path, f"it has no section [{name}]")
    return {}


def _unreadable(path: Path, reason: str) -> ConfigError:
    hint = "mend the file, or give --repository-url"
    return ConfigError(reason, code="pypirc", file=path, hint=hint)

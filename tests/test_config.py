"""`repack.toml` and the command line's settings."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from repack.config import (
    Build,
    FileSource,
    ReleaseSource,
    SampleSource,
    Smoke,
    UrlSource,
    load,
    parse_override,
    parse_source,
    require_source,
)
from repack.errors import ConfigError

SHA = "0123456789abcdef" * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "repack.toml"
    path.write_text(text, encoding=encoding)
    return path


def overrides(*texts: str) -> list[tuple[str, object]]:
    return [parse_override(text) for text in texts]


def test_an_empty_file_names_no_source_and_leaves_all_at_its_default(folder: Path) -> None:
    config = load(write(folder, "").rename(folder / "team.toml"))
    assert (config.build, config.smoke) == (Build(out=folder / "dist"), Smoke())
    assert config.lock == folder / "team.lock"
    with pytest.raises(ConfigError, match=r"no source is named: give --source, .+; `repack init`"):
        require_source(config)


#: What a file says, and what is read of it.
FILE = {
    "source.sample = {cuda = 13, driver = true}": SampleSource(cuda=13, driver=True),
    f'source = {{url = "http://h/a", sha256 = "{SHA.upper()}"}}': UrlSource(
        "http://h/a", None, SHA
    ),
    'source = {release = "a/b", token-env = ["OURS"]}': ReleaseSource("a/b", token_env=("OURS",)),
    'build.python = ["3.12", "3.9", "3.12"]': ("3.12", "3.9"),
    'vendor.families = ["npp", "cudnn"]': ("npp", "cudnn"),
    'publish.max-size = "2 GiB"': 2 << 30,
}
#: The same of the command line, where all is text.
OVERRIDES = {
    "build.python=3.10, 3.11": ("3.10", "3.11"),
    "vendor.dlls=a<3,>=2": ("a<3,>=2",),
    "smoke.timeout=7": 7,
    'build.emit="abi3"': "abi3",
    "build.help-url=": "",
    "publish.max-size=1.5 gb": 1_500_000_000,
}


@pytest.mark.parametrize("text", [*FILE, *OVERRIDES])
def test_a_setting_is_what_its_key_takes(folder: Path, text: str) -> None:
    is_file = text in FILE
    config = load(write(folder, text if is_file else ""), [] if is_file else overrides(text))
    table, name = re.findall(r"[\w-]+", text)[:2]
    key = "source" if table == "source" else f"{table}.{name.replace('-', '_')}"
    assert attrgetter(key)(config) == (FILE | OVERRIDES)[text]


def test_paths_are_relative_to_the_file_and_on_the_command_line_to_the_working_directory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(folder, 'build = {out = "a/../b", patches = ["c", "/d"]}')
    config = load(path, overrides("source.file=e.whl", "smoke.dll-dirs=f"))
    assert config.build.out == folder / "b"
    assert config.build.patches == (folder / "c", Path("/d"))
    assert config.smoke.dll_dirs == (tmp_path / "f",)
    assert config.source == FileSource(tmp_path / "e.whl", pinned_as="../e.whl")


#: A text of the file, and how the line begins that a person reads of it.
WRONG = {
    '[build]\nemut = "abi3"': "build.emut is not a setting (did you mean build.emit?)",
    'emit = "abi3"': "emit is not a setting (did you mean build.emit?)",
    "build = 3": "build takes a table, not 3",
    'source = {file = "a", url = "http://h/a"}': "source.file, source.url: a source is one of ",
    'source = {file = "a", tag = "b"}': "source.file, source.tag: a source is one of ",
    'source.tag = "1"': "source.tag: a source is one of file, release, requirement, sample, ",
    'build.emit = "abi"': 'build.emit takes "per-python" or "abi3", not "abi"',
    "build.python = [3.10]": "build.python takes a list, each a Python in quotes ",
    'build.local = "Cu 126"': "build.local takes a label such as ",
    'build.out = ""': 'build.out takes a path, not ""',
    r'build.out = "C:\temp"': r'build.out takes a path, not "C:\temp"',
    r'build.out = "C:\dist"': "is not TOML in UTF-8: ",
    'source.file = "https://me:pw@h/a"': "source.file takes a path, not one with a password",
    'publish.max-size = "much"': 'publish.max-size takes a size such as "2 GiB", not "much"',
    'vendor.families = ["npq"]': "vendor.families takes a list, each one of npp, ",
    "smoke.timeout = 0": "smoke.timeout takes a number from 1 to 86400, not 0",
    'source.url = "https://me:pw@h/a"': "source.url takes a URL ",
    'source.url = "https://me:pw/@h"': "source.url takes a URL ",
    'source = {release = "a/b", api = "http://h/"}': "source.api takes an https:// URL, ",
    'source.requirement = "a@file:b"': "source.requirement takes a requirement ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_setting_is_one_line_with_file_key_reason_and_what_is_allowed(
    folder: Path, text: str
) -> None:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {WRONG[text]}")
    assert " [config]" in str(caught.value)
    assert ("[config]; texts go in straight quotes" in str(caught.value)) == ("\\" in text)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_as_windows_editors_and_powershell_write_it_is_read(
    folder: Path, encoding: str
) -> None:
    path = write(folder, "# ä\r\n[build]\r\nemit = 'abi3'\r\n", encoding)
    assert load(path).build.emit == "abi3"


def test_a_source_of_the_same_kind_keeps_the_files_other_keys(folder: Path) -> None:
    path = write(folder, "[source]\nsample = {driver = true}")
    config = load(path, overrides("source.sample.cuda=13"))
    assert config.source == SampleSource(cuda=13, driver=True)
    assert config.source_is_given


#: What `--source` is given, the setting that it stands for, and its hash.
NAMED = {
    "a.whl": ("file", "a.whl", ""),
    f"wheels/a#sha256={SHA}": ("file", "wheels/a", SHA),
    f"file:///w/a%20b.whl#sha256={SHA}": ("file", str(Path("/w/a b.whl")), SHA),
    "file://localhost/w/a.whl": ("file", str(Path("/w/a.whl")), ""),
    "name @ https://h/a": ("url", "https://h/a", ""),
    f"http://h/a#sha256={SHA}": ("url", "http://h/a", SHA),
    "opencv-cu126": ("requirement", "opencv-cu126", ""),
}


@pytest.mark.parametrize("text", NAMED)
def test_the_option_source_is_a_file_a_url_or_a_requirement(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "opencv-cu126").mkdir()
    monkeypatch.chdir(tmp_path)
    kind, value, sha256 = NAMED[text]
    hashes = {"source.sha256": sha256} if sha256 else {}
    assert dict(parse_source(text)) == {f"source.{kind}": value, **hashes}

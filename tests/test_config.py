"""`repack.toml` and the command line's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from repack.config import (
    SETTINGS,
    Allow,
    Build,
    FileSource,
    IndexSource,
    Publish,
    ReleaseSource,
    SampleSource,
    Smoke,
    UrlSource,
    Vendor,
    load,
    parse_override,
    parse_source,
    require_source,
)
from repack.errors import ConfigError, UsageError

SHA = "0123456789abcdef" * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "repack.toml"
    path.write_text(text, encoding="utf-8")
    return path


def overrides(*texts: str) -> list[tuple[str, object]]:
    return [parse_override(text) for text in texts]


class TestDefaults:
    def test_of_an_empty_file_name_no_source(self, folder: Path) -> None:
        path = write(folder, "")
        config = load(path)
        assert config.source is None
        assert config.build == Build(out=folder / "dist")
        assert config.build.python == ("3.10", "3.11", "3.12", "3.13", "3.14")
        assert config.smoke == Smoke()
        assert config.allow == Allow()
        assert config.lock == folder / "repack.lock"

    def test_without_a_file_are_of_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        config = load(None)
        assert config.build.out == tmp_path / "dist"
        assert (config.path, config.lock) == (None, None)

    def test_of_the_lock_follow_the_files_name(self, folder: Path) -> None:
        path = write(folder, "").rename(folder / "team.toml")
        assert load(path).lock == folder / "team.lock"


class TestASource:
    @pytest.mark.parametrize(
        ("text", "source"),
        [
            pytest.param("sample = {}", SampleSource(), id="sample by default"),
            pytest.param(
                'sample = {opencv = "4.12.0.88", cuda = 13, driver = true}',
                SampleSource(opencv="4.12.0.88", cuda=13, driver=True),
                id="sample",
            ),
            pytest.param(
                f'url = "https://host/a.whl"\nsha256 = "{SHA.upper()}"',
                UrlSource(url="https://host/a.whl", sha256=SHA),
                id="url",
            ),
            pytest.param(
                'requirement = "opencv-cu126 == 4.12.0"\npython = "3.9"',
                IndexSource(requirement="opencv-cu126==4.12.0", python="3.9"),
                id="index",
            ),
            pytest.param(
                'release = "owner/repo"\ntag = "v/1"\nasset = "*.whl"\n'
                'api = "https://host/api/v3/"\ntoken-env = ["OURS"]',
                ReleaseSource(
                    repository="owner/repo",
                    tag="v/1",
                    asset="*.whl",
                    api="https://host/api/v3",
                    token_env=("OURS",),
                ),
                id="release",
            ),
            pytest.param(
                'release = "owner/repo"', ReleaseSource(repository="owner/repo"), id="latest"
            ),
        ],
    )
    def test_is_read(self, folder: Path, text: str, source: object) -> None:
        assert load(write(folder, f"[source]\n{text}\n")).source == source

    def test_file_is_relative_to_the_configuration(self, folder: Path) -> None:
        path = write(folder, '[source]\nfile = "wheels/a.whl"')
        assert load(path).source == FileSource(path=folder / "wheels/a.whl")

    def test_file_of_the_command_line_is_relative_to_the_working_directory(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        config = load(write(folder, ""), overrides("source.file=a.whl"))
        assert config.source == FileSource(path=tmp_path / "a.whl")

    def test_of_the_command_line_replaces_the_files(self, folder: Path) -> None:
        path = write(folder, '[source]\nrelease = "a/b"\ntag = "1"')
        config = load(path, parse_source("https://host/a.whl"))
        assert config.source == UrlSource(url="https://host/a.whl")
        assert config.source_is_given

    def test_of_the_same_kind_keeps_the_files_other_keys(self, folder: Path) -> None:
        path = write(folder, "[source]\nsample = {driver = true}")
        config = load(path, overrides("source.sample.cuda=13"))
        assert config.source == SampleSource(cuda=13, driver=True)

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("a.whl", "source.file"),
            ("C:\\wheels\\a.whl", "source.file"),
            ("http://host/a.whl", "source.url"),
            ("https://host/a.whl", "source.url"),
        ],
    )
    def test_option_is_a_url_or_a_file(self, text: str, key: str) -> None:
        assert parse_source(text) == [(key, text)]

    def test_that_is_wanted_and_not_there_says_how_to_name_one(self, folder: Path) -> None:
        path = write(folder, "")
        with pytest.raises(ConfigError) as caught:
            require_source(load(path))
        assert str(caught.value) == (
            f"{path}: no source is named [config]; put one of file, release, requirement, sample, "
            "url under [source], or give --source; `repack init` writes a repack.toml with comments"
        )


def test_every_key_is_read(folder: Path) -> None:
    path = write(
        folder,
        """
        [source]
        sample = {}
        [build]
        mode = "vendor"
        driver-stub = true
        emit = "abi3"
        python = ["3.12", "3.9"]
        out = "made"
        patches = ["ours", "/theirs"]
        local = "cu126.team"
        help-url = "https://wiki.example.com/cv2/"
        [vendor]
        families = ["npp", "cudnn"]
        dlls = ["nvidia-npp-cu12==12.4.1.87"]
        dll-dirs = ["toolkit/bin"]
        [publish]
        max-size = "2 GiB"
        [smoke]
        enabled = false
        timeout = 60
        dlls = ["nvidia-npp-cu12==12.4.1.87"]
        dll-dirs = ["dlls"]
        interpreters = ["pythons/3.12"]
        [allow]
        startup-hook = true
        unlisted-dlls = ["nvJitLink_120_0.dll"]
        """,
    )
    config = load(path)
    assert config.build == Build(
        mode="vendor",
        driver_stub=True,
        emit="abi3",
        python=("3.12", "3.9"),
        out=folder / "made",
        patches=(folder / "ours", Path("/theirs")),
        local="cu126.team",
        help_url="https://wiki.example.com/cv2/",
    )
    assert config.smoke == Smoke(
        enabled=False,
        timeout=60,
        dlls=("nvidia-npp-cu12==12.4.1.87",),
        dll_dirs=(folder / "dlls",),
        interpreters=(folder / "pythons/3.12",),
    )
    assert config.vendor == Vendor(
        families=("npp", "cudnn"),
        dlls=("nvidia-npp-cu12==12.4.1.87",),
        dll_dirs=(folder / "toolkit/bin",),
    )
    assert config.publish == Publish(max_size=2 << 30)
    assert config.allow == Allow(startup_hook=True, unlisted_dlls=("nvJitLink_120_0.dll",))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param('"100 MB"', 100_000_000, id="MB"),
        pytest.param('"2GiB"', 2 << 30, id="GiB without a space"),
        pytest.param('"1.5 gb"', 1_500_000_000, id="a fraction"),
        pytest.param("4096", 4096, id="bytes"),
    ],
)
def test_a_size_is_read_as_indexes_tell_theirs(folder: Path, text: str, size: int) -> None:
    path = write(folder, f"[publish]\nmax-size = {text}")
    assert load(path).publish.max_size == size


#: A text of the file, and the line that a person reads of it.
WRONG = {
    "key": ('[build]\nemut = "abi3"', "build.emut is not a setting (did you mean build.emit?)"),
    "table": ("[smok]\n", "smok is not a setting (did you mean smoke?)"),
    "key of a table": ('emit = "abi3"', "emit is not a setting (did you mean build.emit?)"),
    "key in quotes": ('"a b" = 1', "'a b' is not a setting"),
    "key of none": ("xylophone = 1", "xylophone is not a setting"),
    "name of the only build": (
        '[build]\nname = "a"',
        "build.name is not a setting (did you mean build.mode?)",
    ),
    "no table": ("build = 3", "build is a table, not 3"),
    "choice": (
        '[build]\nemit = "abi"',
        'build.emit takes "per-python" or "abi3", not \'abi\' (did you mean abi3?)',
    ),
    "mode": (
        '[build]\nmode = "vendr"',
        ('build.mode takes "patch", "depend" or "vendor", not \'vendr\' (did you mean vendor?)'),
    ),
    "switch for a choice": (
        "[build]\nemit = true",
        'build.emit takes "per-python" or "abi3", not true',
    ),
    "Python as a number": (
        "[build]\npython = [3.10]",
        ('build.python takes a list of Pythons in quotes such as ["3.10", "3.14t"], not [3.1]'),
    ),
    "old Python": (
        '[build]\npython = ["2.7"]',
        ('build.python takes a list of Pythons in quotes such as ["3.10", "3.14t"], not ["2.7"]'),
    ),
    "no list": (
        '[build]\npython = "3.12"',
        ('build.python takes a list of Pythons in quotes such as ["3.10", "3.14t"], not \'3.12\''),
    ),
    "empty list": (
        "[build]\npython = []",
        ('build.python takes a list of Pythons in quotes such as ["3.10", "3.14t"], not []'),
    ),
    "twice": ('[build]\npython = ["3.12", "3.12"]', "build.python names '3.12' twice"),
    "label": (
        '[build]\nlocal = "Cu 126"',
        "build.local takes a label such as \"cu126.team\", not 'Cu 126'",
    ),
    "empty path": ('[build]\nout = ""', "build.out takes a path, not ''"),
    "NUL": ('[build]\nout = "a\\u0000b"', "build.out takes a path, not 'a\\x00b'"),
    "paths": ('[build]\npatches = "ours"', "build.patches takes a list of paths, not 'ours'"),
    "number for a switch": ("[smoke]\nenabled = 1", "smoke.enabled takes true or false, not 1"),
    "family": (
        '[vendor]\nfamilies = ["nppp"]',
        (
            'vendor.families takes a list of "npp", "cudart", "cublas", "cufft", "cudnn", '
            '"nvrtc", "curand", "cusolver", "cusparse", "nvjpeg", "nvjitlink", "nvvm", '
            '"cupti", "nvtoolsext", or "all", not ["nppp"] (did you mean npp?)'
        ),
    ),
    "size": (
        '[publish]\nmax-size = "much"',
        "publish.max-size takes a size such as \"2 GiB\", not 'much'",
    ),
    "negative size": (
        "[publish]\nmax-size = -1",
        'publish.max-size takes a size such as "2 GiB", not -1',
    ),
    "DLL": (
        '[allow]\nunlisted-dlls = ["nvJ"]',
        ('allow.unlisted-dlls takes a list of DLLs such as ["nvJitLink_120_0.dll"], not ["nvJ"]'),
    ),
    "range": ("[smoke]\ntimeout = 0", "smoke.timeout takes a number from 1 to 86400, not 0"),
    "text for a number": (
        '[smoke]\ntimeout = "60"',
        "smoke.timeout takes a number from 1 to 86400, not '60'",
    ),
    "switch for a number": (
        "[smoke]\ntimeout = true",
        "smoke.timeout takes a number from 1 to 86400, not true",
    ),
    "date": (
        "[smoke]\ntimeout = 2026-01-02",
        'smoke.timeout takes a number from 1 to 86400, not "2026-01-02"',
    ),
    "dlls": (
        '[smoke]\ndlls = "automatic"',
        (
            'smoke.dlls takes a list such as ["name==1.0"], or "auto", not \'automatic\' '
            "(did you mean auto?)"
        ),
    ),
    "two sources": (
        '[source]\nfile = "a.whl"\nurl = "https://host/a.whl"',
        "source.file and source.url contradict each other: name one source",
    ),
    "key of another source": (
        '[source]\nsample = {}\ntag = "1"',
        "source.tag belongs to source.release, which is not given",
    ),
    "key without a source": (
        '[source]\npython = "3.9"',
        "source.python belongs to source.requirement, which is not given",
    ),
    "hash without a source": (
        f'[source]\nsha256 = "{SHA}"',
        (
            "source.sha256 belongs to source.file or source.url or source.requirement or "
            "source.release, which is not given"
        ),
    ),
    "sample's key": (
        "[source.sample]\ncud = 12",
        "source.sample.cud is not a setting (did you mean source.sample.cuda?)",
    ),
    "sample's version": (
        '[source]\nsample = {opencv = "new"}',
        "source.sample.opencv takes a version such as \"4.14.0.94\", not 'new'",
    ),
    "sample's CUDA": (
        "[source]\nsample = {cuda = 9}",
        "source.sample.cuda takes a number from 10 to 99, not 9",
    ),
    "sample that is no table": ("[source]\nsample = true", "source.sample is a table, not true"),
    "hash": (
        '[source]\nfile = "a"\nsha256 = "abc"',
        "source.sha256 takes 64 hexadecimal digits, not 'abc'",
    ),
    "URL": (
        '[source]\nurl = "host/a.whl"',
        "source.url takes a URL that starts with https:// or http://, not 'host/a.whl'",
    ),
    "URL with a space": (
        '[source]\nurl = "https://host/a b.whl"',
        ("source.url takes a URL that starts with https:// or http://, not 'https://host/a b.whl'"),
    ),
    "port": (
        '[source]\nurl = "https://host:x/a.whl"',
        ("source.url takes a URL that starts with https:// or http://, not 'https://host:x/a.whl'"),
    ),
    "password": (
        '[source]\nurl = "https://me:pw@host/a"',
        (
            "source.url holds a name or a password: put them into .netrc; for uploads into "
            "TWINE_USERNAME and TWINE_PASSWORD, .pypirc or keyring"
        ),
    ),
    "password that breaks the URL": (
        '[source]\nurl = "https://me:p/w@host/a"',
        (
            "source.url holds a name or a password: put them into .netrc; for uploads into "
            "TWINE_USERNAME and TWINE_PASSWORD, .pypirc or keyring"
        ),
    ),
    "password of an upload": (
        '[publish]\nrepository-url = "https://me:pw@host/"',
        (
            "publish.repository-url holds a name or a password: put them into .netrc; for "
            "uploads into TWINE_USERNAME and TWINE_PASSWORD, .pypirc or keyring"
        ),
    ),
    "fragment": (
        f'[source]\nurl = "https://h/a#sha256={SHA}"',
        f"source.url ends in #sha256={SHA}: a hash goes into sha256",
    ),
    "repository": (
        '[source]\nrelease = "https://host/a/b"',
        "source.release takes \"owner/name\", not 'https://host/a/b'",
    ),
    "API": (
        '[source]\nrelease = "a/b"\napi = "http://h/"',
        ("source.api takes an https:// URL, for a token may be sent there, not 'http://h/'"),
    ),
    "variables": (
        '[source]\nrelease = "a/b"\ntoken-env = ["A-B"]',
        'source.token-env takes a list of names of environment variables, not ["A-B"]',
    ),
    "Python of a requirement": (
        '[source]\nrequirement = "a"\npython = "3"',
        "source.python takes a Python in quotes such as \"3.12\", not '3'",
    ),
    "platform": (
        '[source]\nrequirement = "a"\nplatform = "win32"',
        "source.platform takes \"win_amd64\", not 'win32'",
    ),
    "requirement at a URL": (
        '[source]\nrequirement = "a @ https://host/a.whl"',
        (
            'source.requirement takes "name==1.0" without URL, extras and markers, not \'a '
            "@ https://host/a.whl'"
        ),
    ),
    "requirement with extras": (
        '[source]\nrequirement = "a[b]"',
        ("source.requirement takes \"name==1.0\" without URL, extras and markers, not 'a[b]'"),
    ),
    "no requirement": (
        '[source]\nrequirement = "a b"',
        ("source.requirement takes \"name==1.0\" without URL, extras and markers, not 'a b'"),
    ),
    "abi3 for a free-threaded Python": (
        '[build]\nemit = "abi3"\npython = ["3.14t"]',
        (
            "build.emit = \"abi3\" contradicts build.python '3.14t': a free-threaded Python "
            "installs no abi3 wheel"
        ),
    ),
}


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_one_line_with_file_key_reason_and_what_is_allowed(
    folder: Path, text: str, line: str
) -> None:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {line} [config]"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"[build", "is not TOML: ", id="no TOML"),
        pytest.param(b"a = 1\na = 2", "is not TOML: ", id="a key twice"),
        pytest.param(
            b"a = '\xff'", "is not UTF-8 (byte 5): save it as UTF-8 [config]", id="no UTF-8"
        ),
        pytest.param(
            "[build]".encode("utf-16"), "is UTF-16: save it as UTF-8 [config]", id="UTF-16"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_said(folder: Path, content: bytes, problem: str) -> None:
    path = write(folder, "")
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_as_windows_editors_write_it_is_read_over(folder: Path) -> None:
    path = write(folder, "")
    path.write_text("[build]\nemit = 'abi3'\n", encoding="utf-8-sig")
    assert load(path).build.emit == "abi3"


def test_of_a_file_that_is_not_there_is_said_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "repack.toml")
    assert str(caught.value) == (
        f"{tmp_path / 'repack.toml'}: there is no such file [config]; "
        "`repack init` writes a repack.toml with comments"
    )


def test_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


class TestAnOverride:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            pytest.param("a.b=abi3", "abi3", id="a bare word"),
            pytest.param('a.b="abi3"', "abi3", id="text in quotes"),
            pytest.param("a.b=3.10", "3.10", id="a Python, not a number"),
            pytest.param("a.b=[3.10, '3.11']", ["3.10", "3.11"], id="a list of Pythons"),
            pytest.param("a.b=13", 13, id="a number"),
            pytest.param("a.b=0x10", "0x10", id="a number written so stays text"),
            pytest.param("a.b=2026-01-02", "2026-01-02", id="a date stays text"),
            pytest.param("a.b=true", True, id="a switch"),
            pytest.param("a.b={c = 1}", {"c": 1}, id="a table"),
            pytest.param("a.b=C:\\x\\a.whl", "C:\\x\\a.whl", id="a path of Windows"),
            pytest.param("a.b=https://h/?a=b#c", "https://h/?a=b#c", id="a URL"),
            pytest.param("a.b = [*", "[*", id="a pattern"),
            pytest.param("a.b=1\nc=2", "1\nc=2", id="a second line"),
            pytest.param("a.b=", "", id="nothing"),
        ],
    )
    def test_is_a_key_and_a_toml_value_or_the_text_it_is(self, text: str, value: object) -> None:
        assert parse_override(text) == ("a.b", value)

    @pytest.mark.parametrize("text", ["build.emit", "=abi3", "a b=1", "a..b=1", "{}=1", "\n=1"])
    def test_that_is_none_is_a_usage_error(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"write build\.emit=abi3"):
            parse_override(text)

    @pytest.mark.parametrize(
        ("text", "python"),
        [
            ("build.python=3.10", ("3.10",)),
            ('build.python=["3.10", "3.12"]', ("3.10", "3.12")),
            ("build.python=3.14t", ("3.14t",)),
        ],
    )
    def test_may_give_a_list_one_value(
        self, folder: Path, text: str, python: tuple[str, ...]
    ) -> None:
        assert load(write(folder, ""), overrides(text)).build.python == python

    def test_may_give_text_a_number(self, folder: Path) -> None:
        config = load(write(folder, '[source]\nrelease = "a/b"'), overrides("source.tag=13"))
        assert config.source == ReleaseSource(repository="a/b", tag="13")

    def test_takes_auto_for_the_dlls(self, folder: Path) -> None:
        path = write(folder, '[smoke]\ndlls = ["a"]')
        assert load(path, overrides("smoke.dlls=auto")).smoke.dlls == "auto"
        assert load(path, overrides("smoke.dlls=b")).smoke.dlls == ("b",)

    def test_is_put_over_the_file(self, folder: Path) -> None:
        path = write(folder, '[build]\nemit = "per-python"\nout = "made"')
        config = load(path, overrides("build.emit=abi3"))
        assert (config.build.emit, config.build.out) == ("abi3", folder / "made")
        assert config.given == {"build.emit"}

    def test_that_is_wrong_is_a_usage_error(self, folder: Path) -> None:
        path = write(folder, "")
        with pytest.raises(UsageError) as caught:
            load(path, overrides("build.emit=abi"))
        assert str(caught.value) == (
            'build.emit takes "per-python" or "abi3", not \'abi\' (did you mean abi3?) [config]'
        )

    def test_that_is_none_asks_for_the_one_that_was_meant(self, folder: Path) -> None:
        with pytest.raises(
            UsageError, match=r"^buld.emit is not a setting \(did you mean build.emit\?\)"
        ):
            load(write(folder, ""), overrides("buld.emit=abi3"))

    @pytest.mark.parametrize("key", sorted(SETTINGS))
    def test_may_be_of_any_key(self, folder: Path, key: str) -> None:
        with pytest.raises(UsageError, match=f"^{key} takes "):
            load(write(folder, ""), [(key, 0.5)])

    def test_that_contradicts_the_file_is_a_usage_error(self, folder: Path) -> None:
        path = write(folder, '[build]\npython = ["3.14t"]')
        with pytest.raises(UsageError, match="no abi3 wheel"):
            load(path, overrides("build.emit=abi3"))

    def test_does_not_mend_a_wrong_file(self, folder: Path) -> None:
        path = write(folder, '[build]\nemut = "abi3"')
        with pytest.raises(ConfigError):
            load(path, overrides("build.emit=abi3"))

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
        ],
    )
    def test_is_read(self, folder: Path, text: str, source: object) -> None:
        assert load(write(folder, f"[source]\n{text}\n")).source == source

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
        ("text", "settings"),
        [
            ("a.whl", {"source.file": "a.whl"}),
            ("C:\\wheels\\a.whl", {"source.file": "C:\\wheels\\a.whl"}),
            ("wheels/a", {"source.file": "wheels/a"}),
            ("file:///w/a%20b.whl", {"source.file": str(Path("/w/a b.whl"))}),
            (
                f"file:///w/a.whl#sha256={SHA}",
                {"source.file": str(Path("/w/a.whl")), "source.sha256": SHA},
            ),
            ("https://h/a.whl", {"source.url": "https://h/a.whl"}),
            (f"http://h/a#sha256={SHA}", {"source.url": "http://h/a", "source.sha256": SHA}),
            ("opencv-cu126==4.12.0", {"source.requirement": "opencv-cu126==4.12.0"}),
            ("opencv-cu126", {"source.requirement": "opencv-cu126"}),
        ],
    )
    def test_option_is_a_file_a_url_or_a_requirement(
        self, text: str, settings: dict[str, str]
    ) -> None:
        assert dict(parse_source(text)) == settings

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


#: A setting of the file, its key, and how the line shows the value that the key does not take.
WRONG_VALUES = {
    "choice": ('[build]\nemit = "abi"', "build.emit", "'abi' (did you mean abi3?)"),
    "mode": ('[build]\nmode = "vendr"', "build.mode", "'vendr' (did you mean vendor?)"),
    "switch for a choice": ("[build]\nemit = true", "build.emit", "true"),
    "Python as a number": ("[build]\npython = [3.10]", "build.python", "[3.1]"),
    "old Python": ('[build]\npython = ["2.7"]', "build.python", '["2.7"]'),
    "no list": ('[build]\npython = "3.12"', "build.python", "'3.12'"),
    "empty list": ("[build]\npython = []", "build.python", "[]"),
    "label": ('[build]\nlocal = "Cu 126"', "build.local", "'Cu 126'"),
    "empty path": ('[build]\nout = ""', "build.out", "''"),
    "number for a path": ("[build]\nout = 3", "build.out", "3"),
    "NUL": ('[build]\nout = "a\\u0000b"', "build.out", "'a\\x00b'"),
    "paths": ('[build]\npatches = "ours"', "build.patches", "'ours'"),
    "number for a switch": ("[smoke]\nenabled = 1", "smoke.enabled", "1"),
    "family": ('[vendor]\nfamilies = ["nppp"]', "vendor.families", '["nppp"] (did you mean npp?)'),
    "size": ('[publish]\nmax-size = "much"', "publish.max-size", "'much'"),
    "negative size": ("[publish]\nmax-size = -1", "publish.max-size", "-1"),
    "DLL": ('[allow]\nunlisted-dlls = ["nvJ"]', "allow.unlisted-dlls", '["nvJ"]'),
    "range": ("[smoke]\ntimeout = 0", "smoke.timeout", "0"),
    "text for a number": ('[smoke]\ntimeout = "60"', "smoke.timeout", "'60'"),
    "switch for a number": ("[smoke]\ntimeout = true", "smoke.timeout", "true"),
    "date": ("[smoke]\ntimeout = 2026-01-02", "smoke.timeout", '"2026-01-02"'),
    "dlls": ('[smoke]\ndlls = "automatic"', "smoke.dlls", "'automatic' (did you mean auto?)"),
    "version": ('[source]\nsample = {opencv = "new"}', "source.sample.opencv", "'new'"),
    "CUDA": ("[source]\nsample = {cuda = 9}", "source.sample.cuda", "9"),
    "hash": ('[source]\nfile = "a"\nsha256 = "abc"', "source.sha256", "'abc'"),
    "URL": ('[source]\nurl = "host/a.whl"', "source.url", "'host/a.whl'"),
    "space": ('[source]\nurl = "https://host/a b.whl"', "source.url", "'https://host/a b.whl'"),
    "port": ('[source]\nurl = "https://host:x/a"', "source.url", "'https://host:x/a'"),
    "bracket": ('[source]\nurl = "https://[host/a"', "source.url", "'https://[host/a'"),
    "repository": ('[source]\nrelease = "https://h/a/b"', "source.release", "'https://h/a/b'"),
    "API": ('[source]\nrelease = "a/b"\napi = "http://h/"', "source.api", "'http://h/'"),
    "token": ('[source]\nrelease = "a/b"\ntoken-env = ["A-B"]', "source.token-env", '["A-B"]'),
    "Python": ('[source]\nrequirement = "a"\npython = "3"', "source.python", "'3'"),
    "platform": ('[source]\nrequirement = "a"\nplatform = "x"', "source.platform", "'x'"),
    "at a URL": (
        '[source]\nrequirement = "a @ https://h"',
        "source.requirement",
        "'a @ https://h'",
    ),
    "extras": ('[source]\nrequirement = "a[b]"', "source.requirement", "'a[b]'"),
    "two words": ('[source]\nrequirement = "a b"', "source.requirement", "'a b'"),
}
CREDENTIALS = (
    "holds a name or a password: put them into .netrc; for uploads into TWINE_USERNAME and "
    "TWINE_PASSWORD, .pypirc or keyring"
)
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
    "no source": ("source = 3", "source is a table, not 3"),
    "twice": ('[build]\npython = ["3.12", "3.12"]', "build.python names '3.12' twice"),
    "two sources": (
        '[source]\nfile = "a.whl"\nurl = "https://host/a.whl"',
        "source.file and source.url contradict each other: name one source",
    ),
    "key of another source": (
        '[source]\nsample = {}\ntag = "1"',
        "source.tag belongs to source.release, which is not given",
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
    "sample that is no table": ("[source]\nsample = true", "source.sample is a table, not true"),
    "password": ('[source]\nurl = "https://me:pw@host/a"', f"source.url {CREDENTIALS}"),
    "broken password": ('[source]\nurl = "https://me:p/w@host/a"', f"source.url {CREDENTIALS}"),
    "password of an upload": (
        '[publish]\nrepository-url = "https://me:pw@host/"',
        f"publish.repository-url {CREDENTIALS}",
    ),
    "fragment": (
        f'[source]\nurl = "https://h/a#sha256={SHA}"',
        f"source.url ends in #sha256={SHA}: a hash goes into sha256",
    ),
    "abi3 for a free-threaded Python": (
        '[build]\nemit = "abi3"\npython = ["3.14t"]',
        (
            "build.emit = \"abi3\" contradicts build.python '3.14t': a free-threaded Python "
            "installs no abi3 wheel"
        ),
    ),
    "the first of two faults": (
        '[build]\nmode = "move"\n[smoke]\ntimeout = -1',
        'build.mode takes "patch", "depend" or "vendor", not \'move\'',
    ),
} | {
    name: (text, f"{key} takes {SETTINGS[key].takes}, not {value}")
    for name, (text, key, value) in WRONG_VALUES.items()
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


class TestAnOverride:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            pytest.param('a.b="abi3"', "abi3", id="text in quotes"),
            pytest.param("a.b=3.10", "3.10", id="a Python, not a number"),
            pytest.param("a.b=[3.10, '3.11']", ["3.10", "3.11"], id="a list of Pythons"),
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
        ("text", "key", "value"),
        [
            ("build.python=3.10", "build.python", ("3.10",)),
            ('build.python=["3.10", "3.12"]', "build.python", ("3.10", "3.12")),
            ("build.driver-stub=true", "build.driver-stub", True),
            ("smoke.timeout=7", "smoke.timeout", 7),
            ("build.local=13", "build.local", "13"),
            ("publish.max-size=2GiB", "publish.max-size", 2 << 30),
            ("publish.max-size=1.5 gb", "publish.max-size", 1_500_000_000),
            ("publish.max-size=4096", "publish.max-size", 4096),
            ("vendor.families=all", "vendor.families", "all"),
            ("vendor.families=npp", "vendor.families", ("npp",)),
            ("smoke.dlls=auto", "smoke.dlls", "auto"),
            ("smoke.dlls=a", "smoke.dlls", ("a",)),
            ("build={emit = 'abi3'}", "build.emit", "abi3"),
        ],
    )
    def test_is_what_its_key_takes(self, folder: Path, text: str, key: str, value: object) -> None:
        config = load(write(folder, ""), overrides(text))
        table, name = key.split(".")
        assert getattr(getattr(config, table), name.replace("-", "_")) == value

    def test_is_put_over_the_file(self, folder: Path) -> None:
        path = write(folder, '[build]\nemit = "per-python"\nout = "made"')
        config = load(path, overrides("build.emit=abi3"))
        assert (config.build.emit, config.build.out) == ("abi3", folder / "made")
        assert config.given == {"build.emit"}

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

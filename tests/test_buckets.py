"""An index in a bucket, on a genuine S3 server and in processes of their own."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url
from platforms import POSIX
from publishing import PROJECT, checked, published, tiny
from s3server import ACCESS_KEY, SECRET_KEY, S3Server

pytestmark = POSIX
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.use(monkeypatch)


def test_of_two_wheels_of_one_name_the_second_is_refused(
    tmp_path: Path, s3: S3Server, capsys: Capture
) -> None:
    place = f"s3://team/{uuid.uuid4().hex}"
    wheel = tiny(tmp_path / "a", "1.0")
    tiny(tmp_path / "b", "1.0", value=2)
    published(capsys, tmp_path / "a", "--index-dir", place)
    # As if the first had put its wheel, and not yet written any page.
    store = from_url(place, client_options={"allow_http": True})
    for key in ("index.json", "index.html", f"{PROJECT}/index.json", f"{PROJECT}/index.html"):
        obstore.delete(store, key)
    answer = published(capsys, tmp_path / "b", "--index-dir", place, code=1)
    assert answer["error"]["code"] == "other-bytes"
    assert (s3.folder(place) / PROJECT / wheel.name).read_bytes() == wheel.read_bytes()
    published(capsys, tmp_path / "a", "--index-dir", place)
    assert checked(capsys, place)["faults"] == []


def test_whoever_is_overtaken_by_another_at_any_write_loses_nothing_of_either(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another publishes, and is done, just before the n-th change of an object."""
    tiny(tmp_path / "one", "1.0")
    tiny(tmp_path / "two", "2.0")
    tiny(tmp_path / "two", "1.0", name="other_thing")
    originals = {name: getattr(obstore, name) for name in ("put", "copy", "delete")}
    number, left = 0, -1
    while number == 0 or left < 0:
        left = number
        place = f"s3://team/{uuid.uuid4().hex}"

        def overtaken(call: Callable[..., object], place: str) -> Callable[..., object]:
            def wrapper(*args: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left == -1:
                    published(capsys, tmp_path / "two", "--index-dir", place)
                return call(*args, **named)

            return wrapper

        with monkeypatch.context() as patch:
            for name, call in originals.items():
                patch.setattr(obstore, name, overtaken(call, place))
            published(capsys, tmp_path / "one", "--index-dir", place)
        answer = checked(capsys, place)
        assert (answer["files"], answer["faults"]) == (3 if left < 0 else 1, []), number
        number += 1
    assert number > 8


@pytest.mark.parametrize(
    ("changed", "bucket", "reason"),
    [
        pytest.param({}, "nobody", "NoSuchBucket", id="no such bucket"),
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": "wrong"}, "team", "SignatureDoesNotMatch", id="wrong key"
        ),
        pytest.param({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "team", "error", id="down"),
    ],
)
def test_a_fault_is_one_line_without_a_key(
    changed: dict[str, str],
    bucket: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    tiny(tmp_path / "dist")
    command = [sys.executable, "-m", "repack", "publish", str(tmp_path / "dist"), "-q"]
    run = subprocess.run(
        [*command, "--index-dir", f"s3://{bucket}/x"],
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    (line,) = run.stderr.splitlines()
    assert run.returncode == 1
    assert f"s3://{bucket}/x: the store says: " in line
    assert reason in line
    assert ACCESS_KEY not in line
    assert SECRET_KEY not in line


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("memory://x", "name a folder, or a bucket", id="another scheme"),
        pytest.param("https://x/simple", "name a folder, or a bucket", id="a web site"),
        pytest.param("s3://me:pw@team/x", "no place for a password", id="a password"),
    ],
)
def test_a_url_that_is_no_bucket_is_refused(
    place: str, words: str, tmp_path: Path, capsys: Capture
) -> None:
    tiny(tmp_path / "dist")
    answer = published(capsys, tmp_path / "dist", "--index-dir", place, code=2)
    assert words in answer["error"]["message"]
    assert "pw" not in answer["error"]["message"].replace("password", "")


def test_where_obstore_is_missing_what_installs_it_is_said() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None; from repack.cli import main\n"
        "sys.exit(main(['publish', '--check', '--index-dir', 's3://team/x']))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert 'python -m pip install "cv2-repack[bucket]"' in run.stderr

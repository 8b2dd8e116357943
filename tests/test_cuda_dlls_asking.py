"""The module in cv2, asked for what it would choose, reloaded, and imported in odd ways."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from loading import NATIVE, patched
from machines import BIN, CUDNN, FILE, NPP, SITE, SYSTEM, TOOLKIT, X86, Machine

GOLDEN = Path(__file__).parent / "golden" / "reports"


def machine() -> Machine:
    """Return a machine with npp, a broken cuDNN and no driver."""
    return Machine(
        {
            BIN: NPP,
            "D:\\cudnn": {CUDNN[0]: X86},
            SYSTEM: [],
            SITE: ["opencv_python-4.9.0.80.dist-info", "numpy-2.1.dist-info"],
        },
        {"CUDA_PATH": TOOLKIT, "PATH": "D:\\cudnn"},
        families={"npp": NPP, "cudnn": CUDNN},
    )


def asked(one: Machine, *arguments: str) -> tuple[int, str]:
    """Return the exit code and what is printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        one.sys.stdout = sys.stdout
        code = one.module.main(list(arguments))
    return code, printed.getvalue()


def test_the_report_is_the_golden_one() -> None:
    code, text = asked(machine())
    assert code == 1
    assert text == (GOLDEN / "text.txt").read_text(encoding="utf-8")


def test_the_report_for_programs_is_the_golden_one() -> None:
    code, text = asked(machine(), "--json")
    assert code == 1
    facts = json.loads(text)
    del facts["build"]
    assert facts == json.loads((GOLDEN / "facts.json").read_text(encoding="utf-8"))


def test_it_ends_with_0_where_all_is_found_and_registers_nothing() -> None:
    one = machine()
    one.add("D:\\cudnn", CUDNN)
    assert asked(one)[0] == 0
    assert one.registered == []
    assert one.environ["PATH"] == "D:\\cudnn"


def test_a_mistake_in_the_override_is_what_it_says() -> None:
    one = machine()
    one.environ["OPENCV_CUDA_DLL_DIRS"] = "D:\\gone"
    with pytest.raises(ImportError, match="which does not exist: correct it or unset it"):
        one.module.main([])


def test_letters_that_a_console_has_not_are_written_otherwise() -> None:
    one = Machine({"D:\\库": NPP}, {"PATH": "D:\\库"})
    written = io.BytesIO()
    output = io.TextIOWrapper(written, encoding="cp1252", write_through=True)
    with redirect_stdout(output):
        one.sys.stdout = output
        assert one.module.main([]) == 0
    assert b"npp: D:\\\\u5e93 (PATH)" in written.getvalue()


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        pytest.param("1", 5, id="on"),
        pytest.param("0", 0, id="off"),
        pytest.param("", 0, id="unset"),
    ],
)
def test_each_step_is_printed_where_that_is_asked_for(value: str, lines: int) -> None:
    one = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT, "OPENCV_CUDA_DEBUG": value})
    one.load()
    said = one.sys.stderr.getvalue().splitlines()
    assert len(said) == lines
    if lines:
        assert said[-1] == f"cv2.cuda_dlls: npp: {BIN} (CUDA_PATH) is taken"


def test_without_a_console_nothing_is_printed() -> None:
    one = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT, "OPENCV_CUDA_DEBUG": "1"})
    one.sys.stderr = None
    assert one.load() == [BIN]


# As a program


def package(folder: Path, loader: str = "from .cv2 import *\n") -> Path:
    """Write a patched cv2 whose native module fails."""
    texts = patched({"cv2/__init__.py": loader.encode()})
    for name, content in {**texts, "cv2/cv2.py": NATIVE.encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    # What Python would find first where the file is run by its path; cv2 does have a `typing`.
    for name in ("typing", "json"):
        (folder / "cv2" / name).mkdir()
        (folder / "cv2" / name / "__init__.py").write_text("raise SystemError\n")
    return folder


def run(folder: Path, *words: str | Path) -> Any:  # noqa: ANN401 - a JSON object
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_it_answers_though_cv2_does_not_import(tmp_path: Path) -> None:
    folder = package(tmp_path / "site")
    by_name = run(folder, "-m", "cv2.cuda_dlls", "--json")
    by_path = run(folder, folder / "cv2" / "cuda_dlls.py", "--json")
    assert by_name["missing"] == by_path["missing"] == {"npp": ["nppc64_12.dll"]}
    assert by_name["cv2"] == by_path["cv2"] == str(folder / "cv2")


def test_another_module_that_is_run_imports_cv2_as_ever(tmp_path: Path) -> None:
    folder = package(tmp_path / "site")
    (folder / "tool").mkdir()
    (folder / "tool" / "__init__.py").write_text(
        "import json\ntry:\n    import cv2\nexcept ImportError as error:\n"
        "    print(json.dumps(str(error)))\n    raise SystemExit(1)\n"
    )
    (folder / "tool" / "cuda_dlls.py").write_text("")
    assert run(folder, "-m", "tool.cuda_dlls").startswith("DLL load failed")


# Imported in odd ways


def test_a_reload_keeps_what_is_registered() -> None:
    one = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    one.load()
    kept, path = one.module._loading, one.environ["PATH"]
    exec(compile(FILE.read_text(encoding="utf-8"), FILE, "exec"), vars(one.module))  # noqa: S102
    assert one.module._loading is kept
    assert kept._handles
    assert one.registered == [BIN]
    assert one.environ["PATH"] == path


def test_it_is_the_same_under_pytests_rewriting_of_assertions() -> None:
    from _pytest.assertion.rewrite import rewrite_asserts  # noqa: PLC0415 - for this test alone

    source = FILE.read_bytes()
    tree = ast.parse(source)
    rewrite_asserts(tree, source)
    names = {"__name__": "cv2.cuda_dlls", "__file__": str(FILE)}
    exec(compile(tree, FILE, "exec"), names)  # noqa: S102 - the module is what is tested
    with names["loading"]():  # type: ignore[operator] # made at run time
        pass


def test_a_python_without_arguments_is_not_asked() -> None:
    one = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    del one.sys.argv
    assert one.load() == [BIN]


# The loader believes that this is Windows, and four threads import cv2 at once.
SCRIPT = """\
import json, os, sys, threading
sys.path.insert(0, sys.argv[1])
os.environ["CURED"] = "1"
os.name = "nt"
said = []
def attempt():
    import cv2
    said.append(cv2.resize())
threads = [threading.Thread(target=attempt) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import cv2
said.append(len(cv2.cuda_dlls._loading._entered))
print(json.dumps(said))
sys.stdout.flush()
os._exit(1)
"""


@pytest.mark.parametrize(
    "flags", [[], ["-I"], ["-S"], ["-I", "-S"], ["-OO"], ["-W", "error"]], ids=" ".join
)
def test_threads_import_it_at_once_under_every_flag(flags: list[str], tmp_path: Path) -> None:
    folder = package(tmp_path / "site")
    assert run(folder, *flags, "-c", SCRIPT, folder) == ["resized"] * 4 + [0]

"""The documentation says what the code has: every setting, code and variable, and no other."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from running import REPACK

import repack
from repack.cli.parser import make_parser
from repack.cli.texts import VARIABLES
from repack.config import load, parse_override, setting_keys
from repack.config.toml import read_toml
from repack.config.values import (
    Allow,
    Build,
    IndexSource,
    Publish,
    ReleaseSource,
    SampleSource,
    Smoke,
    Vendor,
)
from repack.patching import builtin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]
MODULE = builtin_folder() / "cuda-dlls" / "cuda_dlls.py"


def rows(page: str, columns: int) -> Iterator[list[str]]:
    """Yield the cells of each row of a page's tables of so many columns."""
    for line in (DOCS / "reference" / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells


# Nothing is missing, and nothing is too much


def test_every_setting_is_documented_and_no_other() -> None:
    assert sorted(cells[0].strip("`") for cells in rows("configuration.md", 4)) == list(
        setting_keys()
    )


def test_the_default_of_each_setting_is_the_documented_one(tmp_path: Path) -> None:
    tables = {
        "source.sample": SampleSource,
        "source": (IndexSource, ReleaseSource),
        "build": Build,
        "vendor": Vendor,
        "publish": Publish,
        "smoke": Smoke,
        "allow": Allow,
    }
    for key, _, default, _ in rows("configuration.md", 4):
        table, _, name = key.strip("`").rpartition(".")
        classes = tables.get(table, ())
        known = {
            field.name.replace("_", "-"): field.default
            for cls in (classes if isinstance(classes, tuple) else (classes,))
            for field in fields(cls)
        }
        (tmp_path / "x.toml").write_text(f"x = {default.strip('`') or '[]'}", encoding="utf-8")
        told = read_toml(tmp_path / "x.toml")["x"]
        told = tuple(told) if isinstance(told, list) else told
        meant = known.get(name, ())
        if key != "`build.out`":  # beside the file, wherever that is
            assert told == (meant if isinstance(meant, str | int | tuple) else ()), key


def findings_of(path: Path) -> Iterator[str]:
    """Yield the codes that a module gives to findings and notes."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for word in node.keywords if node.func.id in {"Finding", "Note"} else ():
                if word.arg == "code" and isinstance(word.value, ast.Constant):
                    yield str(word.value.value)


def test_every_code_of_a_finding_is_documented_and_no_other() -> None:
    codes = {
        code
        for path in Path(repack.__file__).parent.rglob("*.py")
        if "_patches" not in path.parts
        for code in findings_of(path)
    }
    recipes = "".join(
        path.read_text(encoding="utf-8") for path in MODULE.parents[1].rglob("*.toml")
    )
    codes |= set(re.findall(r'^note = "([\w-]+)"', recipes, re.MULTILINE))
    assert {cells[0].strip("`") for cells in rows("findings.md", 2)} == codes


def test_every_variable_is_documented_and_no_other() -> None:
    named = {name for names in VARIABLES for name in names.split(", ")}
    module = MODULE.read_text(encoding="utf-8")
    named |= set(re.findall(r'"(OPENCV_\w+|CUDA_PATH|CUDA_HOME|CUDNN_PATH)"', module))
    told = {
        name for cells in rows("environment.md", 2) for name in re.findall("`([A-Z_]+)`", cells[0])
    }
    assert told == named


# Every block of commands is run, or at least understood

#: A comment before a block that says why it is not run here, or which file it is.
NOT_RUN, FILE = re.compile(r"<!-- not run: .+ -->"), re.compile(r"<!-- file: (\S+) -->")


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield language, content and preceding comment of each block of a page."""
    before = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            yield token.info.split(" ")[0], token.content, before
        before = token.content.strip() if token.type == "html_block" else ""


def commands(content: str) -> list[str]:
    return [line[2:] for line in content.splitlines() if line.startswith("$ ")]


def ids(page: Path) -> str:
    return page.relative_to(TOP).as_posix()


def written(language: str, content: str) -> list[str]:
    """Return the lines of a block that call repack."""
    lines = commands(content) if language == "console" else content.splitlines()
    return [line for line in lines if line.startswith("repack ")]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_line_that_calls_repack_is_one_that_repack_takes(page: Path) -> None:
    for language, content, _ in blocks(page):
        for line in written(language, content):
            words = shlex.split(re.split(r" (?:>|\|\|) ", line)[0].replace("*", "x"))[1:]
            if words != ["--version"]:
                options = make_parser().parse_args(words)
                for override in getattr(options, "overrides", []):
                    parse_override(override)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_settings_block_is_one_that_repack_takes(page: Path, tmp_path: Path) -> None:
    for language, content, before in blocks(page):
        name = FILE.fullmatch(before)
        if language == "toml" and (name is None or name[1] == "repack.toml"):
            (tmp_path / "repack.toml").write_text(content, encoding="utf-8")
            load(tmp_path / "repack.toml")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_what_is_typed_into_windows_console_is_of_the_kind_that_the_tests_know(page: Path) -> None:
    known = re.compile(
        r"set [A-Z_]+=.*|python -m (pip (un)?install .+|cv2\.cuda_dlls( --json)?)|python -c \".+\""
    )
    for language, content, _ in blocks(page):
        for line in content.splitlines() if language == "bat" else ():
            assert known.fullmatch(line.strip()), line


WORKFLOW = DOCS / "recipes" / "github-actions.yml"


def test_the_recipes_install_what_setup_installs_and_call_repack_as_it_is() -> None:
    setup = (TOP / "noxfile.py").read_text(encoding="utf-8")
    for recipe in (
        WORKFLOW,
        DOCS / "recipes" / "gitlab-ci.yml",
        DOCS / "recipes" / "Containerfile",
    ):
        text = recipe.read_text(encoding="utf-8")
        (packages,) = re.findall(r"--no-install-recommends ([\w ]+)", text)
        assert all(f'"{package.strip()}"' in setup for package in packages.split()), recipe.name
        assert {"maven", "wine", "wine64"} == set(packages.split())
        for line in re.findall(r"(?:RUN |run: |^    - )(repack .+)$", text, re.MULTILINE):
            typed_in = line.replace('"$MODE"', "patch").replace("*", "x")
            words, *_ = re.split(" >>? ", typed_in)
            assert make_parser().parse_args(shlex.split(words)[1:]).command


@pytest.mark.network
@pytest.mark.wine
def test_the_steps_of_the_workflow_run_in_order(tmp_path: Path) -> None:
    settings = '[source]\nsample = { opencv = "4.14.0.94" }\n[build]\npython = ["3.12"]\n'
    (tmp_path / "repack.toml").write_text(settings, encoding="utf-8")
    lines = re.findall(r"run: (repack .+)", WORKFLOW.read_text(encoding="utf-8"))
    assert lines[0].startswith("repack build ")
    for line in lines:
        typed(line, tmp_path)
    assert list((tmp_path / "dist").glob("*.whl"))


def typed(line: str, folder: Path) -> None:
    """Run a line in a shell whose `repack` is the one under test."""
    path = f"{REPACK.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", line],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "MODE": "patch",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


RUN = [
    page
    for page in PAGES
    if any(lang == "console" and not NOT_RUN.match(why) for lang, _, why in blocks(page))
]


@pytest.mark.network
@pytest.mark.wine
@pytest.mark.parametrize(
    "page", [page for page in RUN if "import-failed" not in page.parts], ids=ids
)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    for language, content, before in blocks(page):
        if name := FILE.fullmatch(before):
            path = tmp_path / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        elif language == "console" and not NOT_RUN.match(before):
            for line in commands(content):
                typed(line, tmp_path)

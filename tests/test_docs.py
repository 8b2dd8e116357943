"""The documentation says what the code has: every setting, code and variable, and no other."""

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
from driving import REPACK
from machines import FILE, REPORT, execute
from markdown_it import MarkdownIt
from publishing import served

import repack
from repack.cli import VARIABLES, make_parser
from repack.config import SETTINGS, ReleaseSource, describe, load, load_builds, parse_override
from repack.inspect.findings import TEXTS

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
MESSAGES = DOCS / "import-failed"
PAGES = [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]
#: What explains a failed import.
REPORTING = execute(REPORT, cuda_dlls=execute(FILE))


def rows(page: str, columns: int) -> Iterator[list[str]]:
    """Yield the cells of each row of a page's tables of so many columns."""
    for line in (DOCS / "reference" / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells


# Nothing is missing, and nothing is too much


def test_every_setting_is_documented_with_what_it_takes_and_its_default_and_no_other() -> None:
    table = {cells[0].strip("`"): cells for cells in rows("configuration.md", 4)}
    takes = {key: cells[1] for key, cells in table.items()}
    assert takes == {key: describe(setting.type) for key, setting in SETTINGS.items()}
    del table["build.out"]  # beside the file, wherever that is
    for key, (_, _, documented, _) in table.items():
        default = SETTINGS[key].default
        if default in {None, msgspec.NODEFAULT}:
            assert documented == "", key
        else:
            value = tomllib.loads(f"x = {documented.strip('`')}")["x"]
            assert (tuple(value) if isinstance(value, list) else value) == default, key


def test_every_code_of_a_finding_is_documented_and_no_other() -> None:
    documented = {cells[0].strip("`") for cells in rows("findings.md", 2)}
    texts = {
        str(word.value)
        for path in Path(repack.__file__).parent.rglob("*.py")
        for word in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(word, ast.Constant)
    }
    assert TEXTS.keys() <= documented <= texts


def test_every_variable_is_documented_and_no_other() -> None:
    named = {name for names in VARIABLES for name in names.split(", ")}
    module = FILE.read_text(encoding="utf-8")
    named |= set(re.findall(r'"(OPENCV_\w+|CUDA_PATH|CUDA_HOME|CUDNN_PATH)"', module))
    cells = " ".join(row[0] for row in rows("environment.md", 2))
    assert set(re.findall("`([A-Z_]+)`", cells)) == named


def pattern_of(text: str, fault: str = ".+") -> str:
    """Return what matches a text of the module, with anything in its other fields."""
    return re.sub(r"\\{\w+\\}", ".+", re.escape(text).replace(r"\{fault\}", fault))


def test_every_message_that_a_page_begins_with_is_one_of_the_module() -> None:
    faults = [*REPORTING.PLACE_FAULTS.values(), *REPORTING.FILE_FAULTS.values()]
    fault = f"({'|'.join(map(pattern_of, faults))})"
    patterns = [pattern_of(text, fault) for text in REPORTING.CAUSES.values()]
    patterns += [f"{pattern_of(text)}: .+" for text in REPORTING.PLACE_FAULTS.values()]
    patterns.append("installed over each other: .+")
    for page in sorted(MESSAGES.glob("*.md")):
        examples = re.findall("^    (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert examples or page.stem == "index", page.name
        for example in examples:
            assert any(re.fullmatch(pattern, example) for pattern in patterns), example


def test_every_error_number_that_the_module_explains_is_documented() -> None:
    page = (MESSAGES / "error.md").read_text(encoding="utf-8")
    documented = {
        number: (meaning, cure)
        for meanings, cure in re.findall(r"^\| (.+) \| (.+) \|$", page, re.MULTILINE)
        for meaning, numbers in re.findall(r"([^;]+?) \((\d[\d, to]*)\)(?:; )?", meanings)
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", numbers)
        for number in range(int(first), int(last or first) + 1)
    }
    assert documented == REPORTING.ERRORS


def test_every_file_that_the_readme_names_is_there() -> None:
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme)
    assert all((TOP / link).exists() for link in links), links


def test_nothing_has_anybody_install_our_name_from_a_public_index() -> None:
    ours = re.compile(r"""(pip|uv|pipx|poetry|pdm)\b.* (install|add) .*["' ](cv2-)?repack["'\[ ]""")
    places = [*PAGES, *(DOCS / "recipes").iterdir(), *Path(repack.__file__).parent.rglob("*.*")]
    for path in places:
        if path.suffix in {".py", ".md", ".yml", ".toml", ".jinja"}:
            for line in path.read_text(encoding="utf-8").splitlines():
                assert not ours.search(line), f"{path}: {line}"


# Every block of commands is run, or at least understood

#: A comment before a block that says why it is not run here, or which file it is.
NOT_RUN, NAMED = re.compile(r"<!-- not run: .+ -->"), re.compile(r"<!-- file: (\S+) -->")
#: That its program runs on beside all that follows; that the page goes on where another ended.
SERVES = "<!-- serves, from here to the end of the page -->"
GOES_ON = "<!-- folder: of the tutorial -->"


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield language, content and preceding comment of each block of a page."""
    before = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            yield token.info.split(" ")[0], token.content, before
        before = token.content.strip() if token.type == "html_block" else ""


def commands(content: str) -> list[str]:
    """Return the command lines of a block, those that go on after a backslash in one."""
    joined = re.sub(r"\\\n> +", "", content)
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def parse(line: str) -> None:
    """Fail unless repack takes the line."""
    words = shlex.split(re.split(r" (?:>|\|\|) ", line)[0].replace("*", "x"))[1:]
    if words != ["--version"]:
        for override in getattr(make_parser().parse_args(words), "overrides", []):
            parse_override(override)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_to_be_typed_or_written_is_taken(page: Path, tmp_path: Path) -> None:
    for language, content, before in blocks(page):
        lines = commands(content) if language == "console" else content.splitlines()
        for line in lines:
            if line.startswith("repack "):
                parse(line)
        if language == "toml" and before in {"", "<!-- file: repack.toml -->"}:
            (tmp_path / "repack.toml").write_text(content, encoding="utf-8")
            load(tmp_path / "repack.toml")


def test_an_example_is_taken() -> None:
    builds = [build for path in (TOP / "examples").iterdir() for build in load_builds(path)]
    assert builds
    assert all(isinstance(build.source, ReleaseSource) for build in builds)


def test_the_recipes_install_what_setup_installs_and_call_repack_as_it_is() -> None:
    setup = (TOP / "noxfile.py").read_text(encoding="utf-8")
    for recipe in sorted((DOCS / "recipes").iterdir()):
        text = recipe.read_text(encoding="utf-8")
        (packages,) = re.findall(r"--no-install-recommends ([\w ]+)", text)
        assert all(f'"{package.strip()}"' in setup for package in packages.split()), recipe.name
        called = re.findall(r"(?:^RUN |^ +run: |^ +- |\$\()(repack [^|>)&\n]+)", text, re.MULTILINE)
        assert called
        for line in called:
            parse(line.replace('${NAME:+"$NAME"}', "name"))


def steps(recipe: str) -> list[str]:
    """Return the lines of either system that call repack."""
    text = (DOCS / "recipes" / recipe).read_text(encoding="utf-8")
    return re.findall(r"^ +(?:run:|-) ((?:echo .*)?\brepack .+)$", text, re.MULTILINE)


def test_both_recipes_take_the_same_steps() -> None:
    github, gitlab = (
        [re.sub(" (--markdown )?>.*", "", line) for line in steps(recipe) if line[:7] == "repack "]
        for recipe in ("github-actions.yml", "gitlab-ci.yml")
    )
    assert github == gitlab


@pytest.mark.network
def test_the_steps_of_the_workflow_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "repack.toml").write_text(
        '[source]\nsample = { opencv = "4.14.0.94" }\n[publish]\nindex-dir = "index"\n'
        '[[build]]\nname = "cu12"\npython = ["3.12"]\n[smoke]\nenabled = false\n',
        encoding="utf-8",
    )
    # A repository has it too: what is built by CI was fetched by somebody before.
    shutil.copy(TOP / "repack.lock", tmp_path)
    lines = steps("github-actions.yml")
    assert [line.split()[1] for line in lines[1:]] == ["build", "pin", "report", "publish"]
    for line in lines:
        typed(line, tmp_path, NAME="cu12")
    assert '"cu12"' in (tmp_path / "output").read_text(encoding="utf-8")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("# Not tried")
    assert (tmp_path / "dist/cu12/requirements-3.12.txt").exists()
    assert list((tmp_path / "index").glob("opencv-contrib-python/*.whl"))


def typed(line: str, folder: Path, **more: str) -> None:
    """Run a line in a shell whose `repack` and `python` are those under test."""
    env = {
        **os.environ,
        "PATH": f"{REPACK.parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_COMPILE": "1",  # what is installed for Windows is not run here
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **more,
    }
    command = ["bash", "-euc", line]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def follow(page: Path, folder: Path) -> None:
    """Write the files of a page and run its commands in `folder`, one after the other."""
    url = "http://127.0.0.1:8000"
    with contextlib.ExitStack() as servers:
        for language, content, before in blocks(page):
            if name := NAMED.fullmatch(before):
                path = folder / name[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            elif language == "console" and before == SERVES:
                url = servers.enter_context(served(folder / "index"))  # as python -m http.server
            elif language == "console" and not NOT_RUN.match(before):
                for line in commands(content):
                    typed(line.replace("http://127.0.0.1:8000", url), folder)


TUTORIAL = DOCS / "tutorial.md"
RUN = [
    page
    for page in PAGES
    if "import-failed" not in page.parts
    and page != TUTORIAL
    and any(lang == "console" and not NOT_RUN.match(why) for lang, _, why in blocks(page))
]


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of whoever has followed the tutorial, from nothing, to its end."""
    folder = tmp_path_factory.mktemp("tutorial")
    follow(TUTORIAL, folder)
    return folder


@pytest.mark.network
@pytest.mark.wine
def test_the_tutorial_ends_with_an_installation_from_the_index_and_leaves_what_is_documented(
    tutorial: Path,
) -> None:
    cells = [*rows("files.md", 2), *rows("files.md", 3)]
    patterns = [pattern for row in cells for pattern in re.findall("`([^`]+)`", row[0])]
    for folder in ("dist", "index"):
        for path in (tutorial / folder).rglob("*"):
            name = path.relative_to(tutorial / folder).as_posix()
            assert path.is_dir() or any(
                fnmatch(name, pattern) and name.count("/") == pattern.count("/")
                for pattern in patterns
            ), name


@pytest.mark.network
@pytest.mark.wine
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "folder"
    if any(before == GOES_ON for _, _, before in blocks(page)):
        shutil.copytree(request.getfixturevalue("tutorial"), folder, copy_function=os.link)
    else:
        folder.mkdir()
        # Its reader has built before; the tutorial shows how it is for whoever has not.
        shutil.copy(TOP / "repack.lock", folder)
    follow(page, folder)

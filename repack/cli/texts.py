"""What the help of a command says below its options: more than a line, and alike for all."""

from __future__ import annotations

import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_CODES = "Exit code: 0 done, 1 bad input or a failed check, 2 usage, 130 interrupted."
#: The variables that repack itself reads; pip, Wine and Windows have their own.
VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "REPACK_CACHE": "the folder where downloads and all that is remembered are kept",
        "SOURCE_DATE_EPOCH": "the time of all members of a wheel, in seconds since 1970",
        "GH_TOKEN, GITHUB_TOKEN": "a token for releases, where source.token-env names no other",
        "NO_COLOR": "no colours on a terminal",
    }
)
#: What a command does, for whoever reads its help for the first time.
DETAILS: Mapping[str, str] = MappingProxyType(
    {
        "init": "The file has the settings that most builds need, with what each is for. A file "
        "that is there already is left alone, and the exit code is 1.",
        "build": "Does the main job: takes the source that repack.toml or --source names, checks "
        "every member, finds out which DLLs its binaries need, applies the patches, writes one "
        "wheel for each Python and tries each on that genuine Windows Python, beside the untouched "
        "wheel. A wheel that fails goes to failed/ below the wheel directory. What is there "
        "already and still right is not made, fetched or tried again. Where repack.toml has "
        "[[build]] tables, all are built, or those named; each into a folder of its name.",
        "builds": "One name a line; with --json, `names` is the list that a CI system's matrix "
        "takes, whose machines then each run `repack build NAME`. None where [build] is the only "
        "build, which has no name.",
        "fetch": "Brings the source into the cache, compares it with repack.lock, and looks "
        "through it, so that a build, even one with --offline, finds it there.",
        "inspect": "Reads wheels of any origin without running anything of them. A finding is a "
        "code and a sentence; with --strict any finding is a failed check.",
        "smoke": "Has the Windows Python's own pip install each wheel into an empty folder, then "
        "imports cv2, resizes an array, encodes and decodes a picture and asks for CUDA devices, "
        "each in a process of its own. Without --python on those of repack.toml.",
        "pythons": "On Windows these are the installed ones, on Linux those given by "
        "smoke.interpreters and those that were put together for Wine.",
        "sample": "The sample is a genuine OpenCV whose import table asks for CUDA's DLLs, to try "
        "everything on where no CUDA build is at hand. It uses no GPU. Needs `pip install lief`.",
        "pin": "Writes beside the wheels of a build requirements for each Python and for all, "
        "constraints and pylock.toml: the wheel, NumPy and all that is required, each with the "
        "hash of its file. What is pinned is what the smoke test used, as far as it was run.",
        "publish": "Puts the wheels of a build into an index. A file that is there with the same "
        "hash is left alone, with another it is refused before anything is written. What cannot "
        "be handed on whole is not handed on at all. Then the pin files are written.",
        "report": "Makes of build.json one page that can be handed on, the same as JSON and as "
        "Markdown: what each wheel did on each Python beside the untouched one, what was changed "
        "in it, which DLLs it carries or needs, and what was found. Of several builds, all.",
        "completion": "The script asks repack itself how a line goes on, so that it knows every "
        "option of the repack that is installed.",
    }
)
_WIDTH = 78


def description_of(name: str, summary: str) -> str:
    """Return the paragraphs at the top of a command's help."""
    first = f"{summary[0].upper()}{summary[1:]}."
    more = textwrap.fill(DETAILS.get(name, ""), _WIDTH)
    return f"{first}\n\n{more}".rstrip()


def epilog_of(examples: Sequence[str]) -> str:
    """Return the paragraphs at the end of a command's help."""
    shown = "\n".join(f"  {line}" for line in examples)
    return f"examples:\n{shown}\n\nenvironment:\n{_variables()}\n\n{EXIT_CODES}"


def epilog_of_all() -> str:
    """Return the paragraphs at the end of the help of the whole command line."""
    return (
        f"environment:\n{_variables()}\n\n{EXIT_CODES}\n"
        "Each command has a help of its own: repack build --help"
    )


def _variables() -> str:
    width = max(map(len, VARIABLES)) + 2
    return "\n".join(f"  {name:{width}}{text}" for name, text in VARIABLES.items())

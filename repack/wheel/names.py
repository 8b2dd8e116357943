"""Names: that of a wheel's file, and those that the members of an archive may have."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn
from unicodedata import normalize

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from repack.errors import InputError

_HINT = (
    "take the file from where it was published; one that you changed or packed yourself: unpack "
    "it, and pack it by `python -m wheel pack FOLDER`"
)
#: Own limit in bytes: Windows' 260 characters must hold the path of site-packages as well.
_PATH_LIMIT = 200
_NAME_SHOWN = 400

#: Code, pattern and reason: what no part of a path may be.
_FORBIDDEN = (
    ("bad-path", r"\.{0,2}", "the path is absolute, or has an empty part, '.' or '..'"),
    ("bad-path", r".*\\.*", "the name has a backslash, which Windows takes for a separator"),
    ("windows-name", r'.*[<>:"|?*].*', 'Windows allows none of <>:"|?* in a name'),
    ("windows-name", r".*[. ]", "Windows drops the dot or space at the end of a name"),
    # As os.path.isreserved of CPython 3.13; CLOCK$ is older systems'.
    (
        "windows-name",
        r"(?i)(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(COM|LPT)[0-9¹²³]) *(\..*)?",
        "the name is a device on Windows",
    ),
)


def refuse(file: object, what: str, code: str, member: str = "", hint: str = "") -> NoReturn:
    """Raise InputError: the file, or a member of it, cannot be accepted."""
    raise InputError(
        what,
        code=code,
        file=file,
        member=member[:_NAME_SHOWN],
        hint=hint or _HINT,
    ) from None


def check_names(names: Iterable[str], file: object, hint: str = "") -> None:
    """Raise InputError unless every system and installer gives each member a path of its own.

    Codes: bad-path, windows-name, path-too-long, duplicate-name. Upper and lower case, composed
    and decomposed characters count as the same.
    """
    originals: dict[str, str] = {}
    for name in names:
        if not name.isprintable():
            refuse(file, "the name has a character that nobody sees", "bad-path", name, hint)
        parts = name.removesuffix("/").split("/")
        for code, rule, reason in _FORBIDDEN:
            if any(re.fullmatch(rule, part) for part in parts):
                refuse(file, reason, code, name, hint)
        if len(name.encode()) > _PATH_LIMIT:
            refuse(file, f"the path has more than {_PATH_LIMIT} bytes", "path-too-long", name, hint)
        # Unicode's canonical caseless form (Unicode 3.13, D145), composed.
        key = normalize("NFC", normalize("NFD", name.removesuffix("/")).casefold())
        if key in originals:
            what = f"is the same as {originals[key]!r} on some systems"
            refuse(file, what, "duplicate-name", name, hint)
        originals[key] = name
    for key, name in originals.items():
        folder = key
        while folder := folder.rpartition("/")[0]:
            other = originals.get(folder, "/")
            if not other.endswith("/"):
                refuse(file, f"lies in {other!r}, a file", "duplicate-name", name, hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """What a wheel's file name says; `str()` of it is the file name.

    `name` is normalised ("opencv-contrib-python"), `distribution` is that part of the file name
    ("opencv_contrib_python"), `build` the build tag ("" for none).
    """

    name: str
    distribution: str
    version: Version
    build: str = ""
    tags: frozenset[Tag]

    @property
    def tag(self) -> str:
        """The tags as one: "cp37-abi3-win_amd64", "py2.py3-none-any"."""
        parts = zip(*((tag.interpreter, tag.abi, tag.platform) for tag in self.tags), strict=True)
        return "-".join(".".join(sorted(set(part))) for part in parts)

    def __str__(self) -> str:
        parts = (self.distribution, str(self.version), self.build, self.tag)
        return "-".join(filter(None, parts)) + ".whl"


def parse_filename(path: Path) -> WheelName:
    """Return what the name of the wheel file says; raises InputError with code "filename"."""
    try:
        name, version, build, tags = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion) as error:
        hint = "a wheel is called name-version-python-abi-platform.whl; give it the name it had"
        refuse(path, f"not a name that a wheel can have: {error}", "filename", hint=hint)
    return WheelName(
        name=name,
        distribution=path.name.partition("-")[0],
        version=version,
        build="".join(map(str, build)),
        tags=tags,
    )


def rename_wheel(name: WheelName, *, version: str, tags: Collection[Tag] = ()) -> WheelName:
    """Return the name with another version and, where given, other tags.

    The distribution is written as the specification asks since 2021: lower case, "_" for each run
    of "-", "_" and ".". Tags must be all combinations of their parts, or no name can say them.
    """
    return replace(
        name,
        distribution=name.name.replace("-", "_"),
        version=Version(version),
        tags=frozenset(tags) or name.tags,
    )


def local_version(version: Version | str, label: str) -> str:
    """Return the version whose local part ends with `label`, which is added where it does not.

    "4.14.0.94" and "cu12.patched" give "4.14.0.94+cu12.patched"; so does that, labelled again.
    """
    base = Version(str(version))
    local = f".{base.local}" if base.local else ""
    suffix = f".{Version(f'0+{label}').local}"
    return f"{base.public}+{(local.removesuffix(suffix) + suffix)[1:]}"

r"""What has to happen on a machine: a short specification, written without looking at the module.

From DESIGN.md: what is loaded already decides its family; else the first directory in the order of
the sources that holds every file needed, each sound; what is chosen is loaded by its full path; for
the rest Windows searches the folder of the native module, that of the program, the directories that
are registered. The import works where every DLL that loads with the native module is found.
"""

from dataclasses import dataclass, field
from ntpath import basename, dirname

from machines import PREFIX
from windowslab import CV2

from random_machines.drawing import (
    ADDED,
    DRIVER,
    IMPORTS,
    NVIDIA,
    OTHER_MAJOR,
    OVERRIDE,
    PATH,
    PLACES,
    SEARCH_PATH,
    SOUND,
    X86,
    Machine,
)

STAND_IN = rf"{CV2}\stand-ins\nvcuda"
LOADED = "already loaded"
#: What is looked at below every directory that a source names, in DESIGN.md's order.
SUBFOLDERS = (
    r"bin\12.9\x64",
    r"Library\bin\x64",
    r"bin\12.9",
    r"bin\x64",
    r"bin\x86_64",
    r"Library\bin",
    "bin",
    "x64",
    "",
)


class Undetermined(Exception):  # noqa: N818 - says what the machine is
    """Windows does not say which of several files it takes, or Wine takes another."""


@dataclass(kw_only=True)
class Expectation:
    """What has to be seen.

    `chosen` maps a file to its directory and the source of that. `causes` are (code, file or path).
    """

    works: bool = True
    chosen: dict[str, tuple[str, str]] = field(default_factory=dict)
    causes: set[tuple[str, str]] = field(default_factory=set)
    driver: str = ""


@dataclass(kw_only=True)
class Loader:
    """Windows' loader in one process: which modules it has, and which it finds."""

    files: dict[str, str]
    registered: list[str]
    modules: dict[str, str] = field(default_factory=dict)

    def load(self, path: str, folder: str) -> bool:
        """Load a file and what it imports; `folder` is that of the file first asked for."""
        if basename(path) in self.modules:
            return True
        if self.files[path] != SOUND:
            return False
        before = dict(self.modules)
        self.modules[basename(path)] = path
        needed = IMPORTS.get(basename(path))
        if needed and not self.load_name(needed, folder):
            self.modules = before
            return False
        return True

    def load_name(self, name: str, folder: str) -> bool:
        """Load what a search finds."""
        path = self.find(name, folder)
        return path is not None and self.load(path, folder)

    def find(self, name: str, folder: str) -> str | None:
        """Return the file that answers to a name; where all are for other processors, the first.

        Raises Undetermined where it is one of several in directories that are registered.
        """
        if name in self.modules:
            return self.modules[name]
        fixed = [rf"{place}\{name}" for place in (folder, PREFIX) if place]
        unordered = [rf"{place}\{name}" for place in self.registered]
        unordered = [path for path in unordered if path in self.files]
        states = {self.files[path] for path in unordered}
        if len(states - {X86}) > 1 or (len(unordered) > 1 and SOUND not in states):
            raise Undetermined("registered directories are searched in no defined order")
        paths = [path for path in fixed if path in self.files] + unordered
        return next((path for path in paths if self.files[path] != X86), next(iter(paths), None))


def list_candidates(machine: Machine) -> list[tuple[str, str]]:
    """Return (directory, source) of all places that may be taken, in the documented order."""
    roots = []
    for place, (source, _) in PLACES.items():
        if source == NVIDIA:
            below = [path for path in machine.files if is_below(path, place)]
            names = {path.removeprefix(place + "\\").split("\\")[0] for path in below}
            roots += [(rf"{place}\{name}", source) for name in sorted(names)]
        elif not source.isupper() or source in machine.env.keys() - {OTHER_MAJOR}:
            roots += [(place, source)] if source else []
    if SEARCH_PATH not in machine.env:
        roots += [(entry, PATH) for entry in machine.path if entry[1:2] == ":"]
    trusted = (PREFIX, machine.env.get("PYTHONPATH", PREFIX))
    candidates = []
    for root, source in roots:
        for folder in (rf"{root}\{subfolder}".rstrip("\\") for subfolder in SUBFOLDERS):
            is_there = any(dirname(path) == folder for path in machine.files)
            is_trusted = source == OVERRIDE or any(is_below(folder, place) for place in trusted)
            if is_there and (is_trusted or not is_below(folder, machine.cwd)):
                candidates.append((folder, source))
    return candidates


def choose(
    machine: Machine, loader: Loader, candidates: list[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return file -> (directory, source), for the families that are found."""

    def is_whole(folder: str, names: list[str]) -> bool:
        return all(machine.files.get(rf"{folder}\{name}") == SOUND for name in names)

    chosen: dict[str, tuple[str, str]] = {}
    for files in machine.families.values():
        loaded = [name for name in files if name in loader.modules]
        rest = list(files)
        if loaded:
            folder = dirname(loader.modules[loaded[0]])
            there = [name for name in files if is_whole(folder, [name])]
            chosen |= dict.fromkeys(there, (folder, LOADED))
            chosen |= {name: (dirname(loader.modules[name]), LOADED) for name in loaded}
            rest = [name for name in files if name not in chosen]
        place = next((place for place in candidates if is_whole(place[0], rest)), None)
        if rest and place:
            chosen |= dict.fromkeys(rest, place)
    return chosen


def expect(machine: Machine) -> Expectation:
    """Return what has to be seen on a machine; raises Undetermined."""
    files = machine.files | {rf"{STAND_IN}\{DRIVER}": SOUND}
    loader = Loader(files=files, registered=[ADDED] if machine.has_added else [])
    for path in machine.loaded:
        loader.load(path, dirname(path))
    override = machine.env.get(OVERRIDE)
    if override and not any(path.startswith(override + "\\") for path in machine.files):
        return Expectation(works=False, causes={("override", override)})
    candidates = list_candidates(machine)
    expectation = Expectation(chosen=choose(machine, loader, candidates))
    loader.registered += [folder for folder, _ in expectation.chosen.values()]
    loader.registered += [override] if override else []
    for name, (folder, _) in expectation.chosen.items():
        loader.load(rf"{folder}\{name}", folder)
    if machine.has_stand_in and not loader.load_name(DRIVER, ""):
        loader.load(rf"{STAND_IN}\{DRIVER}", STAND_IN)
    for name in machine.imports:
        if not loader.load_name(name, CV2):
            expectation.works = False
    expectation.driver = loader.modules.get(DRIVER, "")
    if not expectation.works:
        expectation.causes = find_causes(machine, loader, [folder for folder, _ in candidates])
    return expectation


def find_causes(machine: Machine, loader: Loader, folders: list[str]) -> set[tuple[str, str]]:
    """Return the root causes: files that Windows rejects, names that no place holds.

    Names that some place holds are a cause only where nothing else is wrong with their family.
    """
    causes, unfound = set(), []
    # Windows does not tell which directories a program has registered.
    registered = [folder for folder in loader.registered if folder != ADDED]
    known = Loader(files=loader.files, registered=registered, modules=dict(loader.modules))
    names = [*machine.imports]
    for name in names:  # it grows meanwhile
        if loader.load_name(name, CV2):
            continue
        path = known.find(name, CV2)
        if path is None:
            unfound.append(name)
        elif loader.files[path] != SOUND:
            causes.add(("rejected", path))
        elif name in IMPORTS:
            names.append(IMPORTS[name])
    families = {name: family for family, files in machine.families.items() for name in files}
    kinds = [(families.get(name, name), *_find_cause(machine, folders, name)) for name in unfound]
    unheld = {family for family, code, _ in kinds if code != "split"}
    return causes | {
        (code, what) for family, code, what in kinds if code != "split" or family not in unheld
    }


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder, or lies in it."""
    return (path + "\\").startswith(folder + "\\")


def _find_cause(machine: Machine, folders: list[str], name: str) -> tuple[str, str]:
    """Return the cause where Windows finds no file of a name."""
    paths = [rf"{folder}\{name}" for folder in folders if name != DRIVER]
    paths = [path for path in paths if path in machine.files]
    if any(machine.files[path] == SOUND for path in paths):
        return "split", name
    if paths:
        return "rejected", paths[0]
    # All that Windows says of a bad file in a directory that is registered is another number.
    is_bad = machine.files.get(rf"{ADDED}\{name}", SOUND) != SOUND
    return "error" if is_bad else "missing", name

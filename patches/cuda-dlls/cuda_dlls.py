r"""Finds the CUDA DLLs that this build of OpenCV needs, and tells Windows where they are.

`cv2/__init__.py` loads its native module inside `with loading():`. For each family of DLLs (npp,
cublas, cudnn, ...) the first directory that holds every file needed of it, each for this processor,
is registered, and only that one: Windows searches several in no particular order. Looked through:

1. OPENCV_CUDA_DLL_DIRS: directories, separated by `;`. One that is not there is an error.
2. This wheel: the DLLs that came with it, and the folder of cv2 itself.
3. NVIDIA's wheels, nvidia\*\bin[\x86_64]: beside cv2, then in the other folders of sys.path;
   conda's Library\bin of this environment, and of the one that it was made from.
4. CUDA_PATH_V<major>_<minor> of this build, CUDA_PATH, CUDA_HOME, other CUDA_PATH_V<major>_* with
   the newest first, CUDNN_PATH: bin[\<cuda>]\x64, bin[\<cuda>], and what the variable names itself.
5. The default directories of CUDA's installers, newest first, then those of cuDNN's.
6. PATH, unless OPENCV_CUDA_SEARCH_PATH=0.

Relative directories and the working directory are never taken. Off Windows nothing is done.
`python -m cv2.cuda_dlls [--json]` says what is chosen and why; so does this file, run by its path.
OPENCV_CUDA_DEBUG=1 prints each step. Put here by repack; standard library only, from Python 3.6 on.
"""

import os
import sys

# What this build needs, from the import tables of its DLLs. The literal is written by repack:
#   cuda       (major, minor) of the CUDA it was built with, minor None if not known; None: no CUDA
#   cures      kind of DLL, as below -> what to do where one is missing
#   delayed    those of the files below that are loaded only when first called: import does without
#   families   family -> its files needed, all of which have to be in one directory
#   kinds      other DLLs with a cure of their own -> "driver", "media-foundation", "vc-runtime"
#   machine    the processor it is for
#   needed_by  file -> files of the wheel whose import tables name it
#   numpy      the requirement on NumPy that its native module has, None: none
#   opencv     version of the wheel
#   requires   family -> the requirement that has pip install NVIDIA's wheel of it
#   vendored   folders of the wheel that hold DLLs of these families, such as "cv2.libs"
BUILD = {"families": {}}

OVERRIDE, SEARCH_PATH = "OPENCV_CUDA_DLL_DIRS", "OPENCV_CUDA_SEARCH_PATH"
WHEEL, NVIDIA, DEFAULT = "this wheel", "NVIDIA's wheels", "default directory"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MACHINES = {0x14C: "32-bit Windows (x86)", 0x1C4: "ARM", 0x8664: "x86-64", 0xAA64: "ARM64"}
PROCESSORS = {"x86": 0x14C, "x86-64": 0x8664, "arm64": 0xAA64}
# Where CUDA 13 keeps the DLLs of one processor, in the toolkit and in NVIDIA's wheels.
SUBFOLDERS = {"x86-64": ("x64", "x86_64"), "arm64": ("arm64",)}


def _from_override(_):
    for directory in _split(OVERRIDE):
        yield directory, OVERRIDE


def _from_this_wheel(_):
    for folder in BUILD["vendored"]:
        yield os.path.join(ROOT, *folder.split("/")), WHEEL
    yield HERE, WHEEL  # where Windows looks first of all, whatever is registered
    if getattr(sys, "frozen", False) or "__compiled__" in globals():
        # PyInstaller and Nuitka put DLLs beside the packages, or beside the program.
        yield ROOT, WHEEL
        yield os.path.dirname(sys.executable), WHEEL


def _from_nvidia_wheels(search):
    others = [each for each in sys.path if isinstance(each, str) and not each.endswith(".zip")]
    for root in [ROOT] + [each for each in others if not _unfit(each)]:
        top = os.path.join(root, "nvidia")
        for name in sorted(search.names(top, NVIDIA)):
            folder = os.path.join(top, name, "bin")
            for directory in search.nested(folder) if search.names(folder) else ():
                yield directory, NVIDIA


def _from_conda(search):
    for prefix in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"):
        folder = os.path.join(getattr(sys, prefix, None) or "", "Library", "bin")
        for directory in search.nested(folder):
            yield directory, "conda"


def _from_variables(search):
    for variable in _variables():
        for root in _split(variable):
            for directory in [*_bins(search, root), root]:
                yield directory, variable


def _from_default_directories(search):
    program_files = _variable("PROGRAMFILES") or "C:\\Program Files"
    toolkits = os.path.join(program_files, "NVIDIA GPU Computing Toolkit", "CUDA")
    cudnn = os.path.join(program_files, "NVIDIA", "CUDNN")
    for top, major in ((toolkits, _major()), (cudnn, None)):
        for name in _newest(search.names(top, DEFAULT), "v", major):
            for directory in _bins(search, os.path.join(top, name)):
                yield directory, DEFAULT


def _from_path(_):
    for directory in _split("PATH") if _variable(SEARCH_PATH) != "0" else ():
        yield directory, "PATH"


# The search order: each step yields (directory, where its name comes from), and is asked only as
# long as a family is missing.
ORDER = (
    _from_override,
    _from_this_wheel,
    _from_nvidia_wheels,
    _from_conda,
    _from_variables,
    _from_default_directories,
    _from_path,
)


def _variables():
    """Return the variables that may lead to the DLLs: of the build's CUDA, of any, of its major."""
    own = ["CUDA_PATH_V{}_{}".format(*BUILD["cuda"])] if BUILD["cuda"] else []
    versions = [name[11:].replace("_", ".") for name in os.environ if name[:11] == "CUDA_PATH_V"]
    others = ["CUDA_PATH_V" + each.replace(".", "_") for each in _newest(versions, "", _major())]
    return list(dict.fromkeys([*own, "CUDA_PATH", "CUDA_HOME", *others, "CUDNN_PATH"]))


def _bins(search, root):
    r"""Yield bin\<cuda>\x64, bin\<cuda> (so cuDNN's installer), bin\x64 and bin below `root`."""
    top = os.path.join(root, "bin")
    for name in [*_newest(search.names(top), "", _major()), ""]:
        for directory in search.nested(os.path.join(top, name) if name else top):
            yield directory


def _newest(names, prefix, major):
    """Return those of `names` that are `prefix` and a version (of that major), newest first."""
    found = []
    for name in names:
        parts = name[len(prefix) :].split(".")
        if name.startswith(prefix) and all(part.isdecimal() for part in parts):
            version = [int(part) for part in parts]
            if major in (None, version[0]):
                found.append((version, name))
    return [name for _, name in sorted(found, reverse=True)]


def _major():
    return BUILD["cuda"][0] if BUILD["cuda"] else None


def _variable(name):
    return os.environ.get(name, "").strip()


def _split(variable):
    """Return the directories in an environment variable: `;` separates them, but not in quotes."""
    parts = os.environ.get(variable, "").split('"')
    parts[::2] = [part.replace(";", "\0") for part in parts[::2]]
    return [_clean(part) for part in "".join(parts).split("\0") if part.strip()]


def _clean(directory):
    """Return `directory` as Windows writes it, with its %VARIABLES% filled in."""
    parts = directory.strip().split("%")
    for at in range(1, len(parts) - 1, 2):
        parts[at] = os.environ.get(parts[at].upper(), "%{}%".format(parts[at]))
    odd = "%" if len(parts) % 2 == 0 else ""
    return os.path.normpath("".join(parts[:-1]) + odd + parts[-1])


def _key(directory):
    """Return what all names of one directory have in common."""
    return os.path.normcase(os.path.normpath(directory)).rstrip("\\")


def _is_absolute(directory):
    r"""Return whether it names one directory wherever Python runs: `\bin` and `C:bin` do not."""
    drive, rest = os.path.splitdrive(directory)
    return bool(drive) and rest[:1] in ("\\", "/")


def _unfit(directory, source=""):
    """Return why a directory of that name is not even looked at, or None."""
    if not _is_absolute(directory):
        return "is not an absolute directory"
    if source in (OVERRIDE, WHEEL):
        return None
    if _key(directory) == _key(os.getcwd()):
        return "is the working directory"
    # Folders that any user may write to on every Windows. Access lists are not read.
    for top in (_variable("PUBLIC"), os.path.join(_variable("SYSTEMROOT"), "Temp")):
        if _is_absolute(top) and (_key(directory) + "\\").startswith(_key(top) + "\\"):
            return "is a directory that everyone may write to"
    return None


class Search:
    """One walk through ORDER, with what was found and why other places were not taken."""

    def __init__(self):
        self.missing = dict(BUILD["families"])  # family -> files
        self.found = {}  # family -> (directory, source)
        self.refused = []  # (directory, source, families, reason); no families: it holds for all
        self._listings, self._tried = {}, set()
        for step in ORDER if self.missing else ():
            for directory, source in step(self):
                # What was ordered is looked at whole: a mistake in it shall be heard of.
                if not self.missing and source != OVERRIDE:
                    return
                self._look(directory, source)

    def directories(self):
        """Return the directories found, each once, in the order found."""
        return list(dict.fromkeys(directory for directory, _ in self.found.values()))

    def listing(self, directory):
        """Return (the lower-case names in `directory`, None), or (none, the reason why not)."""
        key = _key(directory)
        if key not in self._listings:
            self._listings[key] = _listing(directory)
        return self._listings[key]

    def names(self, directory, source=""):
        """Return the names in `directory`; with a source, the reason why there are none is kept."""
        names, reason = self.listing(directory)
        if reason and source:
            self._refuse(directory, source, (), reason)
        return names

    def nested(self, directory):
        """Return `directory`, after those of its subfolders that are for this processor."""
        folders, names = SUBFOLDERS.get(BUILD["machine"], ()), self.names(directory)
        return [os.path.join(directory, each) for each in folders if each in names] + [directory]

    def _look(self, directory, source):
        """Take from `directory` the families that it holds whole, or keep the reason why not."""
        wanted = [each for each in self.missing if (_key(directory), each) not in self._tried]
        self._tried.update((_key(directory), each) for each in wanted)
        reason = _unfit(directory, source) or self.listing(directory)[1]
        if reason and source == OVERRIDE:
            text = '{} names "{}", which {}: correct it or unset it'
            raise ImportError(text.format(OVERRIDE, directory, reason), name="cv2")
        reasons = {}
        for family in wanted:
            lack = reason or self._lack(directory, self.missing[family])
            reasons.setdefault(lack, []).append(family)
        for family in reasons.pop(None, ()):
            _say("{} ({}) is taken for {}", directory, source, family)
            self.found[family] = (directory, source)
            del self.missing[family]
        for lack, families in reasons.items():
            self._refuse(directory, source, () if reason else tuple(families), lack)

    def _lack(self, directory, files):
        """Return what `directory` lacks of a family's files, None if it holds them all, sound."""
        names = self.names(directory)
        lacking = [name for name in files if name.lower() not in names]
        if len(lacking) == len(files):
            return _other_version(files[0], names) or "holds none of them"
        if lacking:
            return "has no " + ", ".join(lacking)
        faults = ((name, _fault(os.path.join(directory, name))) for name in files)
        return next(("holds a {} that {}".format(*each) for each in faults if each[1]), None)

    def _refuse(self, directory, source, families, reason):
        if (directory, source, families, reason) not in self.refused:
            _say("{} ({}) {}", directory, source, reason)
            self.refused.append((directory, source, families, reason))


def _listing(directory):
    try:
        if not _is_absolute(directory):
            return (), "is not an absolute directory"
        return frozenset(name.lower() for name in os.listdir(directory)), None
    except FileNotFoundError:
        return (), "does not exist"
    except NotADirectoryError:
        return (), "is not a directory"
    except (OSError, ValueError) as error:
        return (), "cannot be read ({})".format(_number(error))


def _number(error):
    """Return an error's number: its text is in the language of that Windows."""
    number = getattr(error, "winerror", None) or getattr(error, "errno", None)
    return "error {}".format(number) if number else type(error).__name__


def _other_version(file, names):
    """Return that the directory holds another version of `file`, or None."""
    stem = file.lower().rpartition("_")[0]
    others = [name for name in names if stem and name.rpartition("_")[0] == stem]
    return "holds {}, another version".format(min(others)) if others else None


def _fault(path):
    """Return what is wrong with a DLL by one read of its head, or None.

    Windows gives error 193 for all of it, Wine 126, and neither says of which file.
    """
    try:
        with open(path, "rb", 0) as file:
            head, size = file.read(4096), file.seek(0, 2)
    except OSError as error:
        return "cannot be read ({})".format(_number(error))
    at = _int(head, 60)
    if head[:2] != b"MZ" or head[at : at + 4] != b"PE\0\0":
        lfs = head.startswith(b"version https://git-lfs")
        return "is a placeholder of Git LFS" if lfs else "is no DLL"
    machine = _int(head, at + 4, 2)
    if machine != PROCESSORS.get(BUILD["machine"], machine):
        return "is for {}".format(MACHINES.get(machine, "another processor"))
    sections = at + 24 + _int(head, at + 20, 2)
    rows = range(sections, sections + 40 * _int(head, at + 6, 2), 40)
    ends = [_int(head, row + 16) + _int(head, row + 20) for row in rows]
    return "is cut off" if max([rows.stop, *ends]) > size else None


def _int(content, at, size=4):
    return int.from_bytes(content[at : at + size], "little")


def _say(text, *values):
    """Print one step of the search, if that was asked for."""
    if _variable("OPENCV_CUDA_DEBUG") not in ("", "0") and sys.stderr is not None:
        sys.stderr.write("cv2.cuda_dlls: " + text.format(*values) + "\n")


class _Loading:
    """Registers the directories on entry; after a failure, leaves nothing behind."""

    def __init__(self):
        self.search = None
        self._handles = []  # of os.add_dll_directory: a directory counts as long as its handle does
        self._entered = []  # what each `with` found, the innermost last

    def __enter__(self):
        if os.name != "nt":
            return
        if not self._entered and hasattr(sys, "OpenCV_LOADER"):
            # The loader says so while it works. It does not: an earlier failure left this behind.
            del sys.OpenCV_LOADER
        search = self.search or Search()
        flag = hasattr(sys, "OpenCV_LOADER")
        self._entered.append((list(sys.path), sys.modules.copy(), os.environ.get("PATH"), flag))
        if self.search is None:
            self.search = search
            self._register(search)

    def __exit__(self, kind, error, traceback):
        if os.name != "nt":
            return
        before = self._entered.pop()
        if error is None:
            path = os.environ.get("PATH", "")
            if path.startswith(";") and not (before[2] or "").startswith(";"):
                # OpenCV's loader put an empty entry there: to Windows the working directory.
                os.environ["PATH"] = path.lstrip(";")
            return
        text = _explanation(error, self.search)
        _restore(*before)
        if not self._entered:
            # The next import shall search anew: the cure may be there by then.
            for handle in self._handles:
                handle.close()
            self._handles, self.search = [], None
        if text:
            raise ImportError(text, name=error.name, path=error.path) from error

    def _register(self, search):
        for directory in search.directories() if hasattr(os, "add_dll_directory") else ():
            self._add(directory, search)
        # PATH is what counts before Python 3.8, and on every Python for what DLLs load by their
        # bare name, as cuDNN does its own parts.
        chosen = {_key(directory) for directory in search.directories()}
        if chosen:
            entries = os.environ.get("PATH", "").split(";")
            rest = [each for each in entries if _key(each.strip(' "')) not in chosen]
            os.environ["PATH"] = ";".join(search.directories() + rest)

    def _add(self, directory, search):
        try:
            self._handles.append(os.add_dll_directory(directory))
        except OSError as error:
            # Python from the Microsoft Store was seen to refuse. But a DLL that is loaded already
            # answers to its name.
            _say("{} is not registered ({}): its DLLs are loaded", directory, _number(error))


def _restore(path, modules, search_path, flag):
    """Put the process back to what it was before a native module failed to load."""
    sys.path[:] = path
    for name in {*modules, *sys.modules}:
        if name == "cv2" or name.startswith("cv2."):
            sys.modules.pop(name, None)
            if name in modules:
                sys.modules[name] = modules[name]
    os.environ.pop("PATH", None)
    if search_path is not None:
        os.environ["PATH"] = search_path
    if not flag and hasattr(sys, "OpenCV_LOADER"):
        del sys.OpenCV_LOADER


_loading = globals().get("_loading") or _Loading()  # kept when the module is reloaded


def loading():
    """Return a context in which cv2's native module finds its DLLs."""
    return _loading


# The rest is run only where an import failed.


def _explanation(error, search):
    """Return what to say instead of `error`, "" where it says enough itself."""
    # Only an ImportError about a native file is one that a DLL may be the reason of.
    if type(error) is not ImportError or not (error.path or "").lower().endswith(".pyd"):
        return ""
    files = [
        name for files in search.missing.values() for name in files if name not in BUILD["delayed"]
    ]
    return "{} {} not found".format(error, ", ".join(files)) if files else ""

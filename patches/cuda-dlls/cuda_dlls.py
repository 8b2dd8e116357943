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
OPENCV_CUDA_DEBUG=1 prints each step. Put here by repack, for Python 3.6 and later.
"""

import os
import sys

# What this build needs, from the import tables of its DLLs. The literal is written by repack:
#   cuda       (major, minor) of the CUDA it was built with, minor None if not known; None: no CUDA
#   cures      kind of file, as below -> what to do where one is missing
#   delayed    those of the files below that are loaded only when first called: import does without
#   families   family -> its files needed, all of which have to be in one directory
#   help       address that the page on a message lies below, "": there are none
#   kinds      file in lower case -> its family, or "driver", "media-foundation", "vc-runtime"
#   numpy      the requirement on NumPy that its native module has, None: none
#   opencv     the version of the wheel; machine: the processor it is for
#   requires   family -> the requirement that has pip install NVIDIA's wheel of it
#   stand_ins  DLL of the driver -> folder of the wheel with one to load where Windows has none
#   vendored   folders of the wheel that hold DLLs of these families, such as "cv2.libs"
BUILD = {"families": {}}

OVERRIDE, SEARCH_PATH = "OPENCV_CUDA_DLL_DIRS", "OPENCV_CUDA_SEARCH_PATH"
WHEEL, NVIDIA, DEFAULT = "this wheel", "NVIDIA's wheels", "default directory"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SYSTEM = os.path.join(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32")
MACHINES = {0x14C: "32-bit Windows (x86)", 0x1C4: "ARM", 0x8664: "x86-64", 0xAA64: "ARM64"}
PROCESSORS = {"x86": 0x14C, "x86-64": 0x8664, "arm64": 0xAA64}
SUBFOLDERS = {"x86-64": ("x64", "x86_64"), "arm64": ("arm64",)}  # of `bin`, since CUDA 13
ABSENT_SYMBOL, FAILED_START = 127, 1114  # Windows' numbers for what stops a DLL from loading
UNKNOWN, DULL = "ask whoever built this wheel", ("does not exist", "holds none of them")
# In the reason why a place was not taken -> the page that says more of it, the most telling first.
PAGES = {" is for ": "processor", "holds a ": "damaged", ", another": "version", "has no ": "part"}
REASONS = {FileNotFoundError: DULL[0], NotADirectoryError: "is not a directory"}


class Search:
    """One walk through ORDER, with what was found and why other places were not taken."""

    def _override(self):
        yield from ((directory, OVERRIDE) for directory in _split(OVERRIDE))

    def _this_wheel(self):
        for folder in BUILD["vendored"]:
            yield os.path.join(ROOT, *folder.split("/")), WHEEL
        yield HERE, WHEEL  # where Windows looks first of all, whatever is registered
        if getattr(sys, "frozen", False) or "__compiled__" in globals():
            # PyInstaller and Nuitka put DLLs beside the packages, or beside the program.
            yield from ((each, WHEEL) for each in (ROOT, os.path.dirname(sys.executable)))

    def _nvidia_wheels(self):
        others = [each for each in sys.path if isinstance(each, str) and not each.endswith(".zip")]
        for root in dict.fromkeys([ROOT, *(each for each in others if not _unfit(each, NVIDIA))]):
            top = os.path.join(root, "nvidia")
            for name in sorted(self.names(top, NVIDIA)):
                folder = os.path.join(top, name, "bin")
                yield from ((each, NVIDIA) for each in self._nested(folder) if self.names(folder))

    def _conda(self):
        for prefix in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"):
            folder = os.path.join(getattr(sys, prefix, None) or "", "Library", "bin")
            yield from ((directory, "conda") for directory in self._nested(folder))

    def _by_variables(self):
        for variable in _variables():
            for root in _split(variable):
                yield from ((directory, variable) for directory in [*self._bins(root), root])

    def _defaults(self):
        program_files = _variable("PROGRAMFILES") or "C:\\Program Files"
        for product in ("NVIDIA GPU Computing Toolkit\\CUDA", "NVIDIA\\CUDNN"):
            top = os.path.join(program_files, product)
            for name in _newest(self.names(top, DEFAULT), "v", any_major=product[-1] == "N"):
                yield from ((each, DEFAULT) for each in self._bins(os.path.join(top, name)))

    def _path(self):
        yield from ((each, "PATH") for each in _split("PATH") if _variable(SEARCH_PATH) != "0")

    # Each step yields (directory, source), and is asked only as long as a family is missing.
    ORDER = (_override, _this_wheel, _nvidia_wheels, _conda, _by_variables, _defaults, _path)

    def __init__(self):
        self.missing, self.found = dict(BUILD["families"]), {}  # family -> files, -> its place
        self.refused = []  # (directory, source, family, reason); no family: it holds for all
        self._listings, self._tried = {}, set()
        for step in self.ORDER if self.missing else ():
            for directory, source in step(self):
                # What was ordered is looked at whole: a mistake in it shall be heard of.
                if not self.missing and source != OVERRIDE:
                    return
                self._look(directory, source)

    def directories(self):
        """Return the directories found, each once, in the order found."""
        return list(dict.fromkeys(directory for directory, _ in self.found.values()))

    def names(self, directory, source=""):
        """Return the lower-case names in `directory`; with a source, why there are none is kept."""
        names, reason = self._listing(directory)
        if reason and source:
            self._refuse(directory, source, "", reason)
        return names

    def places(self, families):
        """Return where `families` were looked for, by the reason why each place was not taken."""
        reasons = {}
        for directory, source, family, reason in self.refused:
            if families & ({family} if family else {*BUILD["families"]}):
                reasons.setdefault(reason, {})[f"{directory} ({source})"] = None
        unset = [name for name in (OVERRIDE, *_variables()) if not _variable(name)]
        off = [f"PATH ({SEARCH_PATH}=0)"] if _variable(SEARCH_PATH) == "0" else []
        telling = sorted(reasons.items(), key=lambda each: each[0] in DULL)
        lines = [f"{reason}: {'; '.join(each)}" for reason, each in telling]
        return lines and [*lines, f"not set: {', '.join(unset + off)}"]

    def distributions(self):
        """Return the distributions of OpenCV that are installed here: they overwrite each other."""
        names = [name[:-10] for name in self.names(ROOT) if name.endswith(".dist-info")]
        parts = [name.partition("-") for name in sorted(names) if name.startswith("opencv")]
        return [f"{name.replace('_', '-')} {version}" for name, _, version in parts]

    def _nested(self, directory):
        """Return `directory`, after those of its subfolders that are for this processor."""
        folders, names = SUBFOLDERS.get(BUILD["machine"], ()), self.names(directory)
        return [os.path.join(directory, each) for each in folders if each in names] + [directory]

    def _bins(self, root):
        r"""Yield bin\<cuda>\x64, bin\<cuda> (so cuDNN's installer), bin\x64 and bin of `root`."""
        top = os.path.join(root, "bin")
        for name in [*_newest(self.names(top), ""), ""]:
            yield from self._nested(os.path.join(top, name) if name else top)

    def _look(self, directory, source):
        """Take from `directory` the families that it holds whole, or keep the reason why not."""
        wanted = [each for each in self.missing if (_key(directory), each) not in self._tried]
        self._tried.update((_key(directory), each) for each in wanted)
        reason = _unfit(directory, source) or self._listing(directory)[1]
        if reason and source == OVERRIDE:
            text = f'{OVERRIDE} names "{directory}", which {reason}: correct it or unset it'
            raise ImportError("\n  ".join([text, *_more(["override"])]), name="cv2")
        for family in wanted:
            lack = reason or self._lack(directory, self.missing[family])
            if lack:
                self._refuse(directory, source, family, lack)
            else:
                _say(f"{family}: {directory} ({source}) is taken")
                self.found[family] = (directory, source)
                del self.missing[family]

    def _lack(self, directory, files):
        """Return what `directory` lacks of a family's files, None if it holds them all, sound."""
        names = self.names(directory)
        lacking = [name for name in files if name.lower() not in names]
        if len(lacking) == len(files):
            stem = files[0].lower().rpartition("_")[0]
            others = [name for name in names if stem and name.rpartition("_")[0] == stem]
            return f"holds {min(others)}, another version" if others else DULL[1]
        if lacking:
            return "has no " + ", ".join(lacking)
        faults = ((name, _fault(os.path.join(directory, name))) for name in files)
        return next((f"holds a {name} that {fault}" for name, fault in faults if fault), None)

    def _refuse(self, directory, source, family, reason):
        _say(f"{family or 'all'}: {directory} ({source}) {reason}")
        self.refused.append((directory, source, family, reason))

    def _listing(self, directory):
        """Return (the lower-case names in `directory`, None), or (none, the reason why not)."""
        key = _key(directory)
        if key not in self._listings:
            try:
                names = () if _unfit(directory) else os.listdir(directory)
                self._listings[key] = frozenset(name.lower() for name in names), None
            except (OSError, ValueError) as error:
                reason = REASONS.get(type(error), f"cannot be read ({type(error).__name__})")
                self._listings[key] = frozenset(), reason
        return self._listings[key]


def _variables():
    """Return the variables that may lead to the DLLs: of the build's CUDA, of any, of its major."""
    own = ["CUDA_PATH_V{}_{}".format(*BUILD["cuda"])] if BUILD["cuda"] else []
    others = _newest(os.environ, "CUDA_PATH_V")
    return list(dict.fromkeys([*own, "CUDA_PATH", "CUDA_HOME", *others, "CUDNN_PATH"]))


def _newest(names, prefix, *, any_major=False):
    """Return those of `names` that are `prefix` and a version of that major, newest first."""
    rests = ((name[len(prefix) :], name) for name in names if name.startswith(prefix))
    parts = ((rest.replace("_", ".").split("."), name) for rest, name in rests)
    found = [(list(map(int, part)), name) for part, name in parts if all(map(str.isdecimal, part))]
    cuda = None if any_major else BUILD["cuda"]
    return [name for part, name in sorted(found, reverse=True) if not cuda or part[0] == cuda[0]]


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
        parts[at] = os.environ.get(parts[at].upper(), f"%{parts[at]}%")
    odd = "%" if len(parts) % 2 == 0 else ""
    return os.path.normpath("".join(parts[:-1]) + odd + parts[-1])


def _key(directory):
    """Return what all names of one directory have in common."""
    return os.path.normcase(os.path.normpath(directory)).rstrip("\\")


def _unfit(directory, source=WHEEL):
    """Return why a directory of that name is not even looked at, or None."""
    drive, rest = os.path.splitdrive(directory)
    if not drive or rest[:1] not in ("\\", "/"):
        return "is not an absolute directory"
    if source in (OVERRIDE, WHEEL):
        return None
    if _key(directory) == _key(os.getcwd()):
        return "is the working directory"
    # Folders that any user may write to on every Windows. Access lists are not read.
    for top in (_variable("PUBLIC"), os.path.join(os.path.dirname(SYSTEM), "Temp")):
        if not _unfit(top) and (_key(directory) + "\\").startswith(_key(top) + "\\"):
            return "is a directory that everyone may write to"
    return None


def _fault(path):
    """Return what is wrong with a DLL, told by one read of its head, or None."""
    try:
        with open(path, "rb", 0) as file:
            head, size = file.read(4096), file.seek(0, 2)
    except OSError as error:
        return f"cannot be read ({type(error).__name__})"
    at = _int(head, 60)
    if head[:2] != b"MZ" or head[at : at + 4] != b"PE\0\0":
        return "is a placeholder of Git LFS" if head[:19] == b"version https://git" else "is no DLL"
    machine = _int(head, at + 4, 2)
    if machine != PROCESSORS.get(BUILD["machine"], machine):
        return f"is for {MACHINES.get(machine, 'another processor')}"
    sections = at + 24 + _int(head, at + 20, 2)
    rows = range(sections, sections + 40 * _int(head, at + 6, 2), 40)
    ends = [_int(head, row + 16) + _int(head, row + 20) for row in rows]
    return "is cut off" if max([rows.stop, *ends]) > size else None


def _int(content, at, size=4):
    return int.from_bytes(content[at : at + size], "little")


def _say(text):
    if _variable("OPENCV_CUDA_DEBUG") not in ("", "0") and sys.stderr is not None:
        sys.stderr.write("cv2.cuda_dlls: " + text + "\n")


class _Loading:
    """Registers the directories on entry; after a failure, leaves nothing behind."""

    def __init__(self):
        self.search, self._handles = None, []  # a directory counts as long as its handle does
        self._entered = []  # what each `with` found, the innermost last

    def __enter__(self):
        if os.name != "nt":
            return
        if not self._entered and hasattr(sys, "OpenCV_LOADER"):
            del sys.OpenCV_LOADER  # the loader is not at work: an earlier failure left it behind
        search, flag = self.search or Search(), hasattr(sys, "OpenCV_LOADER")
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
                os.environ["PATH"] = path.lstrip(";")  # its "" is the working directory
            return
        try:
            text = _explanation(error, self.search)
        finally:
            self._restore(*before)
            if not self._entered:
                for handle in self._handles:
                    handle.close()
                self._handles, self.search = [], None  # the cure may be there at the next import
        if text:
            raise ImportError(text, name=error.name, path=error.path) from error

    def _register(self, search):
        for directory in search.directories() if hasattr(os, "add_dll_directory") else ():
            self._add(directory, search)
        # PATH counts before Python 3.8; and on all for what DLLs load by name: cuDNN its parts.
        chosen = {_key(directory) for directory in search.directories()}
        if chosen:
            entries = os.environ.get("PATH", "").split(";")
            rest = [each for each in entries if _key(each.strip(' "')) not in chosen]
            os.environ["PATH"] = ";".join(search.directories() + rest)
        for name, folder in BUILD["stand_ins"].items():
            path = os.path.join(ROOT, *folder.split("/"), name)
            if name not in search.names(SYSTEM) and _Windows().load(path) != 0:
                self._add(os.path.dirname(path), search)

    def _add(self, directory, search):
        try:
            self._handles.append(os.add_dll_directory(directory))
        except OSError as error:
            # So the Microsoft Store's Python was seen. What is loaded already answers to its name.
            _say(f"{directory} is not registered ({error}): its DLLs are loaded")
            for family in [each for each in search.found if search.found[each][0] == directory]:
                for name in sorted(set(BUILD["families"][family]) - set(BUILD["delayed"])):
                    _Windows().load(os.path.join(directory, name))

    def _restore(self, path, modules, search_path, flag):
        """Put the process back to what it was before a native module failed to load."""
        sys.path[:] = path
        for name in {*modules, *sys.modules}:
            if name.partition(".")[0] == "cv2":
                sys.modules.pop(name, None)
                sys.modules.update({name: modules[name]} if name in modules else {})
        os.environ.pop("PATH", None)
        os.environ.update({} if search_path is None else {"PATH": search_path})
        if not flag and hasattr(sys, "OpenCV_LOADER"):
            del sys.OpenCV_LOADER


_loading = globals().get("_loading") or _Loading()  # kept when the module is reloaded


def loading():
    """Return a context in which cv2's native module finds its DLLs."""
    # runpy imports cv2 on its way to `-m cv2.cuda_dlls`, which has to answer where cv2 cannot.
    frame = sys._getframe() if getattr(sys, "argv", ())[:1] == ["-m"] else None
    while frame and frame.f_locals.get("mod_name") != __name__:
        frame = frame.f_back
    if frame:
        sys.exit(main(sys.argv[1:]))
    return _loading


# From here on: what is run only where an import failed, or where somebody asks.
class _Windows:
    """Windows' own loader, where ctypes lets one ask it; otherwise nothing is known."""

    def __init__(self):
        try:
            import ctypes

            self._ctypes, self._api = ctypes, ctypes.WinDLL("kernel32", use_last_error=True)
            self._api.LoadLibraryExW.restype = self._api.GetModuleHandleW.restype = ctypes.c_void_p
        except (ImportError, AttributeError, OSError):
            self._api = None

    def loaded(self, name):
        """Return the path of the DLL that is loaded under that name, or None."""
        handle = self._api and self._api.GetModuleHandleW(name)
        if not handle:
            return None
        path = self._ctypes.create_unicode_buffer(1 << 15)
        self._api.GetModuleFileNameW(self._ctypes.c_void_p(handle), path, len(path))
        return path.value

    def load(self, path):
        """Return the number of the error that loading as an import does gives; None: not known."""
        if not self._api:
            return None
        flags = ((0, 8), (0x1000, 0x1100))[hasattr(os, "add_dll_directory")][os.path.isabs(path)]
        self._api.SetErrorMode(0x8003)  # an error is no dialog, as Python has it in an import
        return 0 if self._api.LoadLibraryExW(path, None, flags) else self._ctypes.get_last_error()


class _Image:
    """The tables of a PE file: what it asks for when it is loaded, and what it offers."""

    def __init__(self, path):
        import mmap

        with open(path, "rb") as file:
            self.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._int = lambda at, size=4: _int(self.content, at, size)
        at = self._int(60) + 24
        self._width, self._tables = (8, at + 112) if self._int(at, 2) == 0x20B else (4, at + 96)
        first = at + self._int(at - 4, 2)
        rows = range(first, first + 40 * self._int(at - 18, 2), 40)
        self._sections = [[self._int(row + 8 + 4 * n) for n in range(4)] for row in rows]

    def imports(self):
        """Yield each DLL asked for, and the symbols asked of it by name."""
        row = self._at(self._int(self._tables + 8))
        while row and self._int(row + 12):
            thunk, symbols = self._at(self._int(row) or self._int(row + 16)), []
            while self._int(thunk, self._width):
                if not self._int(thunk, self._width) >> (8 * self._width - 1):
                    symbols.append(self._text(self._int(thunk) + 2))
                thunk += self._width
            yield self._text(self._int(row + 12)), symbols
            row += 20

    def exports(self):
        """Return the symbols offered by name."""
        table = self._at(self._int(self._tables))
        count, names = (self._int(table + 24), self._at(self._int(table + 32))) if table else (0, 0)
        return {self._text(self._int(names + 4 * each)) for each in range(count)}

    def version(self):
        """Return the file's version, which stands behind a mark of its own."""
        at = self.content.find(b"\xbd\x04\xef\xfe") + 8
        return ".".join(str(self._int(at + each, 2)) for each in (2, 0, 6, 4))

    def _text(self, rva):
        start = self._at(rva)
        return self.content[start : self.content.find(b"\0", start)].decode("latin-1")

    def _at(self, rva):
        spans = ((rva - start, max(size, raw), to) for size, start, raw, to in self._sections)
        return next((to + offset for offset, size, to in spans if 0 <= offset < size), 0)


class _Walk:
    """Follows the load-time imports of the native module as Windows does, and keeps what fails."""

    def __init__(self, native, search):
        self.windows, self._search, self.files = _Windows(), search, [native]
        self.missing, self.broken, self.asked = {}, {}, []
        self._places = [os.path.dirname(native), os.path.dirname(sys.executable), sys.base_prefix]
        self._places += [*search.directories(), SYSTEM]
        self._places += [os.path.join(ROOT, each) for each in BUILD["stand_ins"].values()]
        self._places += [] if hasattr(os, "add_dll_directory") else _split("PATH")
        for path in self.files:  # more of them are appended below
            self.broken[path] = _fault(path)
            for name, symbols in () if self.broken[path] else _Image(path).imports():
                answer = self._answer(name)
                if answer is None:
                    self.missing.setdefault(name.lower(), (name, []))[1].append(path)
                if answer:
                    of_windows = _key(os.path.dirname(answer)) == _key(SYSTEM)
                    self.asked.append((path, answer, symbols, of_windows))
                    if answer not in self.files and not of_windows:
                        self.files.append(answer)

    def _answer(self, name):
        """Return the file that Windows takes for `name`, "" if not known which, None if none."""
        if name.lower().startswith(("api-ms-", "ext-ms-")):
            return ""
        loaded = self.windows.loaded(name)
        for place in [] if loaded else self._places:
            if name.lower() in self._search.names(place):
                path = os.path.join(place, name)
                # One of Windows' own may be there and yet not load: it needs others.
                return None if place == SYSTEM and self.windows.load(path) else path
        return loaded or ("" if self.windows.load(name) == 0 else None)


def _explanation(error, search):
    """Return what to say instead of `error`, "" where it says enough itself."""
    numpy, head, findings = sys.modules.get("numpy"), "DLL load failed while importing cv2", []
    if type(error) is ImportError and (error.path or "").lower().endswith(".pyd"):
        walk = _Walk(error.path, search)
        findings = list(_findings(walk, search))
        number = 0 if findings else walk.windows.load(error.path)
        if number:
            what = f"{str(error).partition(': ')[2]} (error {number}); no file here says why"
            findings = [(what, UNKNOWN, [], "unexplained")]
    elif type(error) is ImportError and numpy and BUILD["numpy"] and "numpy" in str(error):
        # NumPy says so itself, in English everywhere.
        what = f"NumPy {numpy.__version__} is installed, and this build needs {BUILD['numpy']}"
        cure = f'python -m pip install "{BUILD["numpy"]}"'
        head, findings = "cv2 and NumPy do not fit", [(what, cure, [], "numpy")]
    if not findings:
        return ""
    whats, cures = ("; ".join(dict.fromkeys(finding[at] for finding in findings)) for at in (0, 1))
    lines, pages = [each for one in findings for each in one[2]], [one[3] for one in findings]
    if len(search.distributions()) > 1:
        lines.append(f"installed over each other: {', '.join(search.distributions())}")
        pages.append("several-opencv")
    lines += ["what is chosen, and why: python -m cv2.cuda_dlls", *_more(pages)]
    return "\n  ".join([f"{head}: {whats}. To cure it: {cures}.", *lines])


def _findings(walk, search, *, loading=True):
    """Yield (what is wrong, what cures it, further lines, page) for all that stops the import."""
    groups, base, known = {}, os.path.basename, BUILD["kinds"].get
    for name, who in walk.missing.values():
        kind = known(name.lower()) or known(base(who[0]).lower(), "")
        group = "cuda" if kind in BUILD["families"] else kind or "unknown"
        kinds, lines = groups.setdefault(group, (set(), []))
        kinds.add(kind)
        lines.append(f"{name} is needed by {', '.join(map(base, who))}")
    for group, (kinds, lines) in groups.items():
        places, own = search.places(kinds), "cudnn" if kinds == {"cudnn"} else group
        pages = [page for word, page in PAGES.items() if word in "\n".join(places)]
        what = ", ".join(line.partition(" ")[0] for line in lines) + " not found"
        yield what, _cure(kinds), lines + places, [*pages, "missing-" + own][0]
    for path, fault in walk.broken.items():
        if fault:
            page = "processor" if " is for " in fault else "damaged"
            yield f"{path} {fault}", "put a sound one in its place", [], page
    if walk.missing or any(walk.broken.values()):
        return
    number = walk.windows.load(walk.files[0]) if loading else None
    exports = {}
    for path, answer, symbols, of_windows in walk.asked:
        exports[answer] = exports.get(answer) or _Image(answer).exports()
        lacking = sorted(set(symbols) - exports[answer])
        if lacking and (number == ABSENT_SYMBOL or not of_windows):
            what = f"{answer} has no {', '.join(lacking[:3])}, which {base(path)} needs"
            kind = known(base(answer).lower(), known(base(path).lower(), "windows" * of_windows))
            is_loaded = not of_windows and walk.windows.loaded(base(answer))
            early = "import cv2 before what loads that file, or " if is_loaded else ""
            yield what, early + _cure({kind}), [], "loaded-first" if is_loaded else "symbol"
    if number == FAILED_START:
        failing = [path for path in walk.files if walk.windows.load(path) == number]
        runtime = walk.windows.loaded("msvcp140.dll")
        lines = [f"loaded: {runtime} {_Image(runtime).version()}"] if runtime else []
        what = f"{failing[-1]} fails to start (error {number})"
        yield what, _cure({"vc-runtime"}), lines, "failed-start"


def _cure(kinds):
    """Return how to come by DLLs of these kinds, in one command or one setting."""
    wheels = sorted(each for kind in kinds for each in BUILD["requires"].get(kind, ()))
    pip = f"python -m pip install {' '.join(wheels)}, or " if wheels else ""
    return pip + " and ".join(sorted({BUILD["cures"].get(kind, UNKNOWN) for kind in kinds}))


def _more(pages):
    addresses = dict.fromkeys(f"{BUILD['help']}{page}/" for page in pages)
    return [f"More: {' '.join(addresses)}"] if BUILD["help"] and pages else []


def main(arguments):
    """Print what is chosen and why; return 1 where something is missing."""
    search, kinds = Search(), BUILD["kinds"]
    natives = [each for each in search.names(HERE) if each[:3] == "cv2" and each[-4:] == ".pyd"]
    walks = [_Walk(os.path.join(HERE, each), search) for each in sorted(natives)]
    found = [one for walk in walks for one in _findings(walk, search, loading=False)]
    facts = {
        "version": 1,
        "cv2": HERE,
        "python": f"{sys.version.split()[0]} ({sys.executable})",
        "build": BUILD,
        "chosen": {family: list(place) for family, place in search.found.items()},
        "missing": search.missing,
        "problems": [one[0] for one in found],
        "refused": [list(each) for each in search.refused],
        "driver": {each: each in search.names(SYSTEM) for each in kinds if kinds[each] == "driver"},
        "stand_ins": [each for each in BUILD["stand_ins"] if each not in search.names(SYSTEM)],
        "distributions": search.distributions(),
        "variables": {name: os.environ.get(name) for name in (OVERRIDE, *_variables(), "PATH")},
    }
    lines = [f"cv2 {BUILD['opencv']} ({HERE}), Python {facts['python']}"]
    lines += [f"{family}: {place} ({why})" for family, (place, why) in search.found.items()]
    lines += [f"{each}: not found: {', '.join(files)}" for each, files in search.missing.items()]
    lines += [f"{each}: {'' if there else 'not '}found" for each, there in facts["driver"].items()]
    lines += [f"{each}: a stand-in says that there is no device" for each in facts["stand_ins"]]
    lines += [f"stops an import: {each}" for each in facts["problems"]]
    lines += ["not taken:", *("  " + each for each in search.places({*BUILD["families"]}))]
    lines += _more([one[3] for one in found])
    if "--json" in arguments:
        import json

        lines = [json.dumps(facts, indent=2)]
    encoding = sys.stdout.encoding or "utf-8"  # which may lack letters of a directory's name
    print("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding))
    return 1 if search.missing or found else 0


if __name__ == "__main__":
    sys.path[:] = [each for each in sys.path if each != HERE]  # whose `typing` is not Python's
    sys.exit(main(sys.argv[1:]))

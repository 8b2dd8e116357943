r"""Finds the CUDA DLLs that this build of OpenCV needs, and loads them before its native module.

`cv2/__init__.py` imports the native module inside `with loading():`. For each family of DLLs (npp,
cublas, cudnn, ...) one directory is chosen: the first of these that holds every file needed, each
of them a whole DLL for this processor.

1. OPENCV_CUDA_DLL_DIRS: directories separated by `;`. One that does not exist is an error.
2. This wheel: the DLLs that came with it, and the folder of cv2.
3. NVIDIA's wheels (nvidia\*) beside cv2, then in the other folders of sys.path; Library\bin and
   bin of this conda environment.
4. CUDA_PATH_V<major>_<minor> of this build, CUDA_PATH, CUDA_HOME, other CUDA_PATH_V<major>_*
   with the newest first, CUDNN_PATH.
5. The default directories of CUDA's installers, the newest first, then those of cuDNN's.
6. The folder of the running program, then PATH (not with OPENCV_CUDA_SEARCH_PATH=0).

Of each directory that one of these names, the known subfolders come first (bin, bin\x64,
bin\12.9\x64, Library\bin, ...). Where the process has loaded a DLL of a family already, that DLL's
directory is the family's. The files chosen are loaded by their full paths: a module that is loaded
satisfies later imports of its name before Windows searches anything. What is loaded later by its
name alone follows the directories that are registered, and PATH.

Relative directories, the working directory and folders that every user may write to are not taken.
Off Windows nothing is done. `python -m cv2.cuda_dlls [--json]` says what is chosen and why.
OPENCV_CUDA_DEBUG=1 prints each step. Standard library only, Python 3.6 and later. Put here by
repack; what this build needs stands in _cuda_build.py.
"""

import os
import sys
from collections import namedtuple

FOLDER = os.path.dirname(os.path.abspath(__file__))

# Sources of directories, in the words of a report; variables are sources by their own names.
OVERRIDE, SEARCH_PATH = "OPENCV_CUDA_DLL_DIRS", "OPENCV_CUDA_SEARCH_PATH"
LOADED, WHEEL, NVIDIA, CONDA = "already loaded", "this wheel", "NVIDIA's wheels", "conda"
DEFAULT, PROGRAM, PATH = "default directory", "folder of the running program", "PATH"

# Reasons why a directory is not taken, or a file is no good.
NOT_ABSOLUTE, ABSENT, UNREADABLE = "not-absolute", "absent", "unreadable"
WORKING_DIRECTORY, WRITABLE_BY_ALL = "working-directory", "writable-by-all"
HOLDS_NONE, HOLDS_PART, OTHER_VERSION = "holds-none", "holds-part", "other-version"
NO_DLL, PLACEHOLDER, CUT_OFF, OTHER_MACHINE = "no-dll", "placeholder", "cut-off", "other-machine"

# What a build is where a key of its facts is not given; _cuda_build.py explains the keys.
UNKNOWN_BUILD = {
    "cuda": None,
    "cures": {},
    "delayed": (),
    "families": {},
    "help_url": "",
    "kinds": {},
    "machine": "x86-64",
    "numpy": None,
    "opencv": "",
    "original": {},
    "others": (),
    "requires": {},
    "stand_ins": {},
    "vendored": (),
}

# Known subfolders: those named by a CUDA version, these, and the processor's own.
SUBFOLDERS = ("bin", "library")
PROCESSOR_SUBFOLDERS = {"x86-64": ("x64", "x86_64"), "arm64": ("arm64",)}
DEEPEST = 3  # bin\12.9\x64

# Machine types of the PE format.
MACHINES = {"x86": 0x14C, "x86-64": 0x8664, "arm64": 0xAA64}

# DLLs that others import are loaded before these; nothing else depends on the order.
LOAD_FIRST = ("nvjitlink", "cublaslt", "cublas64", "cusparse", "cufft64", "nppc64")
# Families that load their parts, or others', by name alone: they come first on PATH.
PATH_FIRST = ("cudnn", "nvrtc", "cublas")
# Windows takes no longer variable. OpenCV's own loader puts its folders on PATH too, after us.
LONGEST_PATH, ROOM_FOR_OPENCV = 32767, 4096

ERROR_MOD_NOT_FOUND = 126
LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR = 0x1000, 0x100
LOAD_WITH_ALTERED_SEARCH_PATH = 8
THIS_PROCESS, MOST_MODULES = -1, 4096
NO_DIALOGS = 0x8003  # SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX

# `root` is what the source named, `directory` that or a subfolder of it.
Place = namedtuple("Place", "directory source root")
Choice = namedtuple("Choice", "family directory source files")
# What is wrong with a directory or a file: a code from above, the names of files, more about them.
Fault = namedtuple("Fault", "reason file detail")
Refusal = namedtuple("Refusal", "directory source family fault")
Listing = namedtuple("Listing", "names reason")  # lower-case name -> name
Wanted = namedtuple("Wanted", "family files")
# What Windows answers when it is to load something: no handle and an error number, or a handle
# and 0; neither where it cannot be asked.
Loaded = namedtuple("Loaded", "handle number")
Section = namedtuple("Section", "address offset size")
State = namedtuple("State", "path modules search_path flag")


class Windows:
    """What Windows' loader is asked by ctypes. Where ctypes does not work, nothing is known."""

    def __init__(self):
        self._kernel = None
        try:
            import ctypes

            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            text, handle, number = ctypes.c_wchar_p, ctypes.c_void_p, ctypes.c_uint32
            kernel.GetModuleHandleW.argtypes = [text]
            kernel.GetModuleHandleW.restype = handle
            listing = [handle, ctypes.POINTER(handle), number, ctypes.POINTER(number)]
            kernel.K32EnumProcessModules.argtypes = listing
            kernel.GetModuleFileNameW.argtypes = [handle, text, number]
            kernel.LoadLibraryExW.argtypes = [text, handle, number]
            kernel.LoadLibraryExW.restype = handle
            kernel.FreeLibrary.argtypes = [handle]
            kernel.SetThreadErrorMode.argtypes = [number, ctypes.POINTER(number)]
            kernel.GetCommandLineW.restype = text
            self._text = ctypes.create_unicode_buffer(1 << 15)
            self._ctypes, self._kernel = ctypes, kernel
        except Exception as error:  # whatever is the matter with ctypes, cv2 may import without
            print_step("ctypes does not work ({}): directories are registered only", error)

    def find_module(self, name):
        """Return the path of the module that is loaded under `name`, or None."""
        handle = self._kernel and self._kernel.GetModuleHandleW(name)
        return self._file_name(handle) if handle else None

    def list_modules(self):
        """Return the paths of all modules that are loaded, by their lower-case names.

        One question for many names: for each that is not loaded, Wine looks through PATH.
        """
        if self._kernel is None:
            return {}
        handles, size = (self._ctypes.c_void_p * MOST_MODULES)(), self._ctypes.c_uint32()
        room = self._ctypes.sizeof(handles)
        self._kernel.K32EnumProcessModules(THIS_PROCESS, handles, room, self._ctypes.byref(size))
        count = size.value // self._ctypes.sizeof(self._ctypes.c_void_p)
        paths = [self._file_name(handle) for handle in handles[:count]]
        # Of two modules with one name the first answers to it.
        return {os.path.basename(path).lower(): path for path in reversed(paths)}

    def find_program(self):
        """Return the path of the running program: in a virtual environment, the base Python."""
        return self._file_name(None) if self._kernel else getattr(sys, "executable", None) or ""

    def read_command_line(self):
        """Return the words that the program was started with, as they were typed."""
        return self._kernel.GetCommandLineW().split() if self._kernel else []

    def load(self, name):
        """Return what comes of loading a path, or a name, as an import does."""
        if self._kernel is None:
            return Loaded(None, None)
        is_path = os.path.isabs(name)
        if hasattr(os, "add_dll_directory"):
            flags = LOAD_LIBRARY_SEARCH_DEFAULT_DIRS
            flags |= LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR if is_path else 0
        else:
            flags = LOAD_WITH_ALTERED_SEARCH_PATH if is_path else 0
        mode = self._ctypes.c_uint32()
        self._kernel.SetThreadErrorMode(NO_DIALOGS, self._ctypes.byref(mode))
        try:
            handle = self._kernel.LoadLibraryExW(name, None, flags)
            number = 0 if handle else self._ctypes.get_last_error()
        finally:
            self._kernel.SetThreadErrorMode(mode.value, None)
        return Loaded(handle, number)

    def free(self, handle):
        """Give back what `load` returned."""
        if handle:
            self._kernel.FreeLibrary(handle)

    def try_to_load(self, name):
        """Return the error number that loading `name` gives, 0 for none, None if not known."""
        loaded = self.load(name)
        self.free(loaded.handle)
        return loaded.number

    def _file_name(self, handle):
        self._kernel.GetModuleFileNameW(handle, self._text, len(self._text))
        return self._text.value


class Search:
    """A walk through the sources: what is chosen, and why other places are not taken."""

    def __init__(self, folder, build, windows):
        """`folder` is that of cv2."""
        self.folder, self.root = folder, os.path.dirname(folder)
        self.build = dict(UNKNOWN_BUILD, **build)
        self.windows = windows
        self.choices, self.refusals = [], []
        self.sound_files = set()  # lower-case names of DLLs that a place which may be taken holds
        self.faulty_files = {}  # lower-case name -> Fault of the first file that is no good
        self.modules = windows.list_modules()  # what was loaded before
        self._listings, self._identities, self._looked_at = {}, {}, set()
        self.missing = []  # of type Wanted, families that are not chosen yet
        self.bad_override = self._find_bad_override()
        self._choose()

    # What is needed

    def files_of(self, family):
        """Return the files of a family that are needed at load time, else those needed later."""
        files = self.build["families"][family]
        at_load = [name for name in files if name not in self.build["delayed"]]
        return tuple(at_load or files)

    def directories(self):
        """Return the directories chosen, first those that PATH has to have first, and the user's.

        What the user names may hold what a DLL there needs, or loads by name.
        """
        ranks = {family: rank for rank, family in enumerate(PATH_FIRST)}
        ordered = sorted(self.choices, key=lambda choice: ranks.get(choice.family, len(ranks)))
        chosen = [choice.directory for choice in ordered]
        return list(dict.fromkeys(chosen + _split_variable(OVERRIDE)))

    def files_to_load(self):
        """Return the paths of the chosen files that the native module needs at load time."""
        paths = [
            os.path.join(choice.directory, name)
            for choice in self.choices
            for name in choice.files
            if name not in self.build["delayed"]
        ]
        return sorted(paths, key=_load_order)

    # The sources, in order

    def _choose(self):
        for family in self.build["families"]:
            self._start_with_loaded(family)
        families = list(self.missing)
        self.missing += [Wanted(name, (name,)) for name in self.build["others"]]
        self._look_below(_split_variable(OVERRIDE), OVERRIDE)
        # A DLL that is nobody's has no other place: Windows finds it or does not.
        self.missing = [wanted for wanted in self.missing if wanted in families]
        for source, roots in self._sources():
            if not self.missing:
                return
            self._look_below(roots, source)

    def _sources(self):
        """Yield (source, directories); what is found out only when it is asked for."""
        yield WHEEL, self._wheel_folders()
        yield NVIDIA, self._nvidia_folders()
        yield CONDA, self._conda_folders()
        for variable in cuda_variables(self.build):
            yield variable, _split_variable(variable)
        yield DEFAULT, self._default_folders()
        yield PROGRAM, [self.program_folder()]
        if os.environ.get(SEARCH_PATH, "").strip() != "0":
            yield PATH, _split_variable("PATH")

    def _wheel_folders(self):
        for folder in self.build["vendored"]:
            yield os.path.join(self.root, *folder.split("/"))
        yield self.folder
        if is_frozen():
            # PyInstaller and Nuitka put DLLs beside the packages, or beside the program.
            yield self.root
            yield self.program_folder()

    def _nvidia_folders(self):
        for root in dict.fromkeys([self.root, *list_import_folders()]):
            top = os.path.join(root, "nvidia")
            names = self.list_directory(top).names.values()
            if names and (root == self.root or not self._is_working_directory(root)):
                for name in sorted(names):
                    if not name.startswith("_"):  # __init__.py, __pycache__
                        yield os.path.join(top, name)

    def _conda_folders(self):
        for prefix in _prefixes("prefix", "base_prefix"):
            yield os.path.join(prefix, "Library", "bin")
            yield os.path.join(prefix, "bin")

    def _default_folders(self):
        program_files = os.environ.get("PROGRAMFILES") or "C:\\Program Files"
        cuda = self.build["cuda"]
        for product, major in (
            ("NVIDIA GPU Computing Toolkit\\CUDA", cuda and cuda[0]),
            ("NVIDIA\\CUDNN", None),
        ):
            top = os.path.join(program_files, product)
            for name in _newest_first(self.list_directory(top).names.values(), "v", major):
                yield os.path.join(top, name)

    def program_folder(self):
        """Return the folder of the running program, where Windows itself looks."""
        return os.path.dirname(self.windows.find_program() or "")

    # How a directory is looked at

    def _start_with_loaded(self, family):
        """Choose the directory of a module of the family that the process has loaded already.

        What that directory lacks is looked for as usual: nothing of it can be registered there.
        """
        loaded = find_loaded(self.modules, self.build["families"][family])
        rest = [name for name in self.files_of(family) if name not in sum(loaded.values(), ())]
        for directory in loaded:
            names = self.list_directory(directory).names
            there = [name for name in rest if name.lower() in names]
            there = [name for name in there if not self._check_file(directory, name)]
            files = loaded[directory] + tuple(there)
            self.choices.append(Choice(family, directory, LOADED, files))
            rest = [name for name in rest if name not in there]
        if rest:
            self.missing.append(Wanted(family, tuple(rest)))

    def _look_below(self, roots, source):
        for root in map(os.path.normpath, filter(None, roots)):
            for directory in self._candidates(root, source):
                self._look_into(Place(directory, source, root))
            if not self.missing:
                return

    def _candidates(self, root, source):
        """Return the known subfolders of `root`, the deepest first, then `root` itself."""
        listing = self.list_directory(root)
        if listing.reason:
            self._refuse(Place(root, source, root), "", Fault(listing.reason, "", ""))
            return []
        levels = [[root]]
        while levels[-1] and len(levels) <= DEEPEST:
            levels.append([child for parent in levels[-1] for child in self._subfolders(parent)])
        return [directory for level in reversed(levels) for directory in level]

    def _subfolders(self, directory):
        names = self.list_directory(directory).names
        cuda = self.build["cuda"]
        known = []
        for prefix in ("", "v"):  # 12.9, v12.9
            known += _newest_first(names.values(), prefix, cuda and cuda[0])
        fixed = SUBFOLDERS + PROCESSOR_SUBFOLDERS.get(self.build["machine"], ())
        known += [names[name] for name in fixed if name in names]
        return [os.path.join(directory, name) for name in known]

    def _look_into(self, place):
        """Choose a place for the families that it holds whole, or keep the reason why not."""
        key = (_key(place.directory), _key(place.root))
        if key in self._looked_at:
            return
        self._looked_at.add(key)
        names = self.list_directory(place.directory).names
        is_held = any(name.lower() in names for wanted in self.missing for name in wanted.files)
        reason = self._find_place_fault(place) if is_held else None
        for wanted in list(self.missing):
            fault = self._judge(place.directory, wanted, reason)
            if fault:
                self._refuse(place, wanted.family, fault)
            else:
                directory, source = place.directory, place.source
                print_step("{}: {} ({}) is chosen", wanted.family, directory, source)
                self.choices.append(Choice(wanted.family, directory, source, wanted.files))
                self.missing.remove(wanted)

    def _judge(self, directory, wanted, reason):
        """Return why a directory is not taken for a family, or None; `reason` is one for all."""
        names = self.list_directory(directory).names
        present = [name for name in wanted.files if name.lower() in names]
        if not present:
            other = _find_other_version(wanted.files[0], names)
            return Fault(OTHER_VERSION if other else HOLDS_NONE, other or "", "")
        if reason:
            return Fault(reason, "", "")
        faults = [self._check_file(directory, name) for name in present]
        lacking = [name for name in wanted.files if name not in present]
        if lacking:
            return Fault(HOLDS_PART, ", ".join(lacking), "")
        return next(filter(None, faults), None)

    def _check_file(self, directory, name):
        """Return what is wrong with a DLL, or None; either is kept for a report."""
        fault = find_fault(os.path.join(directory, name), self.build["machine"])
        if fault:
            self.faulty_files.setdefault(name.lower(), fault)
        else:
            self.sound_files.add(name.lower())
        return fault

    def _refuse(self, place, family, fault):
        print_step("{}: {} ({}, {}): {} {} {}", family or "all", *place + fault)
        self.refusals.append(Refusal(place.directory, place.source, family, fault))

    def list_directory(self, directory):
        """Return the names in a directory, or none and the reason why."""
        key = _key(directory)
        if key not in self._listings:
            self._listings[key] = _list_directory(directory)
        return self._listings[key]

    # Which places may be taken

    def _find_bad_override(self):
        """Return a Fault of a directory that the user names and that is not there, or None."""
        for directory in _split_variable(OVERRIDE):
            reason = self.list_directory(directory).reason
            if reason:
                return Fault(reason, directory, "")
        return None

    def _find_place_fault(self, place):
        """Return why a place may not be taken by its name, whatever it holds, or None.

        Directories are compared by what they are: the same one has many names.
        """
        if place.source == OVERRIDE:
            return None
        line = self._lineage(place.directory)
        windows = os.environ.get("SYSTEMROOT") or "C:\\Windows"
        public = [os.environ.get("PUBLIC"), os.path.join(windows, "Temp")]
        if any(map(self._is_working_directory, (place.directory, place.root))):
            reason = WORKING_DIRECTORY
        elif any(self._identity(folder) in line for folder in public if folder):
            reason = WRITABLE_BY_ALL
        else:
            return None
        trusted = _prefixes("prefix", "exec_prefix", "base_prefix", "base_exec_prefix")
        trusted += [self.program_folder(), *self._wheel_folders()]
        # The working directory proves nothing, though Python imports from it.
        imports = list_import_folders()
        trusted += [folder for folder in imports if not self._is_working_directory(folder)]
        is_trusted = any(self._identity(folder) in line for folder in trusted if folder)
        return None if is_trusted else reason

    def _is_working_directory(self, directory):
        try:
            return self._identity(directory) == self._identity(os.getcwd())
        except OSError:  # it was removed
            return False

    def _lineage(self, directory):
        """Return the identities of a directory and of all that it lies in, links followed too."""
        folders = [directory, _follow_links(directory)]
        for folder in folders:  # it grows meanwhile
            if os.path.dirname(folder) not in folders:
                folders.append(os.path.dirname(folder))
        return {self._identity(folder) for folder in folders}

    def _identity(self, directory):
        """Return what all names of one directory have in common."""
        key = _key(directory)
        if key not in self._identities:
            try:
                status = os.stat(directory)
                # sshfs and WebDAV number nothing: there the text has to do.
                identity = (status.st_dev, status.st_ino) if status.st_ino else key
            except (OSError, ValueError):
                identity = key
            self._identities[key] = identity
        return self._identities[key]


class Attempt:
    """One attempt at the native import: what was registered and loaded for it."""

    def __init__(self, folder, build):
        self.windows = Windows()
        self.search = Search(folder, build, self.windows)
        self.failures = {}  # path -> error number of a chosen file that does not load
        self.stand_ins = []  # paths of stand-ins in use
        self.is_recursion = False  # the loader found its own package, not the native module
        self.has_succeeded = False  # from then on nothing of it is ever freed
        self._modules, self._directories = [], []

    def prepare(self):
        """Register the directories and load the files that are chosen."""
        if self.search.bad_override:
            return
        directories = self.search.directories()
        for directory in directories:
            self._register(directory)
        _put_on_path(directories)
        for path in self.search.files_to_load():
            if os.path.basename(path).lower() not in self.search.modules:
                self._load(path)
        for name, folder in sorted(self.search.build["stand_ins"].items()):
            self._stand_in(name, os.path.join(self.search.root, *folder.split("/")))

    def release(self):
        """Free what this attempt has loaded and registered, the last first, unless cv2 uses it."""
        if self.has_succeeded:
            return
        while self._modules:
            self.windows.free(self._modules.pop())
        while self._directories:
            self._directories.pop().close()

    def _register(self, directory):
        if not hasattr(os, "add_dll_directory"):
            return
        try:
            self._directories.append(os.add_dll_directory(directory))
        except Exception as error:  # the Microsoft Store's Python; an audit hook
            print_step("{} is not registered: {}", directory, error)

    def _load(self, path):
        """Return the error number; a file that does not load is left to the native import."""
        loaded = self.windows.load(path)
        print_step("load {}: {}", path, loaded.number)
        if loaded.handle:
            self._modules.append(loaded.handle)
        elif loaded.number:
            self.failures[path] = loaded.number
        return loaded.number

    def _stand_in(self, name, folder):
        """Load a stand-in for a DLL of the driver, unless the process has or can load the DLL."""
        loaded = self.windows.load(name)  # of a module that is loaded already, one reference more
        if loaded.handle:
            self._modules.append(loaded.handle)
        elif loaded.number is not None:
            if self._load(os.path.join(folder, name)) == 0:
                self.stand_ins.append(os.path.join(folder, name))
        elif name.lower() not in self.search.list_directory(system_folder()).names:
            self._register(folder)


class Loading:
    """The context around the native import. After a failure it leaves nothing behind."""

    def __init__(self, folder, build):
        self.attempt, self._accident = None, ""
        self._folder, self._build = folder, build
        self._states = []  # of the process at each `with`, the innermost last

    def __enter__(self):
        if os.name != "nt":
            return
        if not self._states and hasattr(sys, "OpenCV_LOADER"):
            del sys.OpenCV_LOADER  # an earlier failure left it: no loader is at work
        flag = hasattr(sys, "OpenCV_LOADER")
        state = State(list(sys.path), dict(sys.modules), os.environ.get("PATH"), flag)
        if self._states and self.attempt:
            self.attempt.is_recursion = True
        if self.attempt is None:
            self.attempt = self._prepare()
            if self.attempt and self.attempt.search.bad_override:
                self._fail(ImportError("", name="cv2"), state)
        self._states.append(state)

    def __exit__(self, kind, error, traceback):
        if os.name != "nt":
            return
        state = self._states.pop()
        if error is None:
            self._succeed(state)
        elif self._states:
            _restore(state)
            _set_path(state.search_path)
        else:
            self._fail(error, state)

    def _prepare(self):
        """Return the attempt, None where something unforeseen stopped it: cv2 may import so."""
        attempt, self._accident = None, ""
        try:
            attempt = Attempt(self._folder, self._build)
            attempt.prepare()
        except Exception as error:
            self._accident = " (the search for CUDA's DLLs failed: {!r})".format(error)
            print_step("{}", self._accident)
        return attempt

    def _succeed(self, state):
        _drop_empty_path_entry(state.search_path)
        if self._states:
            return
        if self.attempt:
            self.attempt.has_succeeded = True
        if is_run_as_program():
            sys.modules.pop(__name__, None)  # runpy warns of a module that is there already

    def _fail(self, error, state):
        """Leave the process as it was, and raise an error that says more, where there is one."""
        attempt = self.attempt
        if attempt and not attempt.has_succeeded:
            self.attempt = None
        _restore(state)
        text = str(error)
        try:
            if attempt and isinstance(error, ImportError):
                text = self._explain(error, attempt, state)
        except Exception as accident:  # the error itself is worth more than its explanation
            self._accident = " (its explanation failed: {!r})".format(accident)
        finally:
            _set_path(state.search_path)
            if attempt:
                attempt.release()
        if isinstance(error, ImportError) and text == str(error):
            text += self._accident
        if text != str(error):
            cause = error if str(error) else None
            raise ImportError(text, name=error.name, path=error.path) from cause

    def _explain(self, error, attempt, state):
        """Return what to say of an error; what this attempt has loaded is freed on the way."""
        report = load_report()
        explanation = report.explain(error, attempt)
        attempt.release()
        _set_path(state.search_path)
        text = explanation.describe()  # which looks at what is loaded still
        if is_run_as_program():
            report.print_report(explanation, text, sys.argv[1:])
            sys.exit(1)
        return text


# What a search is made of


def cuda_variables(build):
    """Return the variables that may lead to the DLLs: of the build's CUDA, of any, of its major."""
    cuda = build["cuda"]
    own = ["CUDA_PATH_V{}_{}".format(*cuda)] if cuda and cuda[1] is not None else []
    others = _newest_first(os.environ, "CUDA_PATH_V", cuda and cuda[0])
    return list(dict.fromkeys([*own, "CUDA_PATH", "CUDA_HOME", *others, "CUDNN_PATH"]))


def find_loaded(modules, names):
    """Return the directories that modules of these names were loaded from, each with its names."""
    directories = {}
    for name in names:
        path = modules.get(name.lower())
        if path:
            directory = os.path.dirname(path)
            directories[directory] = (*directories.get(directory, ()), name)
    return directories


def find_fault(path, machine):
    """Return what keeps Windows from loading a DLL, as far as its headers tell, or None."""
    try:
        with open(path, "rb", 0) as file:
            head = file.read(4096)
            start = _number(head, 60)
            header = head[start:]
            if start > 1024:
                file.seek(start)
                header = file.read(4096)
            if head[:2] != b"MZ" or header[:4] != b"PE\0\0":
                is_placeholder = head.startswith(b"version https://git-lfs")
                return Fault(PLACEHOLDER if is_placeholder else NO_DLL, path, "")
            ends = [section.offset + section.size for section in _read_sections(header)]
            end_of_headers = start + _find_sections(header).stop
            if max([end_of_headers, *ends]) > file.seek(0, 2):
                return Fault(CUT_OFF, path, "")
            own = read_machine(header)
            if machine in (None, own) or (machine == "x86-64" and _is_hybrid(file, header)):
                return None
            return Fault(OTHER_MACHINE, path, own)
    except OSError as error:
        # Windows denies access to a folder that is opened as a file.
        reason = NO_DLL if os.path.isdir(path) else UNREADABLE
        return Fault(reason, path, type(error).__name__)


def read_machine(header):
    """Return the processor that a PE file is for; `header` begins with its signature."""
    number = _number(header, 4, 2)
    return next((name for name in MACHINES if MACHINES[name] == number), hex(number))


def _find_sections(header):
    """Return the places of the rows of the section table."""
    first, count = 24 + _number(header, 20, 2), _number(header, 6, 2)
    return range(first, first + 40 * count, 40)


def _read_sections(header):
    return [
        Section(_number(header, row + 12), _number(header, row + 20), _number(header, row + 16))
        for row in _find_sections(header)
    ]


def _is_hybrid(file, header):
    """Return whether a file for ARM64 is ARM64X: Windows loads it into x86-64 processes as well.

    Its load configuration (directory 10) then points to CHPE metadata.
    """
    if read_machine(header) != "arm64":
        return False
    address = _number(header, 24 + 112 + 10 * 8)
    for section in _read_sections(header):
        if address and section.address <= address < section.address + section.size:
            file.seek(section.offset + address - section.address)
            configuration = file.read(208)
            return _number(configuration, 0) >= 208 and _number(configuration, 200, 8) != 0
    return False


def _number(content, offset, size=4):
    return int.from_bytes(content[offset : offset + size], "little")


def _find_other_version(name, names):
    """Return a file of `names` that differs from `name` only by its number, or None."""
    stem = name.lower().rpartition("_")[0]
    others = [other for other in names if stem and other.rpartition("_")[0] == stem]
    return names[min(others)] if others else None


def _load_order(path):
    name = os.path.basename(path).lower()
    ranks = [rank for rank, start in enumerate(LOAD_FIRST) if name.startswith(start)]
    return (min(ranks, default=len(LOAD_FIRST)), name)


def _newest_first(names, prefix, major):
    """Return those of `names` that are `prefix` and a version of that major, the newest first."""
    versions = {}
    for name in names:
        parts = name[len(prefix) :].replace("_", ".").split(".")
        if name.lower().startswith(prefix.lower()) and all(part.isdecimal() for part in parts):
            versions[name] = tuple(map(int, parts))
    fitting = [name for name in versions if major is None or versions[name][0] == major]
    return sorted(fitting, key=versions.get, reverse=True)


def is_absolute(directory):
    r"""Return whether a directory means the same everywhere: C:\x or \\server\share, not C:x."""
    drive, rest = os.path.splitdrive(directory)
    return drive[:2] in ("\\\\", "//") or (bool(drive) and rest[:1] in ("\\", "/"))


def is_frozen():
    """Return whether this is a program made by PyInstaller, cx_Freeze, Nuitka or the like."""
    return bool(getattr(sys, "frozen", False)) or "__compiled__" in globals()


def system_folder():
    """Return the folder of Windows' own DLLs."""
    return os.path.join(os.environ.get("SYSTEMROOT") or "C:\\Windows", "System32")


def list_import_folders():
    """Return the absolute directories of sys.path."""
    entries = [entry for entry in sys.path if isinstance(entry, str) and entry]
    return [folder for folder in map(os.path.normpath, entries) if is_absolute(folder)]


def _prefixes(*names):
    """Return the folders of the Python that runs, and of the one it was made from."""
    prefixes = [getattr(sys, name, None) for name in names]
    return list(dict.fromkeys(str(prefix) for prefix in prefixes if prefix))


def _split_variable(name):
    """Return the directories in an environment variable; a `;` in quotes separates nothing."""
    parts = os.environ.get(name, "").split('"')
    parts[::2] = [part.replace(";", "\0") for part in parts[::2]]
    entries = [entry.strip() for entry in "".join(parts).split("\0")]
    return [os.path.normpath(os.path.expandvars(entry)) for entry in entries if entry]


def _follow_links(directory):
    try:
        return os.path.realpath(directory)
    except (OSError, ValueError):  # on a drive that has not heard of links
        return directory


def _key(directory):
    return os.path.normcase(os.path.normpath(directory)).rstrip("\\")


def _list_directory(directory):
    if not is_absolute(directory):
        return Listing({}, NOT_ABSOLUTE)
    try:
        return Listing({name.lower(): name for name in os.listdir(directory)}, None)
    except FileNotFoundError:
        return Listing({}, ABSENT)
    except (OSError, ValueError):
        return Listing({}, UNREADABLE)


# What is changed in the process, and put back


def _put_on_path(directories):
    """Put directories at the front of PATH, where there is room for them."""
    keys = {_key(directory) for directory in directories}
    entries = os.environ.get("PATH", "").split(";")
    rest = [entry for entry in entries if _key(entry.strip(' "')) not in keys]
    text = ";".join(directories + rest)
    if directories and len(text) + ROOM_FOR_OPENCV <= LONGEST_PATH:
        _set_path(text)


def _set_path(text):
    try:
        if text is None:
            os.environ.pop("PATH", None)
        else:
            os.environ["PATH"] = text
    except Exception as error:  # it may be full, or somebody else's
        print_step("PATH stays as it is: {}", error)


def _drop_empty_path_entry(before):
    """Take out the empty first entry of PATH, which is the working directory.

    OpenCV's loader puts it there where its configuration names no directory.
    """
    path = os.environ.get("PATH", "")
    if path.startswith(";") and not (before or "").startswith(";"):
        _set_path(path.lstrip(";"))


def _restore(state):
    """Put back what OpenCV's loader changes of `sys` before its native module fails to load."""
    sys.path[:] = state.path
    for name in set(state.modules) | set(sys.modules):
        if str(name).partition(".")[0] == "cv2":
            sys.modules.pop(name, None)
            if name in state.modules:
                sys.modules[name] = state.modules[name]
    if not state.flag and hasattr(sys, "OpenCV_LOADER"):
        del sys.OpenCV_LOADER


# How it is used


def loading():
    """Return the context in which cv2/__init__.py imports its native module."""
    return _loading


def is_run_as_program():
    """Return whether this is `python -m cv2.cuda_dlls` on its way, which imports cv2 first."""
    if (getattr(sys, "argv", None) or [""])[0] != "-m":
        return False  # runpy has found its module, or there is none
    import re

    words = getattr(sys, "orig_argv", None) or Windows().read_command_line()
    for number, word in enumerate(words):
        option = re.match("-[bBdEiIOPqsSuvx]*m(.*)", word)  # -m NAME, -mNAME, -Im NAME
        if option:
            return "cv2.cuda_dlls" in (option.group(1), *words[number + 1 : number + 2])
    return False


def main(arguments):
    """Print what was chosen for the import of cv2 that worked; return the exit code.

    Where another distribution was removed, only this module may be left of cv2.
    """
    report, package = load_report(), sys.modules.get("cv2")
    fixed = getattr(package, "cuda_dlls", None)
    attempt = (fixed and fixed.loading().attempt) or Attempt(FOLDER, BUILD)
    causes = []
    # Python imports a folder with whatever is left in it.
    if not getattr(package, "__file__", None):
        causes = [report.name_lost_file("__init__.py", attempt.search)]
    explanation = report.Explanation(attempt, None, causes)
    text = explanation.describe()
    report.print_report(explanation, text, arguments)
    return 1 if text else 0


def print_step(text, *values):
    """Print a step where OPENCV_CUDA_DEBUG asks for it. Never raises."""
    if os.environ.get("OPENCV_CUDA_DEBUG", "").strip() in ("", "0"):
        return
    try:
        line = "cv2.cuda_dlls: " + text.format(*values) + "\n"
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
    except Exception:  # no console, or one that cannot write
        return


def load_report():
    """Return the module that explains failures, which lies beside this one."""
    if __package__:
        from . import _cuda_report  # as a statement, so that freezers see it

        return _cuda_report
    import importlib.util

    path = os.path.join(FOLDER, "_cuda_report.py")
    spec = importlib.util.spec_from_file_location("_cuda_report", path)
    module = importlib.util.module_from_spec(spec)
    module.cuda_dlls = sys.modules[__name__]
    spec.loader.exec_module(module)
    return module


BUILD = UNKNOWN_BUILD
if __package__:
    try:
        from ._cuda_build import BUILD
    except ModuleNotFoundError:  # nothing is chosen, and cv2 may import all the same
        print_step("there is no _cuda_build.py")
    except (ImportError, SyntaxError, ValueError) as error:
        file = os.path.join(FOLDER, "_cuda_build.py")
        text = "import of cv2 failed: {} is damaged ({}). To fix it: install cv2 again"
        raise ImportError(text.format(file, error), name="cv2._cuda_build", path=file) from error

# Kept when the module is reloaded: handles count as long as they are kept.
_loading = globals().get("_loading") or Loading(FOLDER, BUILD)

if __name__ == "__main__" and __package__:
    sys.exit(main(sys.argv[1:]))
elif __name__ == "__main__":
    # Run by its path: Python put the folder of cv2 in front, whose `typing` is not Python's.
    sys.path[:] = [entry for entry in sys.path if entry != FOLDER] + [os.path.dirname(FOLDER)]
    import runpy

    sys.argv[0] = "-m"
    sys.orig_argv = [sys.executable, "-m", "cv2.cuda_dlls"]
    runpy.run_module("cv2.cuda_dlls", run_name="__main__", alter_sys=True)

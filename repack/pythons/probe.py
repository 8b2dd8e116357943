"""Runs inside a Windows Python: what `repack smoke` tries there, and what `repack doctor` asks.

Standard library only, Python 3.6 to 3.14. The job in argv[1] (JSON) names the task. Each step is
announced before it is taken, so that after a crash or a hang the last line tells where; each result
is a marked line of ASCII.
"""

import faulthandler
import importlib.util
import json
import os
import runpy
import site
import sys
import sysconfig
import traceback
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

MARK = "@repack "
#: What cv2's loaders import of NumPy before anything else.
NUMPY = ("numpy", "numpy.core", "numpy.core.multiarray")


def say(**facts):
    """Print facts as one marked line, at once."""
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def describe_error(error):
    """Return an exception as Python's last line of a traceback would begin, "" for None."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # NumPy's errors begin with a page of advice.
    telling = [line for line in lines if line.startswith("Original error was: ")] or lines
    return ": ".join([type(error).__name__, *telling[:1]]) if error else ""


# The smoke test: nothing of the machine but what the job names (-I, -S)


def run_pip(job):
    """Run pip with the job's arguments, as `python -m pip` would."""
    say(step="pip")
    package, *sys.argv[1:] = job["arguments"]
    sys.path.insert(0, package)
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def import_tested(job):
    """Return cv2 of the folder under test."""
    if job["driver"]:
        # Where System32 would give the driver's own DLLs.
        os.environ["PATH"] = job["driver"] + os.pathsep + os.environ.get("PATH", "")
        if hasattr(os, "add_dll_directory"):
            os.add_dll_directory(job["driver"])
    sys.path.insert(0, job["packages"])
    # A package's .pth files run at the start of every Python that has it.
    site.addsitedir(job["packages"])
    return import_cv2(job)


def use(job):
    """Take the steps of a user who has no GPU."""
    cv2 = import_tested(job)
    import numpy as np

    say(step="cv2.__version__")
    check(cv2.__version__, "it is empty")
    place, ours = map(os.path.normcase, (cv2.__file__, job["packages"]))
    check(place.startswith(ours), "another cv2 answered: " + place)

    say(step="cv2.resize")
    image = np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3)
    small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_NEAREST)
    check((small == image[::2, ::2]).all(), "it gave other pixels")

    say(step="encoding and decoding a PNG")
    encoded, data = cv2.imencode(".png", image)
    check(encoded, "imencode gave nothing")
    check((cv2.imdecode(data, cv2.IMREAD_COLOR) == image).all(), "the PNG has other pixels")

    say(step="cv2.getBuildInformation")
    check("OpenCV" in cv2.getBuildInformation(), "it does not name OpenCV")

    say(step="a second import cv2")
    import cv2 as again

    check(again is cv2, "it gave another module")


def ask_for_devices(job):
    """Ask how many GPUs there are; any number will do, and an error that cv2 itself raises."""
    cv2 = import_tested(job)
    say(step="cv2.cuda.getCudaEnabledDeviceCount")
    try:
        say(devices=str(cv2.cuda.getCudaEnabledDeviceCount()))
    except AttributeError:
        say(devices="no cv2.cuda")
    except cv2.error as error:
        say(devices=describe_error(error))


def check(held, otherwise):
    """Raise where something did not hold."""
    if not held:
        raise ValueError(otherwise)


# What doctor asks: only the task "import" imports cv2


class Loaded(BaseException):
    """Ends an import where Windows has loaded the native module; no handler of errors takes it."""


def describe(job):
    """Say what this Python is, and where it would import cv2 from."""
    spec = importlib.util.find_spec("cv2")
    say(
        version="{}.{}.{}".format(*sys.version_info[:3]),
        implementation=sys.implementation.name,
        platform=sysconfig.get_platform(),
        threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        executable=sys.executable or "",
        path=[os.path.abspath(entry) for entry in sys.path],
        origin=(spec and spec.origin) or "",
        folders=list((spec and spec.submodule_search_locations) or ()),
    )


def look(job):
    """Say what this Python is, and what comes of `import cv2` as it is."""
    describe(job)
    cuda_dlls = load_module(job["module"])
    windows = cuda_dlls.Windows()
    say(python=cuda_dlls.load_report().describe_python(windows))
    say(numpy="", numpy_error="", failure="", native="", place=None)
    import_numpy()
    say(step="import cv2")
    error = import_up_to_native(cuda_dlls)
    # A fixed cv2 has explained it already.
    error = getattr(error, "__cause__", None) or error
    place = [error.name, error.path] if isinstance(error, ImportError) else None
    say(failure=describe_error(error), place=place)


def load_module(path):
    """Return the run-time module, which knows no cv2 but the one that it will be told of."""
    spec = importlib.util.spec_from_file_location("cuda_dlls", path)
    module = sys.modules["cuda_dlls"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_numpy():
    """Say which NumPy there is; something stands in for one that fails."""
    say(step="import numpy")
    try:
        import numpy

        say(numpy=numpy.__version__, numpy_error="")
    except Exception as error:
        sys.modules.update({name: ModuleType(name) for name in NUMPY})
        say(numpy="", numpy_error=describe_error(error))


def import_up_to_native(cuda_dlls):
    """Return the error that ends the import, None where Windows loads the native module.

    cv2's own loader runs; in place of the native module, which is said, Windows loads its file.
    """
    create_module = ExtensionFileLoader.create_module

    def load_file(loader, spec):
        if spec.name.rpartition(".")[2] != "cv2":
            return create_module(loader, spec)
        say(native=spec.origin, place=["cv2", spec.origin])
        attempt = cuda_dlls.Attempt(os.path.dirname(spec.origin), {})
        # Where a DLL is found nowhere, nothing large has to be loaded to know that.
        is_missing = cuda_dlls.load_report().Walk(spec.origin, attempt).missing
        number = cuda_dlls.ERROR_MOD_NOT_FOUND
        if not is_missing:
            number = attempt.windows.load(spec.origin).number
        if number == 0:
            raise Loaded
        text = "DLL load failed while importing cv2: error {}".format(number)
        raise ImportError(text, name="cv2", path=spec.origin)

    ExtensionFileLoader.create_module = load_file
    try:
        import cv2  # noqa: F401 - its loader alone runs
    except Loaded:
        return None
    except Exception as error:
        return error
    return ImportError("cv2/__init__.py imports no native module")


def explain(job):
    """Say what a fixed cv2 does, in the words of the report that wheels carry."""
    cuda_dlls = load_module(job["module"])
    report = cuda_dlls.load_report()
    nothing = {name: [] for name in ("clauses", "cures", "details", "chosen", "lines")}
    say(build=dict(cuda_dlls.UNKNOWN_BUILD, **job["build"]), imports=False, **nothing)
    attempt = cuda_dlls.Attempt(job["folder"], job["build"])
    say(step="loading the DLLs that a fixed cv2 chooses")
    # Its version is all that is asked of it.
    numpy = sys.modules["numpy"] = ModuleType("numpy")
    numpy.__version__ = job["numpy"]
    attempt.prepare()
    error, causes = None, []
    if job["place"]:
        error = ImportError(job["failure"], name=job["place"][0], path=job["place"][1])
        attempt.is_recursion = "recursion is detected" in job["failure"]
        causes = report.find_causes(error, attempt)
    works = not job["failure"] or (job["native"] and not causes)  # Windows loads it with these
    causes += report.find_numpy_causes(attempt.search.build)
    explanation = report.Explanation(attempt, None if works else error, causes)
    clauses, cures = explanation.describe_causes(), explanation.find_cures()
    if job["numpy_error"]:
        needed = attempt.search.build["numpy"] or "numpy"
        clauses.append("NumPy fails: " + job["numpy_error"])
        cures.append('python -m pip install --force-reinstall "{}"'.format(needed))
    details = [line for line in explanation.describe_details() if "cv2.cuda_dlls" not in line]
    say(clauses=clauses, cures=cures, details=details, imports=bool(works))
    for name in report.SYSTEM:
        say(step="load " + name)
        attempt.windows.load(name)
    facts = report.collect_facts(explanation, "" if works else job["failure"])
    say(lines=report.describe_machine(facts), **facts)


def import_cv2(job):
    """Return cv2, imported as a user does it, and say its version."""
    say(step="import cv2")
    import cv2

    say(opencv=getattr(cv2, "__version__", ""))
    return cv2


TASKS = {
    "pip": run_pip,
    "use": use,
    "devices": ask_for_devices,
    "describe": describe,
    "look": look,
    "explain": explain,
    "import": import_cv2,
}


def main(job):
    """Do the job; the last line of all says that it was done, or what went wrong."""
    # Python puts the folder of its program in front; nobody's cv2 is to be looked for in it.
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != own]
    # Says where a crash is.
    faulthandler.enable()
    try:
        TASKS[job["task"]](job)
    except Exception as error:
        traceback.print_exc()
        say(error=describe_error(error))
        return 1
    say(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))

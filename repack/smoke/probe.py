"""Runs inside the Windows Python under test: its pip, or what a user of cv2 does.

Standard library only, Python 3.7 to 3.14, started with -I and -S: nothing of the machine but what
the job in argv[1] (JSON) names. Each step is announced before it is taken, so that after a crash
or a hang the last line tells where; each result is a line of its own.
"""

import faulthandler
import json
import os
import runpy
import sys
import traceback

MARK = "@repack "


def say(**facts):
    """Print facts as one marked line of ASCII, at once."""
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def in_one_line(error):
    """Return an exception as Python's last line of a traceback would begin."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])


def run_pip(job):
    """Run pip with the job's arguments, as `python -m pip` would."""
    say(step="pip")
    package, *sys.argv[1:] = job["arguments"]
    sys.path.insert(0, package)
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def first_import(job):
    """Return cv2, from the folder under test."""
    # A package's .pth files run at the start of every Python that has it.
    import site

    sys.path.insert(0, job["packages"])
    site.addsitedir(job["packages"])
    say(step="import cv2")
    import cv2

    say(opencv=getattr(cv2, "__version__", ""))
    return cv2


def use(job):
    """Take the steps of a user who has no GPU."""
    cv2 = first_import(job)
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
    cv2 = first_import(job)
    say(step="cv2.cuda.getCudaEnabledDeviceCount")
    try:
        say(devices=str(cv2.cuda.getCudaEnabledDeviceCount()))
    except AttributeError:
        say(devices="no cv2.cuda")
    except cv2.error as error:
        say(devices=in_one_line(error))


def check(held, otherwise):
    """Raise where something did not hold."""
    if not held:
        raise ValueError(otherwise)


TASKS = {"pip": run_pip, "use": use, "devices": ask_for_devices}


def main(text):
    """Do the job; the last line of all says that it was done, or what went wrong."""
    job = json.loads(text)
    # Says where a crash is.
    faulthandler.enable()
    # Wine takes TEMP and TMP from its registry, whatever the environment says.
    os.environ["TEMP"] = os.environ["TMP"] = job["temporary"]
    if job["driver"]:
        # Where System32 would give the driver's own DLLs.
        os.environ["PATH"] = job["driver"] + os.pathsep + os.environ.get("PATH", "")
        if hasattr(os, "add_dll_directory"):
            os.add_dll_directory(job["driver"])
    try:
        TASKS[job["task"]](job)
    except Exception as error:
        traceback.print_exc()
        say(error=in_one_line(error))
        return 1
    say(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

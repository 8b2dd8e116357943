"""Runs inside the Windows Python under test: does what a user of cv2 does, step after step.

Standard library, and Python 3.7 to 3.14. Each step is announced before it is taken, so that after
a crash or a hang the last line tells where; the last line of all is the result. Arguments: a
directory of stand-ins for the driver's DLLs, or "".
"""

import json
import os
import sys
import traceback

MARK = "@repack "


def say(**facts):
    """Print facts as one marked line, at once."""
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def register_driver(directory):
    """Let stand-ins be found where System32 would give the driver's own DLLs."""
    os.environ["PATH"] = directory + os.pathsep + os.environ.get("PATH", "")
    if hasattr(os, "add_dll_directory"):
        os.add_dll_directory(directory)


def main(driver):
    """Take the steps; return the facts that were found."""
    if driver:
        register_driver(driver)
    say(step="import numpy")
    import numpy as np

    say(step="import cv2")
    import cv2

    facts = {"opencv": cv2.__version__, "numpy": np.__version__, "file": cv2.__file__}
    say(step="cv2.resize")
    image = np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3)
    assert cv2.resize(image, (32, 24)).shape == (24, 32, 3), "resize gave another shape"
    say(step="encode and decode a PNG")
    encoded, data = cv2.imencode(".png", image)
    assert encoded, "imencode failed"
    assert (cv2.imdecode(data, cv2.IMREAD_COLOR) == image).all(), "the PNG has other pixels"
    say(step="cv2.getBuildInformation")
    assert "OpenCV" in cv2.getBuildInformation(), "the build information does not name OpenCV"
    say(step="cv2.cuda.getCudaEnabledDeviceCount")
    try:
        facts["cuda_devices"] = cv2.cuda.getCudaEnabledDeviceCount()
    except (AttributeError, cv2.error) as error:
        facts["cuda_devices"] = "%s: %s" % (type(error).__name__, str(error).strip())
    say(step="a second import cv2")
    import cv2 as again

    assert again is cv2, "the second import gave another module"
    return facts


if __name__ == "__main__":
    try:
        found = main(sys.argv[1])
    except BaseException as error:
        traceback.print_exc()
        text = " ".join(str(error).split())
        say(error="%s: %s" % (type(error).__name__, text) if text else type(error).__name__)
        sys.exit(1)
    say(done=found)

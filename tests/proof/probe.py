"""Runs inside the Windows Python under test: a user's program, and says how it ended.

Standard library only, Python 3.7 to 3.14. The job in argv[1] is JSON; each fact is a marked line
of ASCII, so that a crash or a hang leaves all that was said before it.
"""

import faulthandler
import json
import os
import sys
import traceback

MARK = "@proof "
JOB = json.loads(sys.argv[1])


def say(**facts):
    """Print facts as one marked line, at once."""
    sys.stdout.write(MARK + json.dumps(facts) + "\n")
    sys.stdout.flush()


def run(program):
    """Run the program as Python runs a script; return its exit code."""
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        if error.code not in (None, 0):
            say(raised={"type": "SystemExit", "message": str(error.code)})
            return 1
    except BaseException as error:
        traceback.print_exc()
        say(raised={"type": type(error).__name__, "message": str(error)})
        return 1
    return 0


def main():
    """Do the job."""
    # Says where a crash is; ends a hang, also of native code, and says where that is.
    faulthandler.enable()
    faulthandler.dump_traceback_later(JOB["limit"], exit=True)
    # As for a program that is typed in: the working directory, by an empty name.
    sys.path[0] = ""
    # Wine takes them from its registry, whatever the environment says.
    os.environ.update(JOB["env"])
    del sys.argv[1:]
    code = run(JOB["program"])
    say(ended=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

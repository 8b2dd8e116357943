"""The one mark of tests for which Windows has nothing that they could try.

What stands under it is there on POSIX systems alone: limits on the size of files, named pipes, an
S3 server that keeps a bucket as a folder. The product's own work is tried on every system.
"""

import sys

import pytest

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX alone has it")

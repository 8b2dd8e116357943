"""`python -m repack` is `repack`."""

import sys

from repack.cli import main

sys.exit(main())

"""SOURCE_DATE_EPOCH: the time that the environment asks for in place of the present."""

from __future__ import annotations

import os
import re

from repack.errors import ConfigError, shown

#: The last second that a ZIP archive can tell.
_LAST_SECOND = 4_354_819_198


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LAST_SECOND:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {shown(text)}, not the seconds from 1970 to a time before 2108",
            code="source-date-epoch",
            hint="unset it, or set it to the output of `git log -1 --format=%ct`",
        )
    return int(text)

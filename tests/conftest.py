"""Which tests run side by side: one process for all that run Windows programs, others for the rest.

Wine's sessions are shared by whatever runs at the same time, and some tests look at how they begin
and end. These tests take longest, so they come first.
"""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C be what it is: whatever a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a fixture: the files, and those of all that run Wine."""
    for item in items:
        wine = item.get_closest_marker("wine") is not None
        item.add_marker(pytest.mark.xdist_group("wine" if wine else item.path.name))
    items.sort(key=lambda item: item.get_closest_marker("wine") is None)

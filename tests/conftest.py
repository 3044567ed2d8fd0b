"""Fixtures that several tests share."""

from collections.abc import Iterator

import pytest
from browser import Browser, find_chromium
from hostile import Listener


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    """A web server that nobody should ask for anything."""
    server = Listener()
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; the test is skipped where there is none."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium is installed: the reports were not shown in a browser")
    with Browser(chromium) as started:
        yield started

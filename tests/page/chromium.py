"""The browser of the tests: one that the machine has, started as a person's would be.

python -m tests.page.chromium    # prints its path, or says how to get one and exits with 1
"""

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
LAN_HOST = "worker.lan"
"""Another name of 127.0.0.1: a page from there is no secure context, as on a local network."""

HOW_TO_GET_ONE = (
    f"no browser for the tests of the page: none of {', '.join(NAMES)} is on the PATH. Install one "
    "(Debian: apt-get install chromium; others: Google Chrome), or name its program in BROWSER"
)


class NoBrowser(Exception):
    """There is none; the message says how to get one."""


def find_chromium() -> str:
    """Return the path of Chromium or Chrome; the variable BROWSER names another program.

    Raises:
        NoBrowser: there is none.
    """
    named = os.environ.get("BROWSER")
    if named:
        found = shutil.which(named)
        if found is None:
            raise NoBrowser(f"BROWSER is {named!r}, and there is no such program")
        return found
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoBrowser(HOW_TO_GET_ONE)
    return found


def flags(microphone: Path) -> list[str]:
    """Return the flags it is started with.

    Args:
        microphone: the WAV file that its microphone hears, again and again.
    """
    return [
        # What people have: no sound before a page has been touched.
        "--autoplay-policy=document-user-activation-required",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        # Nothing leaves the machine.
        f"--host-resolver-rules=MAP {LAN_HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]


if __name__ == "__main__":
    try:
        print(find_chromium())  # noqa: T201
    except NoBrowser as error:
        sys.exit(str(error))

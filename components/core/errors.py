"""The one error that is the user's to mend."""

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")  # NAME:PASSWORD@ of a URI


class InputError(Exception):
    """Something a user gave is wrong: a file, a row, a configuration.

    The message says what is wrong, in which file and row, what was expected and what to do.
    Stages and the command line print it without a traceback and end with exit status 2. What stands before
    the host of a URI is left out of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_CREDENTIALS.sub("", message))


def holds_credentials(text: str) -> bool:
    """Whether a text is a URI with a user name or a password in it."""
    return _CREDENTIALS.search(text) is not None

"""The one error that is the user's to mend."""


class InputError(Exception):
    """Something a user gave is wrong: a file, a row, a configuration.

    The message says what is wrong, in which file and row, what was expected and what to do.
    Stages and the command line print it without a traceback and end with exit status 2.
    """

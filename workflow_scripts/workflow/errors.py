"""The exception for mistakes of the user, shown as one sentence without a traceback."""


class InputError(Exception):
    """A file or setting of the user cannot be used.

    The message is one sentence: the file or key, what was found, what was expected, what to change.
    """

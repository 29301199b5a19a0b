"""The one exception that a user sees as a sentence."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence: which file or key, what was found, what was expected, what to change.
    """

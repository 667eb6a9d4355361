"""Errors that the user can fix, as opposed to bugs."""


class StageError(Exception):
    """A mistake in the input of a command.

    The message names the file or the key, what was expected and what to do. The shell prints it without a traceback and
    exits with `code`.
    """

    code = 1


class ParamsError(StageError):
    """A mistake in params.yaml."""

    code = 2

"""What a stage raises when the user, and not the programmer, has to do something."""


class StageError(Exception):
    """A mistake in what a stage was given.

    The message names the file or the key, what was expected and what to do. The shell prints it as it is, without a
    traceback, and exits with `code`.
    """

    code = 1


class ParamsError(StageError):
    """A mistake in params.yaml."""

    code = 2

"""Answers of the server that are no result."""

from stages.errors import StageError


class RefusedError(StageError):
    """A request without a result: an HTTP status, a reason that the page has words for, and a sentence in English."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.reason = status, reason

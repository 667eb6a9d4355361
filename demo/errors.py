"""Answers of the server that are no result."""

from stages.errors import StageError

SHOWN = 200
"""The status of an answer that the page shows to its visitor: browsers report any other as an error of the page."""


class RefusedError(StageError):
    """A request without a result: the HTTP status, a reason that the page has words for, and a sentence."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.reason = status, reason

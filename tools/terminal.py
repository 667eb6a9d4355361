"""Text that is safe to print on a terminal, whatever a file or a Git history holds."""

import json


def to_json(value: object) -> str:
    """JSON in one line, with escapes for characters that a terminal does not print."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if text.isprintable() else json.dumps(value, sort_keys=True)


def one_line(value: object) -> str:
    """A value in one line: printable text unchanged, anything else as JSON. None is a dash, as in DVC's tables."""
    if value is None:
        return "–"
    return value if isinstance(value, str) and value and value.isprintable() else to_json(value)

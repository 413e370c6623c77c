"""Text from a peer in logs and errors."""

from broadwing.core.quoting import quoted, unquoted


def test_honest_text_is_shown_as_it_is() -> None:
    assert quoted("2.0.0") == '"2.0.0"'
    assert unquoted("http://evil.test") == "http://evil.test"


def test_line_ends_and_terminal_escapes_are_shown_as_escapes() -> None:
    # CWE-117: a header must not be able to write a log line of its own.
    assert unquoted('a\r\nERROR "b"\x1b[2J\u2028\u202e') == r"a\r\nERROR \"b\"\u001b[2J\u2028\u202e"


def test_long_text_is_cut() -> None:
    assert quoted("x" * 201) == '"' + "x" * 200 + '..."'
    assert quoted("x" * 200) == '"' + "x" * 200 + '"'
    assert unquoted("xyz", 2) == "xy..."

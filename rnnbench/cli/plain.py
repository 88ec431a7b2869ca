"""Text that comes from suites, plugins and files, made fit for a terminal."""


def plain(text: object) -> str:
    """On one line, and what a terminal would obey (escape codes, marks of direction) shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))

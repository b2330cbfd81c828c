"""Words of others in Markdown."""

import html


def plain(text: str) -> str:
    """A name on one line, in which neither HTML nor a table's bars mean anything."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")

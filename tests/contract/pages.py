"""What the tests of Markdown find in a text: its local links, and the anchors of its headings."""

import re


def plain(text):
    """A text in Markdown without its code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def links(text):
    """The local links and pictures of a text, as (file, anchor), each "" when there is none."""
    found = re.findall(r"\]\(([^)\s]+)\)", plain(text))
    return [
        (file, anchor)
        for file, _, anchor in (link.partition("#") for link in found)
        if not re.match(r"https?:|mailto:", file)
    ]


def anchor(heading):
    """The anchor that GitHub gives a heading."""
    said = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", said).replace(" ", "-")


def anchors(text):
    """The anchors that GitHub gives the headings of a text."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}

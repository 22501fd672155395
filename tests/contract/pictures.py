"""What is read off a picture."""


def labels(texts):
    """The texts of an axis or a legend, in their order."""
    return [text.get_text() for text in texts]

"""What pip does not install with sheaflib: one clear error where it is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Import optional packages inside: where one is missing, ModuleNotFoundError names the extra.

    >>> with needs("this example", "plots"):
    ...     import no_such_package
    Traceback (most recent call last):
    ModuleNotFoundError: this example needs no_such_package: pip install "sheaflib[plots]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        line = f'{what} needs {package}: pip install "sheaflib[{extra}]"'
        raise ModuleNotFoundError(line, name=error.name) from None

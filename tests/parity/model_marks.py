"""How the models of a library are marked as read or refused, for test_readers.py."""

from typing import NamedTuple


class Case(NamedTuple):
    """How to make a model, its output map, and, of one that is refused, words of the message."""

    make: object
    output: str = "identity"
    says: tuple = ()


def marks():
    """Cases that are read and that are refused, by name, and the decorators that fill them."""
    cases_read, cases_refused = {}, {}

    def read(output="identity"):
        def keep(make):
            cases_read[make.__name__] = Case(make, output)
            return make

        return keep

    def refused(*says):
        def keep(make):
            cases_refused[make.__name__] = Case(make, says=says)
            return make

        return keep

    return cases_read, cases_refused, read, refused

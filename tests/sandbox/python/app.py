"""A handler that raises what its input names."""

import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import handler
from wit_world.imports import types


class OutOfStock(Exception):
    pass


def look(row):
    raise KeyError(row)


class Handler(exports.Handler):
    def handle(self, job, input):
        act, _, text = input.decode().partition(" ")
        if act == "value":
            raise ValueError(f"no such row {text}")
        if act == "key":
            look(text)
        if act == "chained":
            try:
                look(text)
            except KeyError as error:
                raise OutOfStock(f"no {text} left\nask again tomorrow") from error
        if act == "fail":
            raise Err(types.Failure(types.ErrorClass.BUSINESS, "out-of-stock", f"no {text} left", None))
        if act == "recurse":
            return self.handle(job, input)
        if act == "grow":
            held = []
            while True:
                held.append(bytes(1 << 20))
        if act == "exit":
            sys.exit(3)
        if act == "noted":
            error = ValueError("no such row")
            error.add_note("look at the ledger")
            raise error
        if act == "group":
            raise ExceptionGroup("two rows", [ValueError("one"), KeyError("two")])
        print(f"done with {text}")
        return handler.Outcome_Succeeded(text.encode())

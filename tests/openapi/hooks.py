"""What schemathesis has to be told about this API beyond its description."""

import itertools
import json
import os
import pathlib
import re

import schemathesis
from hypothesis import strategies as st

# The description names the media type, and no schema says what a line or a component is.
LINES = [b'{"plugin": "echo"}\n', b'{"plugin": "echo", "priority": 3, "tags": ["a", "b"]}', b'\n{"plugin": "echo", "at": "1h"}\n']
schemathesis.openapi.media_type("application/x-ndjson", st.sampled_from(LINES))
COMPONENT = pathlib.Path(os.environ["BACKROOM_COMPONENT"]).read_bytes()
schemathesis.openapi.media_type("application/wasm", st.just(COMPONENT))

# A request that the schemas allow may still be refused: for what two fields say together, for a rule that has a grammar of its
# own, for bytes that are counted and not characters, and for a name of something that is not there. All else is a gap in the schemas.
BEYOND_SCHEMAS = [
    r"must be later than",
    r"has passed",
    r"would have expired already",
    r"there is no queue",
    r"there is no attempt",
    r"there is no job",
    r"jobs have an id that ends in",
    r"it is the cursor of a page in the other order",
    r"give at least one right",
    r"reaches farther than `read`",
    r"field `rights`: .* is given twice",
    r"field `on_complete`: there is no plug-in",
    r"field `until` belongs to postpone",
    r"to postpone, field `until` is needed",
    r"field `now` belongs to resume",
    r"the filter is empty",
    r"give a filter or .* not both",
    r"`key_space` goes with",
]
BAD_FIELD = "BR0102"


@schemathesis.check
def refused_for_what_no_schema_says(ctx, response, case):
    """Of requests that the schemas allow, only those are refused for a field that no schema can rule out."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    problem = json.loads(response.content)
    if problem["code"] == BAD_FIELD and not any(re.search(known, problem["detail"]) for known in BEYOND_SCHEMAS):
        raise AssertionError(f"the schemas allow what the host refuses: {problem['detail']}")


# Whoever tries one wrong token after another is slowed down, by his address; so each request comes from one of its own.
ADDRESSES = itertools.cycle(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in range(1, 1 << 18))


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Nobody waits a minute for a job of a test, or for what others have tried."""
    case.headers = {**(case.headers or {}), "X-Forwarded-For": next(ADDRESSES)}
    wait = (case.query or {}).get("wait")
    if isinstance(wait, str) and case.meta is not None and case.meta.generation.mode.is_positive:
        case.query["wait"] = "20ms"

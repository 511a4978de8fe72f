"""How a script of a peer tells how long its work took, without the start of Python and the imports of libraries."""

import contextlib
import json
import time


@contextlib.contextmanager
def timed():
    begin = time.perf_counter()
    yield
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)

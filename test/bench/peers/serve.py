"""How a peer library answers test/bench/peer.ts. One process serves one shape and thread count; it reads from stdin:

    setup ROWS COLUMNS THREADS     answers the peer's kinds, bytes of weights and relative errors against f64
    run KIND COUNT                 answers the seconds of each product
    quit

and answers each with one line of JSON.
"""

import json
import sys


def answer(value):
    print(json.dumps(value), flush=True)


def serve(make_peer):
    """`make_peer(rows, columns, threads)` has kinds, bytes, relative_errors() and run(kind, count)."""
    peer = None
    for line in sys.stdin:
        word, *arguments = line.split()
        if word == "quit":
            return
        if word == "setup":
            peer = make_peer(*(int(argument) for argument in arguments))
            answer({"kinds": list(peer.kinds), "bytes": peer.bytes, "relativeErrors": peer.relative_errors()})
        elif word == "run":
            answer({"seconds": peer.run(arguments[0], int(arguments[1]))})
        else:
            answer({"error": f"unknown command {word}"})

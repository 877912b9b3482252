"""A peer that stays alive: `worker.py PEER WORKLOAD THREADS` makes the first call, then times calls on request.

stdin, a line each: how many seconds to spend. stdout, a line each: first {"version", "first_s"}, then {"times": [seconds
per call]} for each request. End of input ends it.
"""

import importlib
import json
import sys
import time


def timed(call, calls, seconds):
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
    return times


def main():
    peer, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = sys.stdout
    sys.stdout = sys.stderr
    sys.setrecursionlimit(200_000)
    module = importlib.import_module(f"peer_{peer.split('-')[0]}")
    call, calls = module.make(workload, threads, peer.endswith("-compile"))
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    for _ in range(3):
        call()
    print(json.dumps({"version": module.VERSION, "first_s": first}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"times": timed(call, calls, float(line))}), file=answers, flush=True)


if __name__ == "__main__":
    main()

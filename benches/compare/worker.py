"""A peer that stays alive: `worker.py PEER WORKLOAD THREADS [DEVICE]` makes the first call, then times calls on request.

stdin, a line each: how many seconds to spend. stdout, a line each: first {"version", "first_s"}, then {"times": [seconds
per call], "calls"} for each request. End of input ends it.

On a GPU, calls return before they are done: a timing is over when the device is, and takes so many calls that it lasts
5 ms at least.
"""

import importlib
import json
import math
import sys
import time

LEAST = 5e-3


def timed(call, calls, wait, seconds):
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return times


def main():
    peer, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    device = sys.argv[4] if len(sys.argv) > 4 else "cpu"
    answers = sys.stdout
    sys.stdout = sys.stderr
    sys.setrecursionlimit(200_000)
    name, _, mode = peer.partition("-")
    module = importlib.import_module(f"peer_{name}")
    call, calls, wait = module.make(workload, threads, mode, device)
    wait()
    start = time.perf_counter()
    call()
    wait()
    first = time.perf_counter() - start
    for _ in range(3):
        call()
    wait()
    if device != "cpu":
        calls = 1
        while calls < 1 << 20 and (took := min(timed(call, calls, wait, 0)) * calls) < LEAST:
            calls *= max(2, min(100, math.ceil(LEAST / took)))
    print(json.dumps({"version": module.VERSION, "first_s": first}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"times": timed(call, calls, wait, float(line)), "calls": calls}), file=answers, flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Times our bench program and its peers in turn, and prints ratios. See README.md in this folder."""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
WORKLOADS = [
    "tiny_call_overhead",
    "deep_chain_1000",
    "deep_chain_10000",
    "mlp_train_step",
    "gelu_chain_64K",
    "softmax_4096x1024",
    "layernorm_8192x768",
    "stencil_1024",
    "stack_8x1M",
    "mlp_gradient",
    "mlp_hvp",
    "per_example_gradients",
    "jacobian_64",
    "rnn_scan_200",
]
EAGER = [f"eager_{op}_{e}" for op in ("add", "exp", "sum", "softmax", "layer_norm", "gather", "matmul") for e in (6, 12, 18, 24)]
TAPE = ["tape_chain_100", "tape_mlp_step"]
PEERS = ["torch", "torch-compile", "jax"]
TIE = 0.05


class Ours:
    """Our program: a process per round, so that every round also measures a cold first call."""

    name = "tracewright"

    def __init__(self, binary, workload, threads, environment):
        self.command = [binary, "--workload", workload, "--threads", str(threads)]
        self.environment = environment
        self.firsts = []
        self.version = "tracewright"
        self.per_call = None

    def time(self, seconds):
        count = 5 if self.per_call is None else max(5, min(20_000, int(seconds / self.per_call)))
        done = subprocess.run(self.command + ["--rounds", str(count)], env=self.environment, stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            sys.exit(f"{' '.join(self.command)} failed with {done.returncode}")
        answer = json.loads(lines[-1])
        self.firsts.append(answer["first_s"])
        known, self.per_call = self.per_call, statistics.median(answer["times"]) * answer["calls"]
        # The first run only finds out how many calls fill the time.
        return answer["times"] if known is not None else self.time(seconds)

    def stop(self):
        pass


class Peer:
    """A worker process that stays alive between rounds."""

    def __init__(self, name, workload, threads, environment):
        self.name = name
        command = [sys.executable, str(FOLDER / "worker.py"), name, workload, str(threads)]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self.answer()
        self.firsts, self.version = [answer["first_s"]], answer["version"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the worker {self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def time(self, seconds):
        print(seconds, file=self.process.stdin, flush=True)
        return self.answer()["times"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def busy_seconds():
    """CPU seconds that all cores spent at work since boot, by everybody."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def compare(binary, workload, peers, threads, rounds, seconds):
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    makers = {"tracewright": lambda: Ours(binary, workload, threads, environment)}
    for peer in peers:
        makers[peer] = lambda peer=peer: Peer(peer, workload, threads, environment)
    contestants = {name: make() for name, make in makers.items()}
    medians = {name: [] for name in makers}
    firsts = {name: list(c.firsts) for name, c in contestants.items()}
    # Where compiling is what is measured, each round takes fresh peers (but only a few of those that compile for minutes).
    fresh = workload.startswith("deep_chain_")

    for round in range(rounds):
        names = list(makers)
        for name in names[round % len(names) :] + names[: round % len(names)]:
            if fresh and round > 0 and name != "tracewright" and max(firsts[name]) < 20:
                contestants[name].stop()
                contestants[name] = makers[name]()
                firsts[name] += contestants[name].firsts
            medians[name].append(statistics.median(contestants[name].time(seconds)))
    firsts["tracewright"] = contestants["tracewright"].firsts
    for contestant in contestants.values():
        contestant.stop()

    result = {"workload": workload, "threads": threads, "rounds": rounds, "contestants": {}}
    for name, values in medians.items():
        call = statistics.median(values)
        first = statistics.median(firsts[name])
        entry = {
            "version": contestants[name].version,
            "call_s": call,
            "round_medians_s": values,
            "first_s": first,
            "compile_s": max(0.0, first - call),
        }
        if name != "tracewright":
            ratios = [ours / theirs for ours, theirs in zip(medians["tracewright"], values)]
            entry["ratio"] = statistics.median(ratios)
            entry["ratio_range"] = [min(ratios), max(ratios)]
        result["contestants"][name] = entry
    return result


def verdict(ratio):
    if ratio < 1 - TIE:
        return "faster"
    return "tie" if ratio <= 1 + TIE else "slower"


def duration(seconds):
    for unit, scale in (("s ", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:8.3f} {unit}"
    return f"{seconds / 1e-9:8.1f} ns"


def report(result):
    print(f"\n{result['workload']}, {result['threads']} threads, {result['rounds']} interleaved rounds")
    for name, entry in result["contestants"].items():
        line = f"  {name:<14} call {duration(entry['call_s'])}   compile {duration(entry['compile_s'])}"
        if "ratio" in entry:
            low, high = entry["ratio_range"]
            line += f"   ours/theirs {entry['ratio']:6.3f} ({low:.3f} to {high:.3f}): {verdict(entry['ratio'])}"
        print(line, flush=True)


def machine():
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(": ", 1)[1] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), model)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=FOLDER, stdout=subprocess.PIPE, text=True).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "commit": commit, "python": platform.python_version()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="our bench program")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="names, or `eager` for the single ops outside of compiled functions, `tape` for the tape, both against torch alone")
    parser.add_argument("--peers", default="torch,jax", help=f"of {PEERS}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="per contestant and round")
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "results" / "compare.json")
    args = parser.parse_args()
    if args.rounds < 7:
        print("fewer than 7 rounds: good for a try, not for a claim", file=sys.stderr)
    # Both sides get the same cores, also those without a setting for their number of threads.
    cores = sorted(os.sched_getaffinity(0))
    if args.threads < len(cores):
        os.sched_setaffinity(0, cores[-args.threads :])

    results = []
    sets = {"eager": EAGER, "tape": TAPE}
    for workload in sets.get(args.workloads) or args.workloads.split(","):
        if workload not in WORKLOADS + EAGER + TAPE:
            sys.exit(f"unknown workload {workload}; known: {', '.join(WORKLOADS)}")
        before = busy_seconds(), os.times(), datetime.datetime.now()
        peers = [peer for peer in args.peers.split(",") if peer]
        result = compare(args.binary, workload, peers, args.threads, args.rounds, args.seconds)
        after = busy_seconds(), os.times(), datetime.datetime.now()
        used = sum(after[1][:4]) - sum(before[1][:4])
        wall = (after[2] - before[2]).total_seconds()
        result["other_load"] = round(max(0.0, after[0] - before[0] - used) / wall, 2)
        report(result)
        if result["other_load"] > 0.2:
            print(f"  other processes kept {result['other_load']} cores busy: repeat on a quiet machine")
        results.append(result)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
    main()

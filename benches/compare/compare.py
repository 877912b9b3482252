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
import tempfile
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
PEERS = ["torch", "torch-compile", "torch-graphs", "torch-captured", "jax"]
TIE = 0.05

# What runs on a GPU: the peers of each workload, and the bytes that it has to move.
STEPS = ["torch-compile", "torch-graphs", "torch-captured", "jax"]
SMALL = ["torch-compile", "torch-graphs", "jax"]
STREAMS = ["torch-compile", "jax"]
MATRIX = 4 << 26
ON_GPU = {
    "tiny_call_overhead": (SMALL, 0),
    "digits_step": (STEPS, 0),
    "mlp_train_step": (STEPS, 0),
    "add_64M": (STREAMS, 2 * MATRIX),
    "gelu_chain_64M": (STREAMS, 2 * MATRIX),
    "softmax_64Kx1024": (STREAMS, 2 * MATRIX),
    "layernorm_64Kx1024": (STREAMS, 2 * MATRIX),
    "sum_64M": (STREAMS, MATRIX),
    "softmax_4096x1024": (SMALL, 2 * 4 << 22),
    "layernorm_8192x768": (SMALL, 2 * 4 * 8192 * 768),
    "gelu_chain_64K": (SMALL, 2 * 4 << 16),
    "stencil_1024": (SMALL, 2 * 4 << 20),
    "stack_8x1M": (SMALL, 2 * 4 << 23),
    "mlp_gradient": (SMALL, 0),
    "mlp_hvp": (SMALL, 0),
    "per_example_gradients": (SMALL, 0),
    "rnn_scan_200": (["jax"], 0),
}
# Whose first call is also measured with what an earlier process has compiled.
WARM = ["mlp_train_step", "digits_step"]
# What a GPU runs by default.
GOALS = [name for name, (peers, size) in ON_GPU.items() if name in WARM or name == "tiny_call_overhead" or size >= MATRIX]
# A copy within the GPU's memory, in the same rounds: what its bandwidth is measured by.
COPY = "torch copy_64M"


class Ours:
    """Our program: a process per round, so that every round also measures a first call."""

    def __init__(self, binary, workload, threads, device, environment):
        self.command = [binary, "--workload", workload, "--threads", str(threads), "--device", device]
        self.environment = environment
        self.firsts = []
        self.version = "tracewright"
        self.per_call = None

    def time(self, seconds):
        count = 5 if self.per_call is None else max(5, min(20_000, int(seconds / self.per_call)))
        done = subprocess.run(self.command + ["--rounds", str(count)], env=self.environment, stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            raise Failed(f"{' '.join(self.command)} failed with {done.returncode}")
        answer = json.loads(lines[-1])
        self.firsts.append(answer["first_s"])
        known, self.per_call = self.per_call, statistics.median(answer["times"]) * answer["calls"]
        # The first run only finds out how many calls fill the time.
        return answer["times"] if known is not None else self.time(seconds)

    def stop(self):
        pass


class Peer:
    """A worker process that stays alive between rounds."""

    def __init__(self, name, workload, threads, device, environment):
        command = [sys.executable, str(FOLDER / "worker.py"), name, workload, str(threads), device]
        self.name = name
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self.answer()
        self.firsts, self.version = [answer["first_s"]], answer["version"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the worker {self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def time(self, seconds):
        print(seconds, file=self.process.stdin, flush=True)
        return self.answer()["times"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Failed(Exception):
    """A contestant that cannot run."""


def caches(folder):
    """Where everybody keeps what is compiled: a folder that is empty to begin with."""
    return {
        "TRACEWRIGHT_CACHE": f"{folder}/tracewright",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        # The driver has a cache as well.
        "CUDA_CACHE_PATH": f"{folder}/driver",
    }


def busy_seconds():
    """CPU seconds that all cores spent at work since boot, by everybody."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def compare(binary, workload, peers, threads, device, rounds, seconds):
    gpu = device != "cpu"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        environment |= caches(folder) if gpu else {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
        makers = {"tracewright": lambda: Ours(binary, workload, threads, device, environment)}
        for peer in peers:
            makers[peer] = lambda peer=peer: Peer(peer, workload, threads, device, environment)
        if gpu and ON_GPU.get(workload, ([], 0))[1] > 0 and any(peer.startswith("torch") for peer in peers):
            makers[COPY] = lambda: Peer("torch", "copy_64M", threads, device, environment)
        return run(workload, makers, threads, device, rounds, seconds)


def run(workload, makers, threads, device, rounds, seconds):
    gpu = device != "cpu"
    medians = {name: [] for name in makers}
    contestants, firsts, cold = {}, {}, {}
    for name in list(makers):
        try:
            contestants[name] = makers[name]()
            if gpu and name == "tracewright":
                # Two processes: the second finds what the first has compiled.
                contestants[name].time(0)
                cold[name], contestants[name].firsts = contestants[name].firsts[0], contestants[name].firsts[1:]
            elif gpu and workload in WARM:
                cold[name] = contestants[name].firsts[0]
                contestants[name].stop()
                contestants[name] = makers[name]()
            firsts[name] = list(contestants[name].firsts)
        except Failed as error:
            if not gpu or name == "tracewright":
                raise
            print(f"left out of {workload}: {error}", file=sys.stderr)
            del makers[name], medians[name]
            contestants.pop(name, None)
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

    result = {"workload": workload, "device": device, "threads": threads, "rounds": rounds, "contestants": {}}
    moved = ON_GPU.get(workload, ([], 0))[1] if gpu else 0
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
        if name in cold:
            entry["cold_first_s"] = cold[name]
        if moved:
            entry["bytes_per_s"] = (2 * MATRIX if name == COPY else moved) / call
        if name not in ("tracewright", COPY):
            ratios = [ours / theirs for ours, theirs in zip(medians["tracewright"], values)]
            entry["ratio"] = statistics.median(ratios)
            entry["ratio_range"] = [min(ratios), max(ratios)]
        result["contestants"][name] = entry
    if COPY in result["contestants"]:
        ceiling = result["contestants"][COPY]["bytes_per_s"]
        for entry in result["contestants"].values():
            entry["of_copy"] = entry["bytes_per_s"] / ceiling
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
    where = f"{result['threads']} threads" if result["device"] == "cpu" else result["device"]
    print(f"\n{result['workload']}, {where}, {result['rounds']} interleaved rounds")
    for name, entry in result["contestants"].items():
        line = f"  {name:<14} call {duration(entry['call_s'])}"
        if "cold_first_s" in entry:
            line += f"   first call {duration(entry['cold_first_s'])} cold, {duration(entry['first_s'])} warm"
        elif name != COPY:
            line += f"   compile {duration(entry['compile_s'])}"
        if "bytes_per_s" in entry:
            line += f"   {entry['bytes_per_s'] / 1e9:7.0f} GB/s"
        if "of_copy" in entry and name != COPY:
            line += f", {entry['of_copy']:.0%} of a copy"
        if "ratio" in entry:
            low, high = entry["ratio_range"]
            line += f"   ours/theirs {entry['ratio']:6.3f} ({low:.3f} to {high:.3f}): {verdict(entry['ratio'])}"
        print(line, flush=True)


def gpu():
    """The GPU and its driver, as they say themselves."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()
    except OSError:
        return []


def machine(commit):
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(": ", 1)[1] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), model)
    if commit is None:
        git = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(git, cwd=FOLDER, stdout=subprocess.PIPE, text=True).stdout.strip()
    date = datetime.date.today().isoformat()
    about = {"cpu": model, "cores": os.cpu_count(), "gpus": gpu(), "commit": commit, "python": platform.python_version()}
    return about | {"date": date, "command": " ".join(sys.argv)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", help="our bench program")
    parser.add_argument("--workloads", help="names, or `all`, or `eager` for the single ops outside of compiled functions, `tape` for the tape, both against torch alone")
    parser.add_argument("--peers", help=f"of {PEERS}; torch,jax, or on a GPU those that a workload is good for")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--commit", help="what the binary was built from, if that is not the commit of this folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="per contestant and round")
    parser.add_argument("--out", type=Path, help="results/compare.json, or results/cuda.json")
    args = parser.parse_args()
    args.out = args.out or FOLDER.parent / "results" / ("compare.json" if args.device == "cpu" else "cuda.json")
    if args.rounds < 7:
        print("fewer than 7 rounds: good for a try, not for a claim", file=sys.stderr)
    # Both sides get the same cores, also those without a setting for their number of threads.
    cores = sorted(os.sched_getaffinity(0))
    if args.threads < len(cores) and args.device == "cpu":
        os.sched_setaffinity(0, cores[-args.threads :])

    device = args.device
    everything = list(ON_GPU) if device != "cpu" else WORKLOADS
    known = WORKLOADS + EAGER + TAPE + list(ON_GPU)
    sets = {None: GOALS if device != "cpu" else WORKLOADS, "all": everything, "eager": EAGER, "tape": TAPE}
    results, failures = [], 0
    for workload in sets.get(args.workloads) or args.workloads.split(","):
        if workload not in known:
            sys.exit(f"unknown workload {workload}; known: {', '.join(everything)}")
        before = busy_seconds(), os.times(), datetime.datetime.now()
        default = "torch,jax" if device == "cpu" else ",".join(ON_GPU.get(workload, (SMALL, 0))[0])
        peers = [peer for peer in (default if args.peers is None else args.peers).split(",") if peer]
        try:
            result = compare(args.binary, workload, peers, args.threads, device, args.rounds, args.seconds)
        except Failed as error:
            print(f"\n{workload}: {error}", flush=True)
            failures += 1
            continue
        after = busy_seconds(), os.times(), datetime.datetime.now()
        used = sum(after[1][:4]) - sum(before[1][:4])
        wall = (after[2] - before[2]).total_seconds()
        result["other_load"] = round(max(0.0, after[0] - before[0] - used) / wall, 2)
        report(result)
        if result["other_load"] > 0.2 and device == "cpu":
            print(f"  other processes kept {result['other_load']} cores busy: repeat on a quiet machine")
        results.append(result)
        # What is measured stays, whatever happens later.
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"machine": machine(args.commit), "results": results}, indent=1) + "\n")
    print(f"\nwritten to {args.out}")
    if failures:
        sys.exit(f"{failures} workloads failed")


if __name__ == "__main__":
    main()

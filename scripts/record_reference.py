#!/usr/bin/env python3
"""Records the reference cases under tests/data/reference (see README.md there).

    python3 -m venv .venv && .venv/bin/pip install -r scripts/reference/requirements.txt
    .venv/bin/python scripts/record_reference.py            # writes the files
    .venv/bin/python scripts/record_reference.py --check    # fails if they would change
"""

import sys
from pathlib import Path

import torch

from reference import arranged, cases, contracted, elementary, composites, functions, integers, kinks, losses, optimizers, pointwise, random, reduced, shaped, special

GROUPS = {"pointwise": pointwise, "integers": integers, "shaped": shaped, "functions": functions, "elementary": elementary, "arranged": arranged, "contracted": contracted, "reduced": reduced, "losses": losses, "special": special, "optimizers": optimizers, "random": random, "composites": composites, "kinks": kinks}
LIMIT = 2_250_000


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder = Path(__file__).resolve().parent.parent / "tests/data/reference"
    check = sys.argv[1:] == ["--check"]
    count, size, changed = 0, 0, []
    for name, group in GROUPS.items():
        torch.manual_seed(20260)
        recorded = cases.Cases()
        group.record(recorded)
        text, path = recorded.text(), folder / f"{name}.jsonl"
        if check and (not path.exists() or path.read_text() != text):
            changed.append(path.name)
        elif not check:
            path.write_text(text)
        count, size = count + len(recorded.cases), size + len(text)
        print(f"{path.name}: {len(recorded.cases)} cases, {len(text)} bytes")
    print(f"{count} cases, {size} bytes")
    if size > LIMIT:
        sys.exit(f"more than {LIMIT} bytes: make the cases smaller")
    if changed:
        sys.exit(f"would change: {', '.join(changed)}")


if __name__ == "__main__":
    main()

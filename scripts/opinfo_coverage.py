#!/usr/bin/env python3
"""How much of PyTorch's OpInfo list has an equivalent here, by opinfo_coverage.toml.

    python scripts/opinfo_coverage.py            # counts, and what has no equivalent, by reason
    python scripts/opinfo_coverage.py --markdown # the same as a table

Needs torch, and expecttest, which its test list imports. Fails if an entry of the list stands in no section or in two, if a
section names an entry that the list does not have, and if a name on the right is nowhere in the frontend's sources (the test
`ops_page` checks those names exactly).
"""

import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
COUNTED = ("equivalent", "composed", "by_nature", "absent")


def entries():
    """Names of the list, each with the number of its variants."""
    from torch.testing._internal.common_methods_invocations import op_db

    variants = defaultdict(int)
    for op in op_db:
        variants[op.name] += 1
    return variants


def problems(mapping, variants):
    sections = defaultdict(list)
    for section, names in mapping.items():
        for name in names:
            sections[name].append(section)
    for name in variants:
        if name not in sections:
            yield f"{name} stands in no section"
    for name, where in sections.items():
        if name not in variants:
            yield f"{name} is not in PyTorch's list"
        if len(where) > 1:
            yield f"{name} stands in {' and '.join(where)}"
    sources = "\n".join(path.read_text() for path in (HERE.parent / "frontend").rglob("*.rs"))
    # Items, and the entries of the macros that declare methods and operators.
    declared = set(re.findall(r"pub (?:fn|struct) (\w+)", sources)) | set(re.findall(r"^    (\w+)", sources, re.M))
    for section in ("equivalent", "composed"):
        for name, ours in mapping[section].items():
            for one in ours.split(", "):
                if one.rsplit("::", 1)[-1] not in declared:
                    yield f"{name}: {one} is not in the frontend"


def main():
    mapping = tomllib.loads((HERE / "opinfo_coverage.toml").read_text())
    variants = entries()
    found = list(problems(mapping, variants))
    if found:
        sys.exit("\n".join(found))
    count = lambda section: (len(mapping[section]), sum(variants[name] for name in mapping[section]))
    total = [sum(column) for column in zip(*map(count, COUNTED))]
    rows = [(section, *count(section)) for section in COUNTED] + [("all that count", *total), ("excluded", *count("excluded"))]
    if "--markdown" in sys.argv:
        print("| section | names | with variants |\n|---|---|---|")
        print("\n".join(f"| {section} | {names} | {entries} |" for section, names, entries in rows))
    else:
        for section, names, entries_of in rows:
            print(f"{section:15} {names:4} names {entries_of:4} with variants")
    reasons = defaultdict(list)
    for name, reason in mapping["absent"].items():
        reasons[reason].append(name)
    print("\nWithout equivalent:\n")
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"- {reason} ({len(names)}): {', '.join(names)}")


if __name__ == "__main__":
    main()

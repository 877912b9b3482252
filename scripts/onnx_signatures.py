#!/usr/bin/env python3
"""Compares what our table says each ONNX op takes (frontend/io/onnx/ops/signatures.rs) with the schemas of the package onnx.

    python3 scripts/onnx_signatures.py

Needs onnx 1.18 or newer, whose schemas go up to opset 23 and beyond; those beyond are left out. Fails if, for any version of an
op that is in our table of ops, the numbers of operands or results, or the names, types and needs of attributes differ; or if the
opsets in which an op changed do.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

OPS = Path(__file__).parent.parent / "frontend/io/onnx/ops"
NEWEST = 23
ENDLESS = 2**31 - 1


def schemas():
    """The schema of each version of each op."""
    from onnx import defs

    found = defaultdict(dict)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= NEWEST:
            found[schema.name][schema.since_version] = schema
    return found


def arity(formal, least, most):
    """As (least, most, how many of the first may be left out before others)."""
    optional = [i for i, f in enumerate(formal) if i < least and "Optional" in str(f.option)]
    if optional != list(range(len(optional))):
        sys.exit(f"operands {optional} may be left out, which the table has no words for")
    return least, None if most >= ENDLESS else most, len(optional)


def of_schema(schema):
    attributes = {
        name: ("required" if a.required else "", str(a.type).rsplit(".", 1)[-1].lower()) for name, a in schema.attributes.items()
    }
    operands = arity(schema.inputs, schema.min_input, schema.max_input)
    return operands, arity(schema.outputs, schema.min_output, schema.max_output), attributes


def count(text):
    """`?, 1..=3` as `arity` has it."""
    open_ = text.count("?")
    least, bound, most = re.fullmatch(r"(?:\?, )*(\d+)(\.\.=?)?(\d+)?", text).groups()
    most = most or (None if bound else least)
    return int(least) + open_, None if most is None else int(most) + open_, open_


def table():
    """Ours: of each op, what it takes from each opset on."""
    text = (OPS / "signatures.rs").read_text().split("= signatures! {", 1)[1]
    text = re.sub(r"//.*", "", text)
    found = {}
    for ops, body in re.findall(r"([\w\s,]+?)\{(.*?)\}", text, re.S):
        rows = {}
        for since, operands, results, rest in re.findall(r"(\d+): \(([^)]*)\) -> \(([^)]*)\)([^;]*);", body):
            attributes = {n: (need, kind) for n, need, kind in re.findall(r"(\w+): (?:(required|either) )?(\w+)", rest)}
            rows[int(since)] = count(operands), count(results), attributes
        for op in re.findall(r"\w+", ops):
            found[op] = rows
    return found


def differences():
    theirs, ours = schemas(), table()
    sources = "\n".join(path.read_text() for path in OPS.glob("*.rs"))
    changes = {op: [int(n) for n in all_.split(",")] for op, all_ in re.findall(r'\(\s*"(\w+)",\s*&\[([\d, ]+)\]', sources)}
    for op, since in sorted(changes.items()):
        if op == "function":
            continue
        if op not in theirs:
            yield f"{op} is no op of ONNX"
        elif not set(since) <= set(theirs[op]):
            yield f"{op} changed in {sorted(theirs[op])}, not in {since}"
        elif extra := [v for v in theirs[op] if v not in since and not theirs[op][v].deprecated and v > since[0]]:
            yield f"{op} changed in {extra} too"
    for op, rows in sorted(ours.items()):
        for version in (v for v in changes.get(op, []) if v in theirs[op]):
            row = rows[max(since for since in rows if since <= version)]
            schema = of_schema(theirs[op][version])
            # Which of several must be given says the text of the schema only.
            own = {n: ("required" if need == "required" else "", kind) for n, (need, kind) in row[2].items()}
            for what, a, b in zip(("operands", "results", "attributes"), (*row[:2], own), schema):
                if a != b:
                    yield f"{op}-{version}: {what} {a}, in the schema {b}"


def main():
    found = list(differences())
    if found:
        sys.exit("\n".join(found))
    print(f"{len(table())} ops take what the schemas say")


if __name__ == "__main__":
    main()

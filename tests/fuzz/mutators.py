"""Damage: of data by structure (delete, duplicate, swap, other kinds, extreme numbers, nesting, tags, odd text) and of bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

TAG = "__tag__"


@dataclass(frozen=True)
class Raw:
    """YAML text that is written as it stands, for what data cannot hold."""

    text: str


NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 17, 2**15, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**9, 10**15, 10**19, 10**30,
    10**99,
    0.0, -0.0, 0.5, -0.5, 1.5, 1e-308, 5e-324, 1e-30, 1e30, 1e308, -1e308,
    Raw(".inf"), Raw("-.inf"), Raw(".nan"), Raw("1e999"), Raw("9" * 4400), Raw("-" + "9" * 5000), Raw("1" + "0" * 90),
    Raw("0x" + "f" * 80),
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "", " ", "~", "null", "yes", "*", "_", "=", "<<", "a" * 300, "a" * 5000, "é", "\U0001f600", "\u202eabc", "C", "M",
    "CMRSNPQ", "C1 M8",
    "C=0", "C=-1", "C=99999999999999999999", "C=4,0", "C<=4", "C4" * 2000, "1e308*10", "2**9999", "1/0",
    "(" * 200 + "1" + ")" * 200,
    "-" * 900 + "1", "__import__('os')", "{{ 1 }}", "{% for i in range(9999) %}x{% endfor %}", "{{ x }}", "a.b[1..3]",
    "a[1..99999999999]",
    "a[3..1]", "a[1..", "../../etc/passwd", "/dev/zero", "/dev/stdin", "x\ny", "0", "-1", "Weights", "Inputs", "Outputs",
    "DRAM", "../x",
    "inter_PE_spatial", "mac", "SRAM", "hypergeometric", "banded", "actual_data", "fixed_structured", "UOP", "CP", "RLE", "B",
    "a{b", "[",
    Raw("2001-99-99"), Raw("!!int abc"), Raw("!!int 0x_"), Raw("!!bool maybe"), Raw("!!float xyz"), Raw("!!timestamp 2001-99-99"),
    Raw("!!binary x"), Raw("!!set {a, b}"), Raw("!!omap [a: 1]"), Raw("!!python/object:x.y {}"), Raw("!Container"),
    Raw("!Foo {a: 1}"),
    Raw("!Parallel []"), Raw('"\\e[31mred"'), Raw('"\\0"'), Raw('"\\ud800"'), Raw("\ud800"), Raw("\x00"), Raw("*x"),
    Raw("&x [*x]"),
    Raw("{: 1}"), Raw("{~: 1}"), Raw("{'': 1}"), Raw("{? [1]: 2}"), Raw("{a: 1, a: 2}"), Raw("0x_"), Raw("1_"), Raw("1:30"),
    Raw("@"),
    Raw("[" * 300 + "]" * 300), Raw("{a: " * 150 + "1" + "}" * 150),
    Raw("[&a [x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c], "
        "&e [*d,*d,*d,*d,*d,*d,*d,*d], &f [*e,*e,*e,*e,*e,*e,*e,*e], [*f,*f,*f,*f,*f,*f,*f,*f]]"),
)  # fmt: skip
KINDS: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [{}], [None], {"a": 1}, {"a": []}, {"a": {"b": {}}}, ["C"], [["C"]], [["C", "M"]], [1, 2],
    [1.5], [[1]],
    {"C": 1}, {"C": [1, 2, 3]}, {"C": {"M": 1}}, {"name": "x"}, {"name": []}, {"name": "x", "class": "SRAM"},
    {TAG: "Component"}, {TAG: "nomerge"},
    {"<<<": [1]}, {"<<": 3}, {"<<<": {"a": {"b": 1}}}, {1: 2}, {True: 1}, {"ignore_me": 1},
    {"distribution": "banded", "density": 0.5, "band_width": 10**12}, {"distribution": "actual_data", "filename": "/dev/zero"},
    {"distribution": "hypergeometric", "density": 1e-300}, {"distribution": "fixed_structured", "density": 2},
    {"distribution": "hypergeometric", "density": 0.5, "workload_tensor_size": 10**18},
)  # fmt: skip


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values, the whole apart."""
    out: list[tuple[Any, ...]] = []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        out.append((*path, key))
        out += _places(value, (*path, key))
    return out


def _get(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def odd_value(rng: Random, old: Any) -> Any:
    """A value to put in place of another."""
    choice = rng.random()
    if isinstance(old, (int, float)) and not isinstance(old, bool) and choice < 0.6:
        return (
            rng.choice(NUMBERS)
            if choice < 0.4
            else rng.choice((old + 1, old - 1, -old, old * 2, old * 1000, old / 3, str(old), [old]))
        )
    if isinstance(old, list) and choice < 0.2:
        return dict(enumerate(map(str, old))) if rng.random() < 0.5 else old * rng.choice((2, 50))
    if isinstance(old, dict) and choice < 0.2:
        return rng.choice(([old], list(old), list(old.values()), str(old)[:50]))
    return rng.choice(rng.choice((NUMBERS, TEXTS, TEXTS, KINDS)))


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


def mutate(data: Any, rng: Random) -> Any:
    """A damaged copy of plain data (dicts and lists), with one to three changes."""
    data, wrapped = _copy(data), False
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(data)
        if not places:
            return odd_value(rng, data)
        path = rng.choice(places)
        parent, key = _get(data, path[:-1]), path[-1]
        what = rng.choice(("replace",) * 8 + ("delete", "delete", "duplicate", "swap", "rename", "graft", "wrap", "extra", "key"))
        if what == "replace":
            parent[key] = odd_value(rng, parent[key])
        elif what == "delete":
            del parent[key]
        elif what == "duplicate" and isinstance(parent, list):
            parent.insert(key, _copy(parent[key]))
        elif what == "swap":
            other = rng.choice(places)
            holder = _get(data, other[:-1])
            if other[: len(path)] != path and path[: len(other)] != other:
                parent[key], holder[other[-1]] = holder[other[-1]], parent[key]
        elif what == "rename" and isinstance(parent, dict):
            value = parent.pop(key)
            parent[rng.choice((str(key) + "x", str(key).upper(), rng.choice([p[-1] for p in places])))] = value
        elif what == "graft":
            parent[key] = _copy(_get(data, rng.choice(places)))
        elif what == "wrap":
            deep = 0 if wrapped else 120  # once: the harness itself recurses
            wrapped = True
            for _ in range(rng.choice((1, 2, deep))):
                parent[key] = rng.choice(([parent[key]], {"a": parent[key]}))
        elif what == "extra" and isinstance(parent, dict):
            parent[rng.choice(("keep_only", "factors_only", "remainders", "split", "constraints", "sparse_optimizations",
            "spatial", "version",
                               "no_reuse", "networks", "local", "subtree", "x", "permutation", "min", "name", "default", "width",
                               "multiple_buffering", "cluster_size", "block_size", "read_bandwidth", "entries",
                               "depth"))] = odd_value(rng, 1)  # fmt: skip
        elif what == "key" and isinstance(parent, dict):
            key = rng.choice(TEXTS)
            parent[key if isinstance(key, str) else key.text[:10]] = odd_value(rng, 1)
    return data


def tweak(data: Any, rng: Random) -> Any:
    """A copy with one to three changes that stay plausible: other numbers, other orders, words of elsewhere, things left out."""
    data = _copy(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = _places(data)
        if not places:
            return data
        path = rng.choice(places)
        parent, key = _get(data, path[:-1]), path[-1]
        old = parent[key]
        if isinstance(old, bool):
            parent[key] = not old
        elif isinstance(old, (int, float)):
            parent[key] = rng.choice(
                (0, 1, 2, 3, 4, 5, 8, 16, 17, 64, 1000, 10**6, 10**12, 10**17, old + 1, old * 2, old * 10, old / 2, 0.1)
            )
        elif isinstance(old, str):
            words = [v for p in places if isinstance(v := _get(data, p), str) and p[-1] == key]
            parent[key] = rng.choice((*words, old[:-1], old + old, old[::-1]))
        elif isinstance(old, list) and old:
            what = rng.random()
            parent[key] = rng.sample(old, len(old)) if what < 0.4 else old[:-1] if what < 0.7 else [*old, _copy(rng.choice(old))]
        elif isinstance(old, dict) and old:
            del old[rng.choice(list(old))]
    return data


def has_raw(data: Any) -> bool:
    """Whether data must be written as text to be what it is."""
    if isinstance(data, dict):
        return any(has_raw(value) for value in data.values())
    return any(map(has_raw, data)) if isinstance(data, list) else isinstance(data, Raw)


def written(data: Any) -> str:
    """Data as YAML text on one line, tags and `Raw` as they stand."""
    if isinstance(data, Raw):
        return data.text
    if isinstance(data, dict):
        tag = f"!{data[TAG]} " if isinstance(data.get(TAG), str) else ""
        if tag and set(data) == {TAG, "nodes"}:
            return tag + written(data["nodes"])
        return tag + "{" + ", ".join(f"{json.dumps(str(k))}: {written(v)}" for k, v in data.items() if k != TAG) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(written, data)) + "]"
    return json.dumps(data)


TOKENS = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\t", b"\n", b"\r", b"---\n", b"...", b": ", b"- ", b"? ", b"[", b"]", b"{", b"}",
    b"&a ", b"*a", b"!!int ",
    b"!x ", b"|", b">", b"%YAML 9.9\n", b"'", b'"', b"#", b"<<: ", b"{{", b"{%", b"%}", b"9" * 60, b"1e999", b".inf",
    b"\x1b[2J", b"\xe2\x80\xae",
    b"[" * 200, b"  " * 100, b"-", b"\xef\xbb\xbf", b"'\\", b"@", b"`",
)  # fmt: skip


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Damaged bytes: flips, tokens, cuts, repeats, a lost end."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        length = rng.choice((1, 1, 2, 8, 64))
        what = rng.choice(("flip", "token", "token", "cut", "repeat", "move", "end"))
        if what == "flip" and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif what == "token":
            out[at:at] = rng.choice(TOKENS)
        elif what == "cut":
            del out[at : at + length]
        elif what == "repeat":
            out[at:at] = out[at : at + length] * rng.choice((1, 2, 50))
        elif what == "move":
            part = out[at : at + length]
            del out[at : at + length]
            to = rng.randrange(len(out) + 1)
            out[to:to] = part
        elif what == "end" and rng.random() < 0.3:
            del out[at:]
    return bytes(out)

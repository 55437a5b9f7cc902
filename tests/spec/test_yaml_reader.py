"""The plain YAML reader: what it reads, and what it refuses with the line and the column."""

from __future__ import annotations

import sys

import pytest

from hwloop.errors import SpecError
from hwloop.spec.document import TAG, check_plain, read_document
from hwloop.spec.limits import DEPTH
from hwloop.spec.yaml_reader import read_yaml


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [1.5, 1e-9, .5, -0x10, 1_000]", {"a": 1, "b": [1.5, 1e-9, 0.5, -16, 1000]}),
        ("[yes, Off, true, ~, null, '', \"no\", 1:1, 2001-99-99, 0x_, =]",
         [True, False, True, None, None, "", "no", "1:1", "2001-99-99", "0x_", "="]),
        ("a: !Container {name: x}\nb: !Parallel\n- 1\nc: !Nothing", {
            "a": {TAG: "Container", "name": "x"}, "b": {TAG: "Parallel", "nodes": [1]}, "c": {TAG: "Nothing"}}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: [*x]", {
            "x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}, "z": [{"a": 1, "b": 2}]}),
        ("x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz: {<<: [*x, *y], c: 3}", {
            "x": {"a": 1}, "y": {"a": 2, "b": 2}, "z": {"a": 1, "b": 2, "c": 3}}),
        ("!!map {a: !!int 3, b: !!float 2, c: !!str 1, d: !!bool yes}", {"a": 3, "b": 2.0, "c": "1", "d": True}),
        ('{"a": [1, 2.5, "x\\ty"]}', {"a": [1, 2.5, "x\ty"]}),
        ("", None),
    ],
)  # fmt: skip
def test_plain_data_comes_out(text: str, data: object) -> None:
    assert read_yaml(text, "f") == data


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f: line 3, column 1: expected each key once, found \"duplicate key 'a'\""),
        ("a: !!int abc", "line 1, column 4: expected what !!int says, found 'abc'"),
        ("a: !!int 0x_", "expected what !!int says"),
        ("a: !!bool maybe", "expected what !!bool says"),
        ("a: !!float xyz", "expected what !!float says"),
        ("a: !!timestamp 2001-99-99", "no tag, or one of !!str"),
        ("a: !!python/object:os.system x", "no tag, or one of !!str"),
        ("a: !<tag:example.org,2000:x> {}", "a tag such as !Container"),
        ("a: !Container 3", "a mapping or a list under !Container"),
        ("{~: 3}", "line 1, column 2: expected a key, found 'an empty one'"),
        ("'': 3", "expected a key"),
        ("? [1, 2]\n: 3", "a key that is a plain word"),
        ("__tag__: Container", "another key: __tag__ is hwloop's own"),
        ("a: \x00", r"line 1, column 4: expected text without control characters, found '\\x00'"),
        ("a: 1\nb: \ud800", r"line 2, column 4: expected text without control characters, found '\\ud800'"),
        ('a: "\\e[31m"', "text without control characters"),
        ("[" * 300, f"line 1, column {DEPTH + 1}: expected at most {DEPTH} mappings and lists"),
        ("\n".join(" " * i + f"a{i}:" for i in range(300)), f"at most {DEPTH} mappings and lists"),
        (BOMB, "line 6, column 32.*aliases counted as what they stand for"),
        ("a: &a [*a]", "an alias of an anchor that is complete"),
        ("a: " + "9" * 5000, "line 1, column 4: expected a number of at most 100 digits"),
        ("a: .inf", "a finite number, found '.inf'"),
        ("a: -.INF", "a finite number"),
        ("a: .nan", "a finite number"),
        ("a: 1e999", "a number that a computer can hold"),
        ("a: {<<: 3}", "to merge with <<"),
        ("a: 1\n---\nb: 2", "one document"),
        ("a: [1, 2", "line 2, column 1: expected valid YAML"),
        ("a: [1\n}", "line 2, column 1: expected valid YAML"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_yaml(text, "f")


def test_data_from_python_keeps_the_same_limits() -> None:
    nest: list[object] = []
    for _ in range(300):
        nest = [nest]
    circle: dict[str, object] = {}
    circle["a"] = circle
    for data, message in [
        (nest, "at most 100 mappings and lists"),
        (circle, "a.a.a.*at most 100 mappings and lists"),
        ({"a": float("inf")}, "a: expected a finite number"),
        ({"a": [10**5000]}, r"a\[0\]: expected a number of at most 100 digits, found a whole number of 16610 bits"),
        ({"a": {"b"}}, "expected plain data"),
        ({"a": "\x1b[2J"}, r"control characters, found '\\x1b\[2J'"),
        ({("a",): 1}, "keys that are plain words"),
    ]:
        with pytest.raises(SpecError, match=message):
            check_plain(data, "<dict>")


def test_messages_are_bounded_one_line_and_free_of_control_characters() -> None:
    big: object = "x"
    for _ in range(40):
        big = [big] * 40  # 40 ** 40 items
    error = SpecError("a\nb\x1b[31m", "field\u202e", "this", big, "x" * 5000)
    text = str(error)
    assert text.isprintable()
    assert len(text) < 1500
    assert r"a\nb\x1b[31m: field\u202e" in text
    assert "digits" not in str(SpecError("f", "a", "b", 10 ** (2 * sys.get_int_max_str_digits())))


def test_an_existing_file_wins_over_text_and_devices_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import os

    odd = tmp_path / "a{b\nc"
    odd.write_text("x: 1")
    assert read_document(str(odd)) == ({"x": 1}, str(odd))
    assert read_document("{x: 1}") == ({"x": 1}, "<text>")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for place, message in [
        (pipe, "not a regular file"), ("/dev/zero", "not a regular file"), (tmp_path, "is a folder"),
        (tmp_path / "none.yaml", "No such file"), (tmp_path / ("x" * 300), "too long"), (tmp_path / "latin", "byte 3"),
    ]:  # fmt: skip
        with pytest.raises(SpecError, match=message):
            read_document(place)

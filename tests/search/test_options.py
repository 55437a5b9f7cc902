from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hwloop.errors import SpecError
from hwloop.search.options import describe_options, plain_options, read_options, split_options


@dataclass(frozen=True)
class Everything:
    given: str
    count: int = 3
    rate: float = 0.5
    exact: bool = False
    most: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    span: tuple[int, float] = (1, 0.5)
    file: str = ""


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("count", "7", 7), ("count", 7, 7), ("rate", "1e-3", 0.001), ("rate", 2, 2.0), ("exact", "true", True),
        ("exact", False, False),
        ("most", "none", None), ("most", "4", 4), ("most", None, None), ("sizes", "3,4,5", (3, 4, 5)), ("sizes", [3], (3,)),
        ("span", "2,0.25", (2, 0.25)), ("file", "3", "3"),
    ],
)  # fmt: skip
def test_values_are_read_by_the_fields_type(name: str, value: Any, found: Any) -> None:
    [read] = read_options(Everything, {name: value}, "option").values()
    assert read == found
    assert type(read) is type(found)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", "3.5", "option count: expected a value of type int, found '3.5'"),
        ("count", True, "option count: expected a value of type int, found True"),
        ("exact", 1, "option exact: expected a value of type bool"),
        ("most", "x", "option most: expected a value of type int or none"),
        ("sizes", "3,x", r"option sizes: expected a value of type tuple\[int, \.\.\.\]"),
        ("span", "3", "option span: expected a value of type tuple"),
        ("file", 3, "option file: expected a value of type str"),
        ("rates", 3, "option rates: expected an option of Everything, found 3; did you mean 'rate'"),
        ("given", "x", "option given: expected an option of Everything, found 'x'; it has: count, rate"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_options(Everything, {name: value}, "option", fixed=("given",))


def test_texts_are_split_and_options_described() -> None:
    assert split_options(["a=1", " step-size = 2=3"], "option") == {"a": "1", "step_size": "2=3"}
    for texts, message in (
        (["a"], "option: expected NAME=VALUE, found 'a'"),
        (["a=1", "a=2"], "option a: expected each option once"),
    ):
        with pytest.raises(SpecError, match=message):
            split_options(texts, "option")
    assert describe_options(Everything, ("sizes", "span", "file", "most")) == "given, count=3, rate=0.5, exact=False"
    assert plain_options(Everything("x"), ("given",))["span"] == (1, 0.5)

"""A plan as one row of a table: a column for everything that is said of a layer, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.layer_plan import LayerPlan
from hwloop.spec.plan import Plan, load_plan

_FIELDS = tuple(field.name for field in fields(LayerPlan))


def plan_row(plan: Plan) -> dict[str, Any]:
    """`{"base": "p=0.7", "weight_bits:conv1": 4, ...}`: numbers and text alone, what is a list or a block as JSON."""
    row: dict[str, Any] = {"base": plan.base}
    for layer, share in plan.to_dict()["layers"].items():
        for field, value in share.items():
            plain = isinstance(value, (int, float, str)) and not isinstance(value, bool)
            row[f"{field}:{layer}"] = value if plain else json.dumps(value)
    return row


def read_plan_row(row: Mapping[str, Any]) -> Plan:
    """The plan in a row, as it is or as text from a CSV file; empty cells and other columns are left alone.

    Raises:
        SpecError: a value that is none of its field's.
    """
    layers: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        field, colon, layer = column.partition(":")
        if colon and field in _FIELDS and value not in ("", None):
            layers.setdefault(layer, {})[field] = _read(value)
    try:
        return load_plan({"base": row.get("base") or "", "layers": layers})
    except SpecError as error:
        raise SpecError("<row>", error.field, error.expected, error.found, error.hint) from None


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value

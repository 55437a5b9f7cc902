"""Renders spec files that are Jinja2 templates, as most current examples are: in a sandbox, with bounds on work and size.

A template computes with the variables it is given and takes in other files (`hwloop.spec.source`). It sees no attributes of
Python objects, only keys of dicts and a few methods of text and dicts; it cannot use Jinja's own include, import and extends; and
it stops after `MAX_STEPS` loop passes, calls or list items, or when a text outgrows `MAX_SIZE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from hwloop.errors import SpecError

MAX_SIZE = 4_000_000  # characters of a text or of the whole output
MAX_STEPS = 300_000
MAX_ITEMS = 10_000  # of a range
MAX_NUMBER_BITS = 4096
SUFFIXES = (".jinja", ".jinja2", ".j2")
_METHODS: dict[type, frozenset[str]] = {
    dict: frozenset({"items", "keys", "values", "get"}),
    str: frozenset({"lower", "upper", "strip", "split", "startswith", "endswith"}),
}
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length", "list", "lower",
    "max", "min", "reverse", "round", "sort", "title", "trim", "unique", "upper",
)  # fmt: skip
_TESTS = (
    "defined", "undefined", "none", "number", "string", "mapping", "sequence", "iterable", "even", "odd", "divisibleby", "true",
    "false", "boolean", "integer", "float",
)  # fmt: skip


def is_template(text: str, name: str) -> bool:
    """Whether a file is to be rendered before it is read as YAML."""
    return name.endswith(SUFFIXES) or "{{" in text or "{%" in text


def render(text: str, name: str, variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> str:
    """The text that a template makes.

    Args:
        text: the template.
        name: the file, for messages.
        variables: values by name.
        functions: what else it may call.

    Raises:
        SpecError: a variable that is not given, a mistake in the template, or something the sandbox does not allow.
    """
    environment = _Environment()
    environment.globals.update(functions)
    try:
        return environment.from_string(text).render(dict(variables))
    except SpecError:  # of a file that the template takes in
        raise
    except SecurityError as error:
        raise SpecError(name, "(template)", "a template that stays in the sandbox", str(error)) from None
    except TemplateError as error:
        hint = "give it with --set NAME=VALUE, or variables={...}" if "is undefined" in str(error) else ""
        raise SpecError(name, "(template)", "a Jinja2 template", str(error), hint) from None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, RecursionError, KeyError) as error:
        raise SpecError(name, "(template)", "a template that can be computed", str(error) or type(error).__name__) from None


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, narrowed: no attributes of objects, no filters that make a text grow, and a budget."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=self._plain)
        self._steps = MAX_STEPS
        self.filters = {name: self._bounded(self.filters[name]) for name in _FILTERS}
        self.filters |= {
            "indent": self._indent,
            "replace": self._replace,
            "join": self._join,
            "string": self._text,
            "_passes": self._passes,
            "_plain": self._plain,
        }
        self.tests = {name: self.tests[name] for name in _TESTS}
        self.globals = {"range": self._range, "namespace": Namespace, "dict": dict}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only loop variables, namespaces and a few methods of text and dicts."""
        if isinstance(obj, (LoopContext, Namespace)):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in _METHODS.items())

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is no method that a template may call: its width can be of any size."""
        return None

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers, and `+` on texts and lists."""
        self._spend(1)
        both = (left, right)
        if not all(isinstance(x, (int, float, Undefined)) for x in both):
            if operator != "+":
                raise SecurityError(f"{operator} on anything but numbers")
            if all(isinstance(x, str) for x in both):
                return self._join(both)
            self._plain(both)
        elif any(isinstance(x, Undefined) for x in both):
            pass  # says so below
        elif operator == "**" and not (abs(left) < 1e30 and abs(right) <= 1024):
            raise SecurityError(f"a power as large as {left} ** {right}")
        elif any(isinstance(x, int) and x.bit_length() > MAX_NUMBER_BITS for x in both):
            raise SecurityError(f"a number of more than {MAX_NUMBER_BITS} bits")
        return super().call_binop(context, operator, left, right)

    def concat(self, parts: Iterable[str]) -> str:  # type: ignore[override]
        """Joins the pieces of a template, a macro or a block."""
        return self._join(parts)

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        for kind in (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends):
            if next(source.find_all(kind), None) is not None:
                raise SecurityError("a tag include, import or extends; write {{ include('FILE') }}")
        return super()._generate(_Guarded(self).visit(source), name, filename, defer_init)

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise SecurityError(f"more than {MAX_STEPS} steps")

    def _passes(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._spend(1)
            yield item

    def _plain(self, value: Any) -> Any:
        """The value itself; a list or a dict costs as many steps as it has items, at every depth."""
        self._spend(1)
        if isinstance(value, Mapping):
            for item in value.values():
                self._plain(item)
        elif isinstance(value, (list, tuple, set)):
            for item in value:
                self._plain(item)
        elif isinstance(value, str) and len(value) > MAX_SIZE:
            raise SecurityError(f"a text of more than {MAX_SIZE} characters")
        return value

    def _text(self, value: Any) -> str:
        return value if isinstance(value, str) else str(self._plain(value))

    def _join(self, parts: Iterable[Any], d: str = "") -> str:
        out: list[str] = []
        total = 0
        for part in self._passes(parts):
            out.append(self._text(part))
            total += len(out[-1]) + len(d)
            if total > MAX_SIZE:
                raise SecurityError(f"a text of more than {MAX_SIZE} characters")
        return d.join(out)

    def _indent(self, text: str, width: int = 4, first: bool = False) -> str:
        pad = self._text(" " * min(int(width), MAX_ITEMS))
        lines = self._text(text).split("\n")
        return self._join(["", *lines] if first else lines, f"\n{pad}").removeprefix("\n")

    def _replace(self, text: str, old: str, new: str) -> str:
        return self._join(self._text(text).split(old), new) if old else self._text(text)

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        if len(numbers) > MAX_ITEMS:
            raise SecurityError(f"a range of more than {MAX_ITEMS} numbers")
        return numbers

    def _bounded(self, made: Callable[..., Any]) -> Callable[..., Any]:
        def bounded(*args: Any, **options: Any) -> Any:
            for value in (*args, *options.values()):
                if isinstance(value, (str, list, tuple, set, Mapping)):
                    self._plain(value)
            return self._plain(made(*args, **options))

        if hasattr(made, "jinja_pass_arg"):
            bounded.jinja_pass_arg = made.jinja_pass_arg  # type: ignore[attr-defined]
        return bounded


class _Guarded(NodeTransformer):
    """Puts the budget into a template: every loop pass, macro call, comparison and joined text goes through the environment."""

    def __init__(self, environment: _Environment) -> None:
        self._environment = environment

    def _filtered(self, name: str, node: nodes.Expr) -> nodes.Filter:
        made = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        made.set_environment(self._environment)
        return made

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        parts.set_environment(self._environment)
        return self._filtered("join", parts)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        assert isinstance(node.iter, nodes.Expr)
        node.iter = self._filtered("_passes", node.iter)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        tick = nodes.Output([self._filtered("_plain", nodes.Const("", lineno=node.lineno))], lineno=node.lineno)
        tick.set_environment(self._environment)
        node.body.insert(0, tick)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._filtered("_plain", node.expr)
        for operand in node.ops:
            operand.expr = self._filtered("_plain", operand.expr)
        return node

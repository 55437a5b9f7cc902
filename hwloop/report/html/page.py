"""The page itself: sections, data, style and scripts in one file. What stands in the sections is another module's business.

Text of others is escaped: in the sections by Jinja, in the data by JSON without `<`, in the charts by `plain`. The page's own
security policy forbids every request, so that nothing in it can ask the network for anything.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import hwloop

_ASSETS = "hwloop.report.html"
_CHARTS = "charts.js"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: its anchor.
        title: its heading, also in the contents.
        body: HTML, from `render`.
        lead: a sentence under the heading.
    """

    id: str
    title: str
    body: Markup
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """One report.

    Attributes:
        title: of the page.
        status: how far what is reported is, in a sentence.
        complete: whether it is finished; shown beside the status.
        sections: in order.
        data: what the scripts read.
        scripts: names of this package's scripts, run in order behind `charts.js`.
    """

    title: str
    status: str
    complete: bool
    sections: Sequence[Section]
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()

    def to_html(self) -> str:
        """The page, with everything it needs inside."""
        library = _library() if self.scripts else ""
        scripts = [library, *(_read(name) for name in (_CHARTS, *self.scripts))] if self.scripts else []
        data = json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return render(
            "page.html", page=self, style=Markup(_read("page.css")), data=Markup(data),
            scripts=[Markup(_closed(script)) for script in scripts], version=hwloop.__version__,
        )  # fmt: skip


def render(template: str, **values: Any) -> Markup:
    """A template of this package, filled in; values are escaped unless they are `Markup`."""
    return Markup(_environment().from_string(_read(template)).render(**values))


def plain(text: object) -> str:
    """Text for the charts, whose library reads a few tags in it."""
    return html.escape(str(text), quote=False)


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _read(name: str) -> str:
    return (files(_ASSETS) / name).read_text(encoding="utf-8")


def _library() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _closed(script: str) -> str:
    """A script that cannot end its element."""
    return script.replace("</script", "<\\/script")

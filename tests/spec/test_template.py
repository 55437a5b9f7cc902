"""Templates: rendered with the variables given, in a sandbox that opens nothing else and ends soon."""

from __future__ import annotations

from pathlib import Path

import pytest

import hwloop
from hwloop.errors import SpecError
from hwloop.spec.source import read_spec
from hwloop.spec.template import render

from .reading_cases import NODES


def test_an_accelerator_is_rendered_with_its_variables(tmp_path: Path) -> None:
    file = tmp_path / "arch.yaml.jinja2"
    file.write_text(
        NODES.replace("meshX: 16", "meshX: {{ lanes * 2 }}").replace("depth: 4096", "depth: {{ depth | default(512) }}")
    )
    arch = hwloop.load_architecture(file, variables={"lanes": 8})
    assert (arch.compute.instances, arch.level("glb").depth) == (16, 512)
    with pytest.raises(SpecError, match=r"\(template\): .*'lanes' is undefined.*give it with --set NAME=VALUE"):
        hwloop.load_architecture(file)


def test_files_of_the_folder_are_taken_in(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "chip.yaml").write_text(NODES)
    (tmp_path / "parts" / "word.yaml").write_text("bits: {{ bits }}\nignore_me: 1\n")
    (tmp_path / "shape.yaml").write_text("<<<: [{{ include('parts/word.yaml') }}, {a: {b: [1]}}]\na: {b: [0], c: 2}\n")
    top = tmp_path / "top.yaml"
    top.write_text("{{ add_to_path('parts') }}\narchitecture: {{ include('chip.yaml', 'architecture') }}\n"
                   "extra: {{ include_all('parts/w*.yaml', 'bits') }}\nmerged: {{ include('shape.yaml') }}\n"
                   "{% if path_exists('nothing.yaml') %}wrong: 1{% endif %}\n")  # fmt: skip
    document, _ = read_spec(top, {"bits": 8})
    assert document["extra"] == [8]
    assert document["merged"] == {"a": {"b": [0, 1], "c": 2}, "bits": 8}
    assert "wrong" not in document
    assert [level.name for level in hwloop.load_architecture(top, {"bits": 8}).levels][-1] == "mac"


def test_no_file_of_another_folder_is_opened_unless_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("key: 1\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    top = tmp_path / "specs" / "top.yaml"
    for place in ("../secret.yaml", str(tmp_path / "secret.yaml"), "link.yaml", "/etc/hostname"):
        for word in ("include", "include_text", "find_path"):
            top.write_text(f"a: {{{{ {word}('{place}') }}}}\n")
            with pytest.raises(SpecError, match="expected a file in the folder of the spec"):
                read_spec(top)
    top.write_text("{{ add_to_path('..') }}\na: {{ include('secret.yaml') }}\n")
    with pytest.raises(SpecError, match="lies in another folder; allow it with --include FOLDER"):
        read_spec(top)
    assert read_spec(top, include=[tmp_path])[0] == {"a": {"key": 1}}
    with pytest.raises(SpecError, match="a template that is given as text takes in no files"):
        read_spec("a: {{ include('secret.yaml') }}\n")
    top.write_text("a: {{ include('top.yaml') }}\n")
    with pytest.raises(SpecError, match="files that do not take in one another in a circle"):
        read_spec(top)


GROWING = "{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 40
NESTED = "{% set a = [1, 1] %}" + "{% set a = [a, a] %}" * 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ given.__class__ }}", "access to attribute '__class__'"),
        ("{{ given|attr('__class__') }}", "No filter named 'attr'"),
        ("{{ self.__init__.__globals__ }}", "access to attribute '__init__'"),
        ("{{ range.__self__ }}", "access to attribute '__self__'|has no attribute"),
        ("{{ '{0.__class__}'.format(1) }}", "access to attribute 'format'"),
        ("{{ 'x'.join(['a', 'b']) }}", "access to attribute 'join'"),
        ("{% include '/etc/hostname' %}", "a tag include, import or extends"),
        ("{% import 'x' as x %}", "a tag include, import or extends"),
        ("{{ 'a' * 10 ** 10 }}", "on anything but numbers"),
        ("{{ [1] * 10 ** 10 }}", "on anything but numbers"),
        ("{{ 10 ** 9999 }}", "a power as large as"),
        ("{% set a = 9 %}" + "{% set a = a * a %}" * 40, "a number of more than 4096 bits"),
        ("{{ '%999999999d'|format(1) }}", "No filter named 'format'"),
        ("{{ 'a'|center(999999999) }}", "No filter named 'center'"),
        (GROWING, "a text of more than 4000000 characters"),
        ("{% set a %}xxxxxxxxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40, "a text of more than 4000000"),
        (NESTED + "{{ a }}", "more than 300000 steps"),
        (NESTED + "{{ a == a }}", "more than 300000 steps"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "more than 300000 steps"),
        ("{{ range(10 ** 9) }}", "a range of more than 10000 numbers"),
        ("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}", "more than 300000 steps"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_the_sandbox_holds(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        render(text, "<text>", {"given": {"a": 1}}, {})


def test_what_templates_need_works() -> None:
    text = (
        "{% macro twice(x) %}{{ x ~ x }}{% endmacro %}{% set ns = namespace(n=0) %}{% for k, v in given.items() %}"
        "{% set ns.n = ns.n + v %}{{ k|upper }}{% if not loop.last %},{% endif %}{% endfor %};{{ ns.n }};{{ twice('ab') }};"
        "{{ [3, 1]|sort|join('-') }};{{ 2 ** 10 }};{{ 'yes' if 'a' in given else 'no' }};{{ other is defined }};"
        "{{ given['b'] }}"
    )
    assert render(text, "<text>", {"given": {"a": 1, "b": 2}}, {}) == "A,B;3;abab;1-3;1024;yes;False;2"

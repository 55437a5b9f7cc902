from __future__ import annotations

import io

from hwloop.report.progress import Bars, Lines, Silent, make_progress


def test_lines_say_how_far_and_end_with_the_last_note() -> None:
    stream = io.StringIO()
    with Lines(stream, every_s=0.0).task("map", 3) as task:
        task.advance("conv1")
        task.advance("conv2", 2)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "map: 1/3 (conv1)"
    assert lines[-1].startswith("map: 3/3 done in ")
    assert lines[-1].endswith("(conv2)")


def test_lines_are_few_when_work_is_quick() -> None:
    stream = io.StringIO()
    with Lines(stream, every_s=60.0).task("map", 1000) as task:
        for _ in range(1000):
            task.advance()
    assert len(stream.getvalue().splitlines()) == 1


def test_not_a_terminal_gets_lines_and_quiet_gets_nothing(capsys) -> None:
    assert isinstance(make_progress(), Lines)
    quiet = make_progress(quiet=True)
    assert isinstance(quiet, Silent)
    with quiet.task("map", 1) as task:
        task.advance()
    quiet.say("hello")
    assert capsys.readouterr() == ("", "")


def test_bars_leave_one_line(capsys) -> None:
    bars = Bars()
    bars.console.width = 100
    with bars.task("map", 2) as task:
        task.advance("a", 2)
    assert "map: 2/2 done in" in capsys.readouterr().err


def test_work_of_unknown_length_is_counted() -> None:
    stream = io.StringIO()
    with Lines(stream, every_s=0.0).task("search", 0) as task:
        task.advance("step 1")
    assert stream.getvalue().splitlines()[0] == "search: 1 (step 1)"
    assert stream.getvalue().splitlines()[-1].startswith("search: 1 done in ")
    bars = Bars()
    with bars.task("search", 0) as task:
        task.advance()

"""What `rune run` does to libraries as they are loaded, with libraries and integrations made up here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from promises import promise
from rune import Shield, ShieldBlockedError
from rune.errors import FailedPrecondition
from rune.integrations.checkpoint import Checkpoint
from rune.integrations.everywhere import every_subclass, patch, require
from rune.integrations.layers import astepping, is_judged_above, judged_by, stepping
from rune.shield import autoload
from rune.shield.faults import OurFault


class Model:
    """The base class of a framework."""

    def ask(self) -> str:
        return "plain"


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], ModuleType]:
    """A framework that somebody knows how to guard, by the function given."""

    def make(act: Callable[..., None]) -> ModuleType:
        made, integration = ModuleType("toy"), ModuleType("rune.integrations.toy")
        vars(integration)["guard_toys"] = act
        known = autoload.Framework("toy-dist", "toy", "guard_toys", "toys")
        monkeypatch.setitem(autoload.FRAMEWORKS, "toy", known)
        monkeypatch.setitem(sys.modules, "rune.integrations.toy", integration)
        return made

    return make


def test_an_unknown_version_is_named_and_left_whole(
    framework: Callable[..., ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    class Kind(Model): ...

    def act(module: ModuleType, everywhere: object) -> None:
        require(Kind, "ask", "answer")
        patch(Kind, "ask", lambda theirs: theirs)

    autoload.guard(framework(act))
    assert "toys of toy-dist are NOT guarded: " in (told := capsys.readouterr().err)
    assert "has no answer: this version is unknown" in told
    assert Kind().ask() == "plain"


def test_with_a_closed_fail_mode_a_library_that_cannot_be_guarded_is_not_loaded(
    framework: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(module: ModuleType, everywhere: object) -> None:
        require(Model, "ask", "answer")

    monkeypatch.setenv("RUNE_FAIL_MODE", "closed")
    with pytest.raises(
        ImportError, match=r"toys of toy-dist are NOT guarded: .*is closed, so it is not loaded"
    ):
        autoload.guard(framework(act))


def test_a_fault_of_ours_is_counted_and_the_program_goes_on(
    framework: Callable[..., ModuleType], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(module: ModuleType, everywhere: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(OurFault, "RAISES", False)
    monkeypatch.setattr(autoload, "_faults", [])
    autoload.shield.cache_clear()
    autoload.guard(framework(act))
    assert "toys of toy-dist are NOT guarded: a fault of Rune's own" in capsys.readouterr().err
    assert autoload.shield().stats["faults_total"] == 1
    autoload.shield.cache_clear()


def test_the_hook_loads_no_framework_and_no_shield() -> None:
    asked = """
import sys
from rune.shield import autoload
autoload.install()
heavy = {*autoload.CLIENTS, *autoload.FRAMEWORKS, "rune.shield.shield", "rune.integrations", "asyncio"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_classes_that_are_there_and_those_to_come_are_reached_once() -> None:
    class Base:
        pass

    class Here(Base):
        pass

    class Below(Here):
        pass

    reached: list[str] = []
    every_subclass(Base, lambda kind: reached.append(kind.__name__))

    class Later(Below):
        pass

    assert sorted(reached) == ["Below", "Here", "Later"]
    assert Later.__mro__[1] is Below


def test_a_hook_of_the_base_class_itself_still_runs() -> None:
    seen: list[str] = []

    class Base:
        def __init_subclass__(cls, *, mark: str, **more: Any) -> None:
            seen.append(mark)

    every_subclass(Base, lambda _: None)
    type("Later", (Base,), {}, mark="x")
    assert seen == ["x"]


def test_a_method_is_patched_once_and_keeps_its_name() -> None:
    class Kind(Model):
        def ask(self) -> str:
            return "mine"

    def wrap(theirs: Any) -> Callable[[Any], str]:
        def ask(self: Any) -> str:
            return theirs(self) + "!"

        return ask

    patch(Kind, "ask", wrap)
    patch(Kind, "ask", wrap)
    assert Kind().ask() == "mine!"
    assert Kind.ask.__name__ == "ask"
    with pytest.raises(FailedPrecondition, match="Kind has no tell"):
        require(Kind, "tell")


@promise("shield.run")
def test_a_stream_is_judged_above_at_its_steps_and_nowhere_else(shield: Shield) -> None:
    inside: list[bool] = []

    def source() -> Iterator[int]:
        for number in range(2):
            inside.append(is_judged_above(shield))
            yield number

    outside = [is_judged_above(shield) for _ in stepping(shield, source())]
    assert (inside, outside) == ([True, True], [False, False])
    assert not is_judged_above(shield)


async def test_an_async_stream_is_too_and_two_shields_are_two(shield: Shield) -> None:
    other = Shield(events_enabled=False)
    seen: list[tuple[bool, bool]] = []

    async def source() -> AsyncIterator[int]:
        seen.append((is_judged_above(shield), is_judged_above(other)))
        yield 1

    stream = astepping(shield, source())
    with judged_by(other):
        await anext(stream)
        assert is_judged_above(other)
        assert not is_judged_above(shield)
    await stream.aclose()
    assert seen == [(True, True)]


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_what_we_cannot_read_goes_as_fail_mode_says(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    monkeypatch.setattr(OurFault, "RAISES", False)
    shield = Shield(events_enabled=False, fail_mode=mode)
    check = Checkpoint(shield, "toy")

    def read() -> str:
        raise ZeroDivisionError

    if mode == "open":
        assert check.own("reading", read, "theirs") == "theirs"
    else:
        with pytest.raises(ShieldBlockedError, match="Shield failed while reading"):
            check.own("reading", read, "theirs")
    assert shield.stats["faults_total"] == 1

"""Puts model libraries and frameworks under one Shield as they are loaded, in a program that does not know.

Which there are is said in two tables; how one is guarded is known to its `rune.integrations` module, which is
loaded with the library and never before. What cannot be guarded is left as it is, whole, and named on stderr.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from rune.shield.faults import our_fault

CLIENTS = {
    "openai": ("OpenAI", "AsyncOpenAI"),
    "anthropic": ("Anthropic", "AsyncAnthropic"),
}
"""By library: the classes whose instances are guarded, those of their subclasses too."""


class Framework(NamedTuple):
    """What is guarded of a framework once a module of it is loaded, and who knows how."""

    name: str
    integration: str
    guard: str
    what: str


FRAMEWORKS = {
    "langchain_core.language_models.chat_models": Framework(
        "langchain-core", "langchain_models", "guard_models", "models"
    ),
    "langchain_core.tools.base": Framework("langchain-core", "langchain_tools", "guard_tools", "tools"),
    "agents": Framework("openai-agents", "openai_agents", "guard_agents", "models and tools"),
    "pydantic_ai": Framework("pydantic-ai-slim", "pydantic_ai", "guard_agents", "agents"),
    "crewai": Framework("crewai", "crewai", "guard_crews", "models and tools"),
    "fastapi": Framework("fastapi", "fastapi", "guard_apps", "applications"),
}
"""By module; it is whole when it is guarded."""
GUARDED = "__rune_guarded__"
_faults: list[str] = []
"""What failed before there was a Shield to count it."""


@functools.cache
def shield() -> Any:  # noqa: ANN401 - a Shield, whose module is slow to import
    """The Shield of this process, made of the environment when it is first needed; alone without a key."""
    from rune.shield.shield import Shield  # noqa: PLC0415 - only programs that use a model pay for it

    has_key = any(os.environ.get(name) for name in ("RUNE_API_KEY", "RUNE_API_KEY_FILE"))
    made = Shield() if has_key else Shield(events_enabled=False)
    for _ in _faults:
        made.guard.count_fault()
    return made


def install() -> None:
    """Guard the libraries that are loaded from now on, and those that are loaded already."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in (*CLIENTS, *FRAMEWORKS):
        if name in sys.modules:
            guard(sys.modules[name])


def guard(module: ModuleType) -> None:
    """Guard a library; where that cannot be, say so on stderr: nobody should believe otherwise.

    Raises ImportError instead where the fail mode is closed, so that the program does without the library.
    """
    framework = FRAMEWORKS.get(module.__name__)
    name, what = (framework.name, framework.what) if framework else (module.__name__, "clients")
    why = "a fault of Rune's own"
    with our_fault(f"guarding {name}") as fault:
        why = _refused(_guard_framework if framework else _guard_clients, module)
    if fault.happened:
        _faults.append(name)
    if why:
        _tell(f"rune run: {what} of {_versioned(name)} are NOT guarded: {why}")


def _tell(words: str) -> None:
    if os.environ.get("RUNE_FAIL_MODE") == "closed":
        raise ImportError(f"{words}; RUNE_FAIL_MODE is closed, so it is not loaded")
    print(words, file=sys.stderr)  # noqa: T201 - there is no logger that anybody reads


def _refused(act: Callable[[ModuleType], None], module: ModuleType) -> str:
    """Why a library is not guarded, where it was found out before anything was changed."""
    from rune.errors import RuneError  # noqa: PLC0415 - loaded with the first library

    try:
        act(module)
    except (ImportError, AttributeError, RuneError) as error:
        return str(error)
    return ""


def _versioned(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only who reports pays for it

    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def _guard_framework(module: ModuleType) -> None:
    framework = FRAMEWORKS[module.__name__]
    paths = tuple(filter(None, os.environ.get("RUNE_RUN_HTTP_PATHS", "").split(",")))
    if framework.integration == "fastapi" and not paths:
        return  # most of what an application serves is no talk with a model
    integration = import_module(f"rune.integrations.{framework.integration}")
    tells = os.environ.get("RUNE_RUN_ON_BLOCK") == "tool_error"
    everywhere = import_module("rune.integrations.everywhere").Everywhere(
        shield, "tool_error" if tells else "raise", paths
    )
    getattr(integration, framework.guard)(module, everywhere)


def _guard_clients(module: ModuleType) -> None:
    shield_client = import_module(f"rune.integrations.{module.__name__}").shield_client
    for kind in [getattr(module, name) for name in CLIENTS[module.__name__]]:
        _guard_class(kind, shield_client)


def _guard_class(kind: Any, shield_client: Any) -> None:  # noqa: ANN401 - a class of theirs
    made = kind.__init__

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as theirs
        made(self, *args, **kwargs)
        if not getattr(self.__class__, GUARDED, False):
            twin: Any = shield_client(self, shield=shield())
            ours: Any = twin.__class__
            setattr(ours, GUARDED, True)
            self.__class__ = ours

    kind.__init__ = init


class _Finder(MetaPathFinder):
    """Finds what others find, and guards it once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in CLIENTS and fullname not in FRAMEWORKS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find is not None and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    """Loads as the library's own loader does, then guards."""

    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        guard(module)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - resources and sources of the library
        return getattr(self._inner, name)

"""Puts clients of model libraries under one Shield as they are made, in a program that knows nothing of it.

Which libraries there are is said in one table; how one is guarded is known to its `rune.integrations` module.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

CLIENTS = {
    "openai": ("OpenAI", "AsyncOpenAI"),
    "anthropic": ("Anthropic", "AsyncAnthropic"),
}
"""By library: the classes whose instances are guarded, those of their subclasses too."""
GUARDED = "__rune_guarded__"


@functools.cache
def shield() -> Any:  # noqa: ANN401 - a Shield, whose module is slow to import
    """The Shield of this process, made of the environment at the first client; alone without a key."""
    import os  # noqa: PLC0415 - as below

    from rune.shield.shield import Shield  # noqa: PLC0415 - only programs that make a client pay for it

    has_key = any(os.environ.get(name) for name in ("RUNE_API_KEY", "RUNE_API_KEY_FILE"))
    return Shield() if has_key else Shield(events_enabled=False)


def install() -> None:
    """Guard the libraries that are loaded from now on, and those that are loaded already."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in CLIENTS:
        if name in sys.modules:
            guard(sys.modules[name])


def guard(module: ModuleType) -> None:
    """Guard a library's clients; where that cannot be, say so on stderr: nobody should believe otherwise."""
    try:
        shield_client = import_module(f"rune.integrations.{module.__name__}").shield_client
    except (ImportError, AttributeError) as error:
        print(f"rune run: clients of {module.__name__} are NOT guarded: {error}", file=sys.stderr)  # noqa: T201 - as the sentence says
        return
    for name in CLIENTS[module.__name__]:
        _guard_class(getattr(module, name), shield_client)


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
        if fullname not in CLIENTS:
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


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

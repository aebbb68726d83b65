"""What logs and exec are aimed at: a service or an instance, in the words that people type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.store.base import Store
from rune.errors import InvalidArgument, NotFound

FORMS: Final[Mapping[str, tuple[type[Service | Instance], ...]]] = {
    "": (Service, Instance),
    "service": (Service,),
    "svc": (Service,),
    "instance": (Instance,),
    "inst": (Instance,),
}


def find(store: Store, namespace: str, text: str) -> Service | Instance:
    """What `api`, `service/api`, `svc/api`, `instance/ID` or `inst/ID` names; a service is tried first.

    Raises InvalidArgument for another form, NotFound when there is none in the namespace.
    """
    form, slash, name = text.rpartition("/")
    if form not in FORMS or not name or bool(slash) is not bool(form):
        raise InvalidArgument(
            f"invalid resource target: {text!r} is neither NAME nor service/NAME nor instance/ID"
        )
    for kind in FORMS[form]:
        found = store.find(kind, namespace, name)
        if found is not None:
            return found
    what = " or ".join(kind.KIND for kind in FORMS[form])
    raise NotFound(f"{what} not found: {namespace}/{name}")

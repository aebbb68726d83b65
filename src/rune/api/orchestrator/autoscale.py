"""Autoscale: how many copies a service has, by what they have to do."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from rune.api.fields import Count, Message, Scale, Seconds, Timestamp

COOLDOWN: Final = 300
MOST: Final = 1_000_000_000


class Autoscale(Message):
    """How many copies run, by what they have to do; the service's `scale` is where it begins."""

    enabled: bool = True
    """False leaves the number to whoever scales it."""
    min: Annotated[int, Meta(ge=1, le=10_000, extra={"proto": "int32"})] = 1
    """The fewest copies."""
    max: Scale
    """The most copies."""
    metric: Annotated[str, Meta(pattern=r"^(cpu|connections|requests)?$(?!\n)")] = ""
    """`cpu` (also when empty), `connections` or `requests`: what each copy has to do, on average."""
    target: Annotated[float, Meta(gt=0, le=MOST, extra={"proto": "double"})]
    """How much of it one copy should have. cpu: percent of its request, without one of its limit, without
    either of one core. connections: open at a time. requests: new connections a second, since the balancer
    looks into none; one that is kept open for many requests counts once."""
    cooldown: Seconds = COOLDOWN
    """How long fewer copies must have been enough before some are ended."""
    step: Count = 0
    """The most copies to add or end at a time; 0 is as many as there are (4 at least) to add, all to end."""


class Autoscaling(Message):
    """How it is with the autoscale of a service."""

    reason: str = ""
    """One word: Steady, ScaledUp, ScaledDown, CoolingDown, AtMax, ByHand, Resting, Waiting or Unmeasured."""
    message: str = ""
    """The same in a sentence, with what was measured."""
    observed: float = 0.0
    """What one copy had to do on average when it was last written down, as `target` counts it."""
    scaled_at: Timestamp = None
    """When it last changed the number of copies."""
    held_until: Timestamp = None
    """Somebody scaled it by hand: until then nothing is changed."""

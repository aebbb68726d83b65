"""Shields for tests."""

from __future__ import annotations

from shields import faults_are_raised, plane, shield

__all__ = ["faults_are_raised", "plane", "shield"]

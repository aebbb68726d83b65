"""Plane 2, agent security: handlers of events, agents, policies and alerts, and what raises alerts."""

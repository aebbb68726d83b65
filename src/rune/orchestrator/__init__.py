"""Plane 1: services, instances and what keeps them running."""

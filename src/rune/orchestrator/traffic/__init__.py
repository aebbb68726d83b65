"""The traffic of services: addresses of their own, and connections spread over the copies that are ready."""

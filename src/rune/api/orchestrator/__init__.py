"""The orchestrator's part of the contract: one module a noun, package `rune.api` on the wire."""

"""Runed's doors. Each is a loop over `rune.api.OPERATIONS`: bytes in, one dispatcher, bytes out."""

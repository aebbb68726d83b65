"""The server `runed`, which is put together here alone."""

"""What is wanted and what was seen: every resource, in one ordered log of revisions."""

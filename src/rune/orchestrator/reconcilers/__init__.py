"""Each closes one gap between what is wanted and what was seen, from whatever state it finds."""

"""What Rune offers: every operation and every kind, declared once."""

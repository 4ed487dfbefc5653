"""``clawproto demo``."""

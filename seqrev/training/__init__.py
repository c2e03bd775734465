"""Training: a ``Trainer`` that yields typed events, and what it is made of."""

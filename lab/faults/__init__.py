"""Points, actions and the stepper that freezes a copy and releases it."""

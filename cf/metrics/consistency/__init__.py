"""Whether subject, background and style stay the same."""

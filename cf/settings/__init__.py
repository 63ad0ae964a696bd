"""What a person types or a file says, checked and built into objects."""

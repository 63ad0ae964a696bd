"""Videos from a trained network as people want them: many, taken up again, told as they come."""

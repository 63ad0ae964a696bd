"""How a student is rolled out for training, how gradient reaches it, and how it starts."""

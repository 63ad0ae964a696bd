"""Distance to reference videos."""

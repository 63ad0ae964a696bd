"""The long-video benchmark: contestants make the same videos, and all are measured as they come."""

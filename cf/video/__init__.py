"""Video files: read by timestamp, written as they are made, shown on a sheet."""

"""Lightning callbacks and loggers: what a run shows and keeps."""

"""Training runs as folders: begun, stopped, moved, resumed, and the networks that they export."""

"""Networks: the video transformer, its checkpoints, codecs and text encoders."""

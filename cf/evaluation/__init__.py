"""Measurement of video files from any source."""

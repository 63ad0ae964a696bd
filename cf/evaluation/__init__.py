"""Measuring video files, whoever made them."""

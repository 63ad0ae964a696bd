"""Procedurally drawn worlds: videos whose every cell, camera and place is known."""

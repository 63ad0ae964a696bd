"""OpenCV, or in one line what to install where the libraries of its windows are missing."""

try:
    import cv2
except ImportError as error:
    raise ImportError(
        f"OpenCV cannot be loaded ({error}): install libGL (Debian: apt install libgl1), or its "
        "twin without windows: pip uninstall -y opencv-python; "
        "pip install opencv-python-headless"
    ) from error

__all__ = ["cv2"]

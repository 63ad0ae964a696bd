"""Where training clips come from: folders of real videos, or a little drawn world."""

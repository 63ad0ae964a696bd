"""Video files: read by timestamp, written as they are made, shown on a sheet."""

import gc
import os

# Whoever frees a codec waits for its threads, and a fork, such as a DataLoader's worker, has none
# of them: it would wait for ever. So what the parent left behind is not collected in a fork.
os.register_at_fork(after_in_child=gc.freeze)

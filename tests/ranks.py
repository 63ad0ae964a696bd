"""Work on two processes that are as warm as this one, as a cluster's launcher begins them."""

import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any


def on_two(work: Callable[[], Any]) -> list[int]:
    """The exit statuses of some work on two ranks, forks that Lightning takes for torchrun's.

    Args:
        work: done by both; distributed training in it finds `trainer.devices=2` begun already.

    Returns:
        0 where it went well, of rank 0 and of rank 1.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    sys.stdout.flush()
    children = [_begun(work, rank, port) for rank in range(2)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _begun(work: Callable[[], Any], rank: int, port: str) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        ranks = dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2")
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0"}
        os.environ.update(ranks | sizes | place | {"TORCHELASTIC_RUN_ID": "test"})
        work()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)

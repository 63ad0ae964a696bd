"""Numbers of things, in words that agree with them."""


def so_many(count: int, noun: str) -> str:
    """A number and its noun, which is plural unless the number is 1.

    Args:
        count: of the things.
        noun: one of them; its plural ends in s.

    >>> so_many(1, "video"), so_many(0, "video"), so_many(2, "prompt")
    ('1 video', '0 videos', '2 prompts')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

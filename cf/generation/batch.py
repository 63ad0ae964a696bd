"""A batch of videos, block by block, from nothing or from where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.generation.clock import GenerationClock, Timing
from cf.generation.files import VideoFiles
from cf.generation.requests import VideoRequest
from cf.generation.streams import Decoding
from cf.generation.typed_prompts import TypedPrompts
from cf.generation.unfinished import Unfinished
from cf.runs.block_stream import BlockStream
from cf.runs.generator import Generator
from cf.runs.key_frames import KeyFrame
from cf.system.signals import Stop
from cf.types import Video

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("cf.generate")
Texts = list[tuple[int, list[str]]]
"""From which new pixel frame on each video has which text."""


@dataclass(frozen=True)
class VideoBatch:
    """Videos that are made at once.

    Attributes:
        prefix: frames that all of them go on from; None: they begin with nothing.
        frames: new ones of each video.
        typed: where further texts come from; None: the scripts say all.
        images: key-frames that the context keeps.
        overlap: decode on a GPU while the next block is denoised.
        watch: is given all new frames as they were made, before they are bytes.
    """

    generator: Generator
    videos: Sequence[VideoRequest]
    folder: Path
    prefix: Video | None
    frames: int
    seed: int
    typed: TypedPrompts | None = None
    images: Sequence[KeyFrame] = ()
    overlap: bool = False
    watch: Callable[[Video], None] | None = None

    def make(
        self,
        unfinished: Unfinished,
        stop: Stop,
        bar: tqdm[Any],
        saved: dict[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Write the videos, and say what is to be recorded of each.

        Args:
            unfinished: where the state is saved meanwhile.
            stop: asks to end, which is done between two blocks if the state can be saved.
            bar: shows the frames that are written.
            saved: a state of these videos to go on from.

        Raises:
            Stopped: it was asked to end.
            ValueError: the state does not belong to the files that are there.
        """
        clock = GenerationClock(self.generator.network.device)
        if saved is not None:
            clock.timing = Timing(**saved["timing"])
        texts = self._texts() if saved is None else saved["texts"]
        blocks, pixels = self._begin(texts, clock, saved)
        total = self.frames + (0 if self.prefix is None else self.prefix.shape[1])
        paths = [self.folder / f"{request.name}.mp4" for request in self.videos]
        start = (paths, self.generator.fps, self.generator.size, total, total - self.frames)
        with VideoFiles(*start, None if saved is None else saved["files"]) as files:
            if saved is not None:
                bar.update(files.done * len(paths))
            self._show(pixels, files, clock, bar, new=False)
            stop.waits = unfinished.seconds is not None
            decoding = Decoding(self.generator.network.device, self.overlap)
            while files.done < total:
                self._listen(blocks, texts)
                with clock.part("denoise"):
                    latents = blocks.denoise()
                with decoding.of(latents):
                    with clock.part("decode"):
                        video = blocks.decode(latents)
                    self._show(video, files, clock, bar, new=True)
                if unfinished.due or (stop.waits and stop.asked):
                    decoding.wait()
                    state = {"blocks": blocks.saved(), "files": files.saved(), "texts": texts}
                    unfinished.save(list(self.videos), {**state, "timing": clock.saved()})
                stop.now()
            stop.waits = False
        clock.spent("write", files.seconds)
        clock.settle()
        clock.made(0)
        files.write_sheets()
        return {
            request.name: self._recorded(i, texts, clock) for i, request in enumerate(self.videos)
        }

    def _texts(self) -> Texts:
        """Those of the scripts, or the first that is typed."""
        first = self.videos[0].script
        if self.typed is not None:
            begin = first[0][1] or self.typed.first()
            return [(0, [begin] * len(self.videos))]
        fps = self.generator.fps
        return [
            (round(at * fps), [request.script[act][1] for request in self.videos])
            for act, (at, _) in enumerate(first)
        ]

    def _begin(
        self, texts: Texts, clock: GenerationClock, saved: dict[str, Any] | None
    ) -> tuple[BlockStream, Video | None]:
        """The stream, and the pixels of the given frames if they are still to be written."""
        script = [(at, self.generator.conditioning(lines)) for at, lines in texts]
        numbers = [request.sample for request in self.videos]
        clock.made(0)  # texts are not counted
        prefix = self.prefix if saved is None else None
        blocks = self.generator.begin(prefix, script, self.seed, numbers)
        if saved is None:
            blocks.pin(self.images)
        else:
            blocks.restore(saved["blocks"])
        pixels = None if blocks.given is None else blocks.decode(blocks.given)
        return blocks, pixels

    def _show(
        self,
        video: Video | None,
        files: VideoFiles,
        clock: GenerationClock,
        bar: tqdm[Any],
        new: bool,
    ) -> None:
        """Write frames, and how fast they came."""
        if video is None:
            return
        if new and self.watch is not None:
            self.watch(video)
        count = files.add(video) * len(files.paths)
        first = clock.made(count if new else 0)
        if first:
            seconds = clock.timing.first_frame_seconds
            log.info("the first frames are there after %.2f s", seconds)
        bar.set_postfix_str(clock.timing.shown() if new else "", refresh=False)
        bar.update(count)

    def _listen(self, blocks: BlockStream, texts: Texts) -> None:
        """Let a text that was typed meanwhile hold from the next block on."""
        text = None if self.typed is None or not blocks.shown else self.typed.next()
        if text is None or text == texts[-1][1][0]:
            return
        lines = [text] * len(self.videos)
        try:
            blocks.say(blocks.shown, self.generator.conditioning(lines))
        except (ValueError, ImportError) as error:
            log.warning("%s; the text before it holds on", error)
            return
        texts.append((blocks.shown, lines))
        log.info("from %.2f s on: %s", blocks.shown / self.generator.fps, text)

    def _recorded(self, video: int, texts: Texts, clock: GenerationClock) -> dict[str, Any]:
        fps = self.generator.fps
        script = [[at / fps, lines[video]] for at, lines in texts]
        if self.typed is None:
            script = [list(act) for act in self.videos[video].script]
        return {
            "script": script,
            "seed": self.seed,
            "sample": self.videos[video].sample,
            "frames": self.frames,
            "made_with": [request.name for request in self.videos],
            "timing": clock.timing.recorded(),
        }

"""Gives every command inputs that cannot be right, and counts what it answers.

    python benchmarks/malformed.py              every input, in one process
    python benchmarks/malformed.py --processes  each in a process of its own, as a user gives it
    python benchmarks/malformed.py generate     those of one command

Right is one message that names what is wrong, an exit status that is not 0, no traceback, and
nothing left behind.
"""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path

from malformed_files import LISTS, VIDEOS, WEIGHTS, write


@dataclass(frozen=True)
class Case:
    """A command line that cannot be right.

    Attributes:
        words: one of them must be in the message; several between bars.
        begun: the work begins before the mistake is found, so that its folder stays.
    """

    command: str
    arguments: tuple[str, ...]
    words: str
    begun: bool = False


@dataclass(frozen=True)
class Answer:
    """What a command made of it."""

    status: int | str | None
    message: str
    seconds: float
    left: tuple[str, ...]

    def faults(self, case: Case) -> list[str]:
        """What is not right about it."""
        found = []
        if self.status in (0, None):
            found.append("it succeeded")
        if "Traceback" in self.message:
            found.append("a traceback")
        if not any(word in self.message for word in case.words.split("|")):
            found.append(f"no word of {case.words!r}")
        if self.message.count(f"cf.{case.command}: ") > 1:
            found.append("more than one message")
        if self.left and not case.begun:
            found.append(f"left behind: {', '.join(self.left[:3])}")
        return found


def _of(command: str, table: str, *base: str) -> list[Case]:
    """A case a line: arguments, two spaces, words."""
    cases = []
    for line in table.strip().splitlines():
        given, _, words = line.strip().rpartition("  ")
        cases.append(Case(command, (*base, *given.strip().split(" ; ")), words.strip()))
    return cases


GENERATE = """
size=64  height and width
size=[0,0]  height and width
size=[1,2,3]  height and width
size=[48]  height and width
size=[a,b]  height and width
size=[-8,8]  height and width
prompts=5  [[seconds,text]
prompts=[a]  [[seconds,text]
prompts=[[a,b]]  [[seconds,text]
prompts=[[1,late]]  begin at 0
prompts=[[0,a],[0,b]]  rising
prompts=[[0,a],[inf,b]]  [[seconds,text]
prompts=[[0,a] ; prompt=b  prompts|not both
prompt=a ; prompts=[[0,b]]  not both
seed=abc  whole number
seed=1.5  whole number
seed=-1  whole number
seed=99999999999999999999  whole number
fps=fast  number above 0
fps=0  number above 0
fps=-8  number above 0
fps=100000  to 1000
fps=nan  got nan
seconds=inf  got inf
seconds=nan  got nan
seconds=-1  got -1
seconds=0  got 0
seconds=long  got 'long'
seconds=[1]  got [1]
samples=1.5  whole number
samples=0  got 0
samples=many  got 'many'
given_seconds=-1  got -1
given_seconds=1  give video
device=mps  there are auto, cpu
device=gpu  there are auto, cpu
device=cuda:99  there are auto, cpu
device=tpu  there are auto, cpu
device=  there are auto, cpu
dtype=float7  bfloat16
dtype=int8  bfloat16
dtype=null  bfloat16
sampling=fast  by its parts
sampling.sampler=best  renoise
sampling.num_steps=0  sampling.num_steps
sampling.num_steps=1.5  sampling.num_steps
sampling.context_noise=2  sampling.context_noise
sampling.recent_frames=-1  sampling.recent_frames
sampling.steps=4  sampling
sampel=1  samples
+sampel=1  samples
++seeds=1  seed
memory=slow_fsat  slow_fast
memory=  memory
switch=maybe  recache
model=huge  tiny
codec=jpeg  pixels
text=bert  umt5
rollout=fast  blockwise
memory=sliding ; memory.window=3  window_frames
memory=sliding ; memory.window_frames=x  whole number
memory=sliding ; +memory.window=3  window_frames
foo  name=value
=  name=value
=5  name=value
a=b=c  no setting 'a'
seed=1,2  -m
seed=[1  seed
seed=1}  seed
--helpp  --help
--config-dir=nowhere  nowhere
--config-name=nothing  nothing
video=nowhere.mp4  nowhere.mp4
video=.  a folder
image=/dev/null  /dev/null
image=nowhere.png  nowhere.png
video=clip.mp4 ; image=clip.png  not both
-m ; seed=1,x  got 'x'
-m ; prompt='a','b' ; samples=0  got 0
hydra.run.dir=file.txt/a  file.txt
"""
BARE = """
checkpoint=  checkpoint
checkpoint=nowhere  nowhere
checkpoint=dead_link  link
checkpoint=/dev/null  /dev/null
checkpoint=pipe  pipe
checkpoint=loop  loop
checkpoint=empty  empty
seconds=1  checkpoint must be given
"""
FIT = """
seconds=1  seconds
data.folder=nowhere  nowhere
data.folder=file.txt  file.txt
data.folder=empty  empty
data.folder=dead_link  dead_link
data.folder=  data.folder
data.folder=. ; data.fsp=3  data.fps
data.folder=. ; data.fps=fast  data.fps
data.folder=. ; data.fps=nan  data.fps
data.folder=. ; data.size=32  data.size
data.folder=. ; data.clip_frames=x  data.clip_frames
data.folder=. ; data.batch_size=1.5  data.batch_size
data.folder=. ; trainer.max_steps=many  trainer.max_steps
data.folder=. ; trainer=tpu  trainer
data.folder=. ; optimizer=sgdd  optimizer
data.folder=. ; optimizer.lr=big  optimizer.lr
data.folder=. ; optimizer.lr=nan  optimizer.lr
data.folder=. ; model.num_heads=5  num_heads
data.folder=. ; model.dim=x  model.dim
data.folder=. ; seed=1.5  whole number
data.folder=. ; seed=-1  whole number
data.folder=. ; seed=5000000000  whole number
data.folder=. ; phases=5  phases
data.folder=. ; experiment=none_such  experiment
data.folder=. ; module=distil  distill
data.folder=. ; memory=slow_fsat  slow_fast
data.folder=. ; start.student.path=nowhere  nowhere
data.folder=. ; module.ema_decay=x  ema_decay
resume=nowhere  not the folder of a run
resume=file.txt  not the folder of a run
resume=empty  not the folder of a run
resume=dead_link  not the folder of a run
resume=broken_run  config.yaml
resume=list_run  config.yaml
-m ; data.folder=. ; seed=0,x  got 'x'
-m ; sweep=seed_ablatoin  seed_ablation
-m ; sweep=seed_ablation ; sweep.seeds=5  sweep.seeds
"""
EVALUATE = """
seconds=1  videos must be given
videos=nowhere  nowhere
videos=empty  empty
videos=file.txt  file.txt
videos=/dev/null  /dev/null
videos=pipe  pipe
videos=[]  videos
videos=[clip.mp4,,clip.mp4]  between commas
videos={a}  name: path
videos={é:clip.mp4}  English letters
videos=[empty,empty]  empty
videos=clip.mp4 ; seconds=0  seconds
videos=clip.mp4 ; seconds=nan  seconds
videos=clip.mp4 ; size=[0,8]  size
videos=clip.mp4 ; device=tpu  tpu
videos=clip.mp4 ; piece_megabytes=0  piece_megabytes
videos=clip.mp4 ; piece_megabytes=x  piece_megabytes
videos=clip.mp4 ; pattern=(  regular expression
videos=clip.mp4 ; pattern=.*  needs a group
videos=clip.mp4 ; pattern=(?P<prompt>x)  does not match
videos=clip.mp4 ; metrics=non  metrics
videos=clip.mp4 ; metrics=none  at least one metric
videos=clip.mp4 ; +metrics.mine._target_=my.Metric  my
videos=clip.mp4 ; +metrics.mine._target_=os.system  mine|os.system
videos=clip.mp4 ; +metrics.temporal_flickering.window=0  window
videos=clip.mp4 ; extractor=vgg  extractor
videos=clip.mp4 ; resume=nowhere  not the folder of an evaluation
videos=clip.mp4 ; resume=empty  not the folder of an evaluation
videos=clip.mp4 ; resum=a  resume
"""
BENCHMARK = """
durations=6  [10,30]
durations=[]  durations
durations=[3,2]  durations
durations=[-1]  durations
durations=[inf]  durations
networks=[a,b]  {mine: RUN}
networks=run  {mine: RUN}
networks={é:a}  English letters
workers=-1  workers
workers=1.5  workers
chunk_frames=0  chunk_frames
shown=-1  shown
shown=all  shown
unequal=maybe  refuse, show
devices=[cpu,tpu]  tpu
devices=mps  mps
headline=5  headline
gates=5  gates
gates.loop_rate=5  gates
gates.loop_rate=[1]  gates
pareto=5  pareto
pareto.up=5  pareto.up
report=maybe  true or false
seed=x  whole number
single_file=maybe  true or false
contestants=nobody  contestants
suite=smok  smoke
contestants.x.folder=nowhere ; +contestant@contestants.x=imported  contestants.x.folder
suite=moviegen  asked.file
suite=moviegen ; asked.file=nowhere.txt  nowhere.txt
suite=moviegen ; asked.file=empty  empty
asked.worlds=0  worlds
asked.seeds=[0,0]  twice
asked.wrlds=3  asked.worlds
"""
RECALL = """
worlds=0  worlds
worlds=1.5  worlds
frames=0  frames
given=500  less than
lags=5  [8,16]
lags=[]  lags
lags=[0]  [8,16]
batch_size=0  batch_size
workers=0  workers
shown=-1  shown
device=gpu  gpu
seed=x  whole number
oracle=nowhere  nowhere
students={a:nowhere}  nowhere
students=a  {mine: RUN}
data=films  data
memories=5  memories
"""
OTHERS = [
    *_of("recall", "seed=1  students must be given"),
    *_of(
        "memory_map",
        """
        memories=5  memories
        memories=[slidign]  slidign
        memory=slidign  sliding
        num_steps=0  num_steps
        story=5  story
        story.frames=0  story.frames
        story.grid=[1]  story.grid
        story.grid=[0,1]  story.grid
        story.block_frames=x  story.block_frames
        memory=sliding ; memory.sink=3  sink_frames
        """,
    ),
    *_of(
        "demo",
        """
        seed=x  seed
        seed=-1  seed
        study=huge  claim
        videos=nowhere  nowhere
        videos=file.txt  file.txt
        on_videos.seconds=0  on_videos.seconds
        on_videos=5  on_videos
        fit=5  fit
        """,
    ),
    *_of(
        "compare",
        """
        runs=null  runs must be given
        nowhere  nowhere
        nowhere/*  nowhere
        empty  empty
        file.txt  file.txt
        full=nowhere  nowhere
        a/b=empty  cannot name a group
        groups=5  groups
        runs=[]  runs must be given
        latin.csv ; latin.csv  latin.csv
        binary.csv ; file.txt  binary.csv|file.txt
        """,
    ),
]
_TERMS = ("asked.fps=8", "asked.size=[16,16]", "contestants=smoke")
CASES = [
    *_of("generate", GENERATE, "checkpoint=."),
    *_of("generate", BARE),
    *_of("fit", FIT, "callbacks.samples.every_steps=1000"),
    *_of("evaluate", EVALUATE),
    *_of("benchmark", BENCHMARK, "suite=smoke"),
    *_of("recall", RECALL, "oracle=."),
    *OTHERS,
    *(Case("generate", (f"checkpoint={name}", "seconds=1"), name) for name in WEIGHTS),
    *(Case("evaluate", (f"videos={name}",), name, name in VIDEOS) for name in chain(VIDEOS, LISTS)),
    *(Case("benchmark", ("suite=vbench", f"asked.file={name}", *_TERMS), name) for name in LISTS),
]
"""Everything that is tried."""


def answered(case: Case, folder: Path, processes: bool = False) -> Answer:
    """What the command answers, given in `folder`."""
    before = _there(folder)
    began = time.perf_counter()
    status, message = (_started if processes else _called)(case, folder)
    seconds = time.perf_counter() - began
    return Answer(status, message, seconds, tuple(sorted(_there(folder) - before)))


def _started(case: Case, folder: Path) -> tuple[int | str | None, str]:
    command = [sys.executable, "-m", f"cf.{case.command}", *case.arguments]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.returncode, done.stderr


def _called(case: Case, folder: Path) -> tuple[int | str | None, str]:
    arguments, place = sys.argv, Path.cwd()
    sys.argv = [case.command, *case.arguments]
    os.chdir(folder)
    told = io.StringIO()
    status: int | str | None = 0
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            import_module(f"cf.{case.command}").main()
    except SystemExit as left:
        status = left.code
    except Exception as error:
        told.write(f"Traceback: {type(error).__name__}: {error}")
        status = 1
    finally:
        sys.argv = arguments
        os.chdir(place)
    return status, told.getvalue()


def _there(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*")}


def main() -> None:
    """Try everything, print what is not right, and count."""
    given = [one for one in sys.argv[1:] if one != "--processes"]
    chosen = [one for one in CASES if not given or one.command in given]
    logging.raiseExceptions = False
    warnings.simplefilter("ignore")
    tally: dict[str, int] = {"right": 0}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as place:
        write(Path(place))
        for case in chosen:
            answer = answered(case, Path(place), "--processes" in sys.argv)
            faults = answer.faults(case)
            slowest = max(slowest, answer.seconds)
            for fault in faults:
                kind = fault.split(":")[0].split(" of ")[0]
                tally[kind] = tally.get(kind, 0) + 1
            tally["right"] += not faults
            if faults:
                line = f"cf.{case.command} {' '.join(case.arguments)}"
                told = " ".join(answer.message.split())[-300:]
                sys.stdout.write(f"{line}\n  {'; '.join(faults)}\n  {told}\n")
    sys.stdout.write(json.dumps({"cases": len(chosen), **tally, "slowest": round(slowest, 1)}))
    sys.stdout.write("\n")
    sys.exit("a traceback" in tally)


if __name__ == "__main__":
    main()

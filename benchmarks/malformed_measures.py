"""Command lines of the other commands that cannot be right: arguments, two spaces, words."""

EVALUATE = """
seconds=1  videos must be given
videos=clip.mp4,empty.mp4  videos='[clip.mp4,empty.mp4]'
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
videos=loop  loop
videos=5  5
videos={a:5}  5
videos=clip.mp4 ; size=[0,0]  size
videos=clip.mp4 ; size=8  size
videos=clip.mp4 ; seconds=-1  seconds
videos=clip.mp4 ; seconds=[1]  seconds
videos=clip.mp4 ; device=cuda:9  cuda:9
videos=clip.mp4 ; metrics=5  metrics
videos=clip.mp4 ; +metrics.x=5  metrics.x
videos=clip.mp4 ; resume=loop  loop
videos=clip.mp4 ; resume=file.txt  not the folder of an evaluation
videos=clip.mp4 ; hydra.run.dir=file.txt/x  file.txt
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
durations=[1,a]  durations
durations=true  durations
devices=[]  devices
devices=5  devices
headline=[nothing]  nothing
headline=[]  headline
pareto.up=nothing  nothing
networks={a:loop}  loop
networks={a:pipe}  pipe
networks={a:5}  5
asked.size=[0,0]  size
asked.fps=0  fps
asked.given_seconds=-1  given_seconds
asked.worlds=1.5  worlds
asked.seeds=5  seeds
workers=true  workers
suite=moviegen ; asked.file=loop  loop
suite=moviegen ; asked.file=.  folder
suite=moviegen ; asked.file=pipe  pipe
hydra.run.dir=file.txt/x  file.txt
export_vbench=file.txt  give another folder
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
worlds=true  worlds
given=-1  given
lags=[1.5]  lags
device=cuda:9  cuda:9
students={a:5}  5
students={a:loop}  loop
shown=1.5  shown
"""
MEMORY_MAP = """
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
story.frames=x  story.frames
memories=[5]  5
docs=file.txt  give another folder
"""
DEMO = """
seed=x  seed
seed=-1  seed
study=huge  claim
videos=nowhere  nowhere
videos=file.txt  file.txt
on_videos.seconds=0  on_videos.seconds
on_videos=5  on_videos
fit=5  fit
videos=loop  loop
seed=1.5  seed
on_videos.seconds=x  on_videos.seconds
"""
COMPARE = """
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
loop  loop
pipe  pipe
broken_run  broken_run
csv_run  csv_run
groups={a:5}  5
only=5 ; empty  only
"""

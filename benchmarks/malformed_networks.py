"""Command lines of cf.generate and cf.fit that cannot be right: arguments, two spaces, words."""

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
seconds = 5  is seconds=5 meant
seconds=1,5  written seconds=1.5
size=48,80  written size=[48,80]
seconds=nan  got nan
seconds=-1  got -1
seconds=0  got 0
seconds=long  got 'long'
seconds=[1]  got [1]
samples=1.5  whole number
samples=0  got 0
samples=many  got 'many'
given_seconds=-1  got -1
given_seconds=1  give video|give the file
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
fps=[8]  number above 0
fps=true  number above 0
seconds=true  got True
seconds={a:1}  seconds
samples=true  whole number
samples=[2]  whole number
samples=-3  got -3
given_seconds=x ; video=clip.mp4  got 'x'
size=[0,0]  height and width
size=[16.5,16]  height and width
size=[1000000,16]  16384
size=true  height and width
dtype=[bfloat16]  bfloat16
dtype=16  bfloat16
device=cuda:9  there are auto, cpu
device=cuda:-1  there are auto, cpu
device=5  auto, cpu
seed=true  whole number
seed=[1,2]  whole number
prompts={0:a}  [[seconds,text]
prompts=[[0]]  [[0,'a fox']
prompts=[[-1,a]]  [[seconds,text]
prompts=[[0,a],5]  [[0,'a fox']
weights=5  weights
weights=[]  weights
video=loop  loop
video=pipe  pipe
image=dead_link  dead_link
image=.  a folder
image=picture.png ; video=  video must be a path
hydra.run.dir=loop/a  loop
--config-dir=broken_configs ; memory=broken  broken
"""
BARE = """
checkpoint=  checkpoint
checkpoint=nowhere  nowhere
checkpoint=dead_link  link
checkpoint=/dev/null  /dev/null
checkpoint=pipe  pipe
checkpoint=loop  loop
checkpoint=empty  empty
model=tiny  checkpoint must be given
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
data.folder=. ; data.size=[0,0]  size
data.folder=. ; data.batch_size=0  batch_size
data.folder=. ; data.clip_frames=-1  clip_frames
data.folder=. ; optimizer.lr=-1  optimizer.lr
optimizer.lr=0,001  written optimizer.lr=0.001
data.folder=. ; trainer.max_steps=-5  max_steps
data.folder=. ; trainer.precision=float7  float7
data.folder=. ; trainer.devices=0  devices
data.folder=. ; trainer.accelerator=mps  MPSAccelerator
data.folder=. ; seed=null  seed
data.folder=. ; trust=maybe  true or false
data.folder=. ; tensorboard=5  tensorboard
data.folder=. ; phases=[a,b]  phases
data.folder=. ; phases={a:5}  phases
data.folder=. ; start.student.path=model.gguf  model.gguf
data.folder=. ; start.student.path=pointer.safetensors  lfs
data.folder=. ; start.student.path=page.safetensors  HTML
data.folder=loop  loop
data.folder=pipe  pipe
resume=loop  loop
resume=pipe  pipe
resume=  resume
resume=.  not the folder of a run
resme=empty  resume
resume=csv_run  config.yaml
resume=phases_run  phases.yaml
"""

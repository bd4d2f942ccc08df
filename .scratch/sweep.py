import sys, itertools, subprocess, os
base=dict(D=96,L=4,h=3,P=2,B=128,steps=800,lr=2e-3,decay=0.1,ts="ltg",ema=0.99)
V=[]
def add(**k): V.append({**base,**k})
add(); add(ts="shared-uniform"); add(ts="ltg:levels=4"); add(ts="ltg:loc=0.3"); add(ts="shared-logit-normal")
for lr in (1e-3,4e-3): add(lr=lr)
add(decay=1.0); add(decay=0.0); add(ema=0.995); add(ema=0.98)
for D,L,h in ((64,4,2),(64,8,2),(96,6,3),(128,4,4),(128,6,4),(128,3,4),(192,3,6)): add(D=D,L=L,h=h)
for B,s in ((64,1600),(256,400),(64,800),(128,1600),(128,3200)): add(B=B,steps=s)
add(P=1); add(P=1,D=64,h=2); add(P=1,D=64,h=2,B=64)
add(P=4,D=128,h=4); add(P=4,D=192,h=6,L=6)
if __name__=="__main__":
    n=10; procs=[]; V=V
    todo=list(enumerate(V)); running=[]
    import time
    out=os.environ.get("OUT","/tmp")
    def launch(i,v):
        code=f"import sys;sys.path.insert(0,'.scratch');import torch;torch.set_num_threads(1);from tune import run;run({v['D']},{v['L']},{v['h']},{v['P']},{v['B']},{v['steps']},{v['lr']},{v['decay']},'{v['ts']}',{v['ema']},dev='cuda')"
        return subprocess.Popen([sys.executable,"-c",code],stdout=open(f"/tmp/s{i}.txt","w"),stderr=subprocess.STDOUT)
    while todo or running:
        while todo and len(running)<n:
            i,v=todo.pop(0); running.append((i,launch(i,v)))
        time.sleep(0.5)
        running=[(i,p) for i,p in running if p.poll() is None]
    txt="".join(open(f"/tmp/s{i}.txt").read()[-900:] for i in range(len(V)))
    print(txt)

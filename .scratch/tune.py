"""quick tune: python tune.py D L P B steps lr decay_to timesteps"""
import sys, time, torch, copy, json
import patch_forcing as pf
from patch_forcing.core.registry import build
from patch_forcing.core.timesteps import TIMESTEPS
from patch_forcing.data.digits import Digits
from patch_forcing.training.ema import update_ema
from patch_forcing.training.optim import *
from patch_forcing.sampling.samplers import *
from sklearn.svm import SVC
from sklearn.datasets import load_digits
def run(D,L,heads,P,B,steps,lr,decay,ts,ema_decay=0.999,dev="cpu",max_s=1e9,bf16=False):
    data=Digits().open()
    torch.manual_seed(0)
    m=pf.PatchDiT(pf.PatchDiTConfig(input_size=8,patch_size=P,in_channels=1,hidden_size=D,depth=L,num_heads=heads,num_classes=10),data.info).to(dev)
    ema=copy.deepcopy(m).eval()
    oc=OptimizerConfig(lr=lr,warmup_steps=50,decay_to=decay,betas=(0.9,0.99))
    W=list(m.parameters()); opt=oc.build(W)
    obj=pf.PatchForcingObjective(pf.LinearPath(P),build("t",TIMESTEPS,ts))
    t0=time.time(); hist=[]
    for k in range(steps):
        b=data.batch(k,B,0)
        g=pf.CountedGenerator(0,torch.arange(B),k,device=dev)
        c=m.drop_condition(b.condition.to(dev),g.fork("label dropout").uniform()<0.1)
        with torch.autocast(dev, torch.bfloat16, enabled=bf16):
            loss=obj(m,b.x_1.to(dev),c,generator=g)
        loss.total.backward()
        apply_gradients(opt,W,oc.lr_at(k,steps),1.0)
        update_ema(ema.parameters(),W,k+1,ema_decay)
        hist.append(loss.velocity.detach())
        if time.time()-t0>max_s: print("stopped at",k); break
    tt=time.time()-t0
    h=torch.stack(hist)
    print(f"D{D} L{L} P{P} B{B} steps{steps} lr{lr} decay{decay} {ts} ema{ema_decay}: params {sum(p.numel() for p in W)/1e6:.2f}M {tt:.0f}s {tt/len(hist)*1e3:.1f}ms/step v-loss {h[-100:].mean():.4f} acc:",end=" ")
    d=load_digits(); clf=SVC(gamma=0.001,C=10).fit(d.data,d.target)
    labels=torch.arange(10,device=dev).repeat_interleave(50); seeds=list(range(500))
    x0=pf.CountedGenerator(seeds,device=dev).fork("noise").normal(1,8,8)
    for gs in (1,1.5,2,3):
        for name,n in (("euler",48),("dual-loop",12),("look-ahead",24)):
            f=pf.VelocityField(ema,labels,None if gs==1 else pf.ClassifierFreeGuidance(gs))
            r=SAMPLERS[name]()(f,x0,uniform_grid(n))
            x=((r.x_1.clamp(-1,1)+1)*8).cpu().numpy().reshape(500,64)
            print(f"g{gs} {name} {(clf.predict(x)==labels.cpu().numpy()).mean():.3f}",end=" | ")
    print(flush=True)
    return ema
if __name__=="__main__":
    a=sys.argv
    run(int(a[1]),int(a[2]),int(a[3]),int(a[4]),int(a[5]),int(a[6]),float(a[7]),float(a[8]),a[9],float(a[10]))

import os
os.environ['XLA_FLAGS']='--xla_cpu_multi_thread_eigen=true'
import re,unicodedata,zlib,time,sys
import numpy as np, jax, jax.numpy as jnp, optax
V=1<<16; S=10; T=160; D=48; H=96
TOK=re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]|\n")
CACHE={}
def ids(tok):
    r=CACHE.get(tok)
    if r is None:
        w='<'+tok[:24]+'>'
        subs=[w[i:i+n] for n in (3,4,5) for i in range(len(w)-n+1)] if len(tok)>2 else []
        if len(subs)>S-1: 
            subs=subs[::max(1,len(subs)//(S-1)+ (1 if len(subs)%(S-1) else 0))][:S-1]
        r=np.zeros(S,np.uint16); r[0]=zlib.crc32(w.encode())%(V-1)+1
        for j,x in enumerate(subs): r[j+1]=zlib.crc32(x.encode(),7)%(V-1)+1
        if len(CACHE)<400000: CACHE[tok]=r
    return r
def tokens(text): return TOK.findall(unicodedata.normalize('NFKC',text).lower())
def windows(text,most=24):
    t=tokens(text)
    if len(t)<=T: return [t]
    st=T//2; return [t[i:i+T] for i in range(0,min(len(t)-st,most*st),st)]
def encode(ws):
    out=np.zeros((len(ws),T,S),np.uint16)
    for i,w in enumerate(ws):
        for j,t in enumerate(w[:T]): out[i,j]=ids(t)
    return out
def init(key):
    k=jax.random.split(key,6)
    return dict(E=jax.random.normal(k[0],(V,D))*.1, c1=jax.random.normal(k[1],(5,D,H))*(1/np.sqrt(5*D)), b1=jnp.zeros(H), c2=jax.random.normal(k[2],(5,H,H))*(1/np.sqrt(5*H)), b2=jnp.zeros(H), o=jax.random.normal(k[3],(2*H,32))*.1, ob=jnp.zeros(32), f=jax.random.normal(k[4],(32,))*.1, fb=jnp.zeros(()))
def forward(p,x,drop=None):
    x=x.astype(jnp.int32); m=(x>0).astype(jnp.float32)
    if drop is not None:
        k1,k2=jax.random.split(drop)
        wd=(jax.random.uniform(k1,x.shape[:2])>.15).astype(jnp.float32)
        m=m.at[:,:,0].multiply(wd); td=(jax.random.uniform(k2,x.shape[:2])>.08).astype(jnp.float32); m=m*td[:,:,None]
    live=(x[:,:,0]>0).astype(jnp.float32)
    e=p['E'][x]*m[...,None]
    w=e[:,:,0]+e[:,:,1:].sum(2)/jnp.maximum(m[:,:,1:].sum(2),1)[...,None]
    h=jax.lax.conv_general_dilated(w,p['c1'],(1,),'SAME',dimension_numbers=('NWC','WIO','NWC'))+p['b1']; h=jax.nn.relu(h)
    g=jax.lax.conv_general_dilated(h,p['c2'],(1,),'SAME',rhs_dilation=(3,),dimension_numbers=('NWC','WIO','NWC'))+p['b2']; g=jax.nn.relu(g)+h
    g=g*live[...,None]
    mx=g.max(1); mean=g.sum(1)/jnp.maximum(live.sum(1),1)[:,None]
    z=jax.nn.relu(jnp.concatenate([mx,mean],1)@p['o']+p['ob'])
    return z@p['f']+p['fb']
@jax.jit
def predict(p,x): return forward(p,x)
def train(texts,labels,epochs=4,bs=64,lr=2e-3,seed=0,weights=None):
    X=encode([tokens(t)[:T] for t in texts]); y=np.array(labels,np.float32); wt=np.ones(len(y),np.float32) if weights is None else weights
    p=init(jax.random.PRNGKey(seed)); n=len(y); steps=epochs*(n//bs)
    opt=optax.chain(optax.clip_by_global_norm(1.),optax.adamw(optax.cosine_decay_schedule(lr,steps),weight_decay=1e-3)); st=opt.init(p)
    def loss(p,x,y,w,k): 
        z=forward(p,x,k); yy=y*.98+.01
        return (w*optax.sigmoid_binary_cross_entropy(z,yy)).mean()
    @jax.jit
    def step(p,st,x,y,w,k):
        l,g=jax.value_and_grad(loss)(p,x,y,w,k); u,st=opt.update(g,st,p); return optax.apply_updates(p,u),st,l
    r=np.random.default_rng(seed); key=jax.random.PRNGKey(seed+1); t0=time.time()
    for e in range(epochs):
        o=r.permutation(n); tot=0
        for i in range(0,n-bs+1,bs):
            key,k=jax.random.split(key); j=o[i:i+bs]
            p,st,l=step(p,st,X[j],y[j],wt[j],k); tot+=float(l)
        print('epoch',e,tot/(n//bs),'%.0fs'%(time.time()-t0),file=sys.stderr,flush=True)
    return p
def score(p,texts):
    ws=[]; own=[]
    for i,t in enumerate(texts):
        for w in windows(t): ws.append(w); own.append(i)
    s=np.concatenate([np.asarray(predict(p,encode(ws[i:i+256]+[[]]*(256-len(ws[i:i+256])))))[:len(ws[i:i+256])] for i in range(0,len(ws),256)])
    out=np.full(len(texts),-99.); np.maximum.at(out,np.array(own),s); return out

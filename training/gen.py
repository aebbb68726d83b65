import sys,random; sys.path.insert(0,'/work/wt/l2/training')
import spin
D='/work/wt/l2/training/corpus/'
def make(n,seed=1):
    import glob; As=[spin.read(open(f).read()) for f in sorted(glob.glob(D+'attacks*.txt'))]; Bs=[spin.read(open(f).read()) for f in sorted(glob.glob(D+'benign*.txt'))]; b=Bs[0]; r=random.Random(seed)
    bl=b['list']; 
    S=lambda t,l: spin.spin(t,l,r)
    out=[]
    def prose(k):
        o=[]
        for _ in range(k):
            if r.random()<.5: o.append(S('<prose>',bl) if r.random()<.75 else S('<hard>' if r.random()<.3 else '<ask>',bl))
            else:
                bb,f=r.choice([(b,f) for b in Bs for f in b['benign']]); o.append(S(r.choice(bb['benign'][f]),bb['list']))
        return o
    fams=[(a,f) for a in As for f in a['attack']]; bf=[(b,f) for b in Bs for f in b['benign']]
    for i in range(n):
        a,f=r.choice(fams); t=S(r.choice(a['attack'][f]),a['list'])
        if r.random()<.45:
            k=r.randint(1,8); p=prose(k); p.insert(r.randint(0,k),t); t=r.choice([' ','\n','\n\n']).join(p)
        if r.random()<.1: t=t.upper()
        elif r.random()<.2: t=t.lower()
        out.append((t,1))
    for i in range(n):
        if r.random()<.3: t=r.choice([' ','\n','\n\n']).join(prose(r.randint(1,9)))
        else:
            bb,f=r.choice(bf); t=S(r.choice(bb['benign'][f]),bb['list'])
        if r.random()<.05: t=t.upper()
        elif r.random()<.2: t=t.lower()
        out.append((t,0))
    return out
def stdlib(n,seed=2):
    import sysconfig,glob,os
    r=random.Random(seed); root=sysconfig.get_paths()['stdlib']; files=[f for f in glob.glob(root+'/**/*.py',recursive=True) if 'site-packages' not in f and os.path.getsize(f)>2000]
    import pydoc_data.topics as t
    topics=list(t.topics.values()); out=[]
    while len(out)<n:
        if r.random()<.3: s=r.choice(topics)
        else:
            try: s=open(r.choice(files),encoding='utf-8').read()
            except Exception: continue
            if r.random()<.6:
                import re
                d=re.findall(r'"""(.*?)"""',s,re.S)
                d=[x for x in d if len(x)>150]
                if not d: continue
                s=r.choice(d)
        i=r.randrange(max(1,len(s)-600)); out.append((s[i:i+r.choice([200,400,900,1500])],0))
    return out

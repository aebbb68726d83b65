from base import *; from gen import make
import wordllama, time
from sklearn.neural_network import MLPClassifier
rows=load(); X=[r['text'] for r in rows]; y=np.array([r['y'] for r in rows]); src=np.array([r['source'] for r in rows]); tier=np.array([r.get('tier','') for r in rows]); kind=np.array([r['kind'] for r in rows])
import pathlib; wl=wordllama.WordLlama.load(cache_dir=pathlib.Path(wordllama.__file__).parent,disable_download=True)
t=time.time(); E=wl.embed([x[:2000] for x in X]); print(E.shape, (time.time()-t)/len(X)*1e3,'ms')
S=make(12000); sx=[a for a,_ in S]; sy=np.array([b for _,b in S]); SE=wl.embed([x[:2000] for x in sx])
# word-ngrams hashed
def feats(fit,*others):
    v1=TfidfVectorizer(ngram_range=(1,3),sublinear_tf=True,min_df=2,token_pattern=r"(?u)\b\w+\b|[^\w\s]"); v2=TfidfVectorizer(analyzer='char_wb',ngram_range=(3,5),sublinear_tf=True,min_df=3,max_features=150000)
    A=hstack([v1.fit_transform(fit),v2.fit_transform(fit)]).tocsr()
    return A,[hstack([v1.transform(o),v2.transform(o)]).tocsr() for o in others]
print('synth only: MLP on wordllama')
m=MLPClassifier((64,),max_iter=30,early_stopping=True,random_state=0).fit(SE,sy); s=np.log(m.predict_proba(E)[:,1]+1e-9)-np.log(m.predict_proba(E)[:,0]+1e-9); report(y,s,src,tier,kind)
s1=np.zeros(len(y)); s2=np.zeros(len(y))
for f in FOLDS:
    te=np.isin(src,list(f)); tr=~te & (src!='alpaca_train')
    A,(B,)=feats([X[i] for i in np.where(tr)[0]]+sx,[X[i] for i in np.where(te)[0]])
    yy=np.r_[y[tr],sy]
    m=LogisticRegression(C=3,max_iter=200).fit(A,yy); s1[te]=m.decision_function(B)
    m=MLPClassifier((64,),max_iter=30,early_stopping=True,random_state=0).fit(np.r_[E[tr],SE],yy); p=m.predict_proba(E[te]); s2[te]=np.log(p[:,1]+1e-9)-np.log(p[:,0]+1e-9)
print('LOSO+synth ngram'); report(y,s1,src,tier,kind)
print('LOSO+synth mlp'); report(y,s2,src,tier,kind)
print('both'); report(y,s1/s1.std()+s2/s2.std(),src,tier,kind)

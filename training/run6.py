from base import *; from gen import make; import cnn
rows=load(); X=[r['text'] for r in rows]; y=np.array([r['y'] for r in rows]); src=np.array([r['source'] for r in rows]); tier=np.array([r.get('tier','') for r in rows]); kind=np.array([r['kind'] for r in rows])
from gen import stdlib; S=make(int(sys.argv[1]))+stdlib(8000); import random; random.Random(0).shuffle(S); p=cnn.train([a for a,_ in S],[b for _,b in S],epochs=int(sys.argv[2]))
s=cnn.score(p,X); report(y,s,src,tier,kind); np.save('/tmp/l2/s4.npy',s)

import sys; sys.path.insert(0,'/tmp/l2')
import gzip,json,collections,time
from rune import Shield
sh=Shield(events_enabled=False)
c=collections.defaultdict(lambda:[0,0,0]); ts=[]
for f in ('attacks','benign'):
    for l in gzip.open(f'/work/shared/eval/{f}.jsonl.gz','rt'):
        d=json.loads(l)
        if d['source']=='alpaca_train' and hash(d['id'])%4: continue
        r=sh.scan_input(d['text']) ; k=(f,d['source'],d['kind'],d.get('tier',''))
        inj=[t for t in r.threats_detected if t['type'] in('prompt_injection','jailbreak','data_exfiltration','system_prompt_leak','tool_manipulation','command_injection','invisible_text')]
        c[k][0]+=1; c[k][1]+=r.l1_result!='pass' and bool(inj); c[k][2]+=r.blocked; ts.append(r.scan_latency_ms)
tot=collections.defaultdict(lambda:[0,0,0])
for k,v in sorted(c.items()):
    print(k,v); 
    for i in range(3): tot[(k[0],k[3] if k[0]=='attacks' else k[2])][i]+=v[i]
print(dict(tot)); ts.sort(); print(ts[len(ts)//2],ts[int(len(ts)*.99)])

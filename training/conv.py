import re,sys
for name in ('attacks_en','benign_en'):
    out=[]; sec=None; comment=[]
    for line in open(f'corpus/{name}.yaml'):
        line=line.rstrip('\n')
        if line.startswith('#'): out.append(line); continue
        if re.match(r'^\w+:$',line): sec=line[:-1]; continue
        m=re.match(r'^  (\w+):(.*)$',line)
        if m:
            kind={'lists':'list','attacks':'attack','benign':'benign'}[sec]
            out.append(f'\n== {kind} {m[1]}')
            rest=m[2].strip()
            if rest:
                assert rest[0]=='[' and rest[-1]==']',rest[:80]
                out += [x.replace('\\"','"') for x in re.findall(r'"((?:\\.|[^"\\])*)"',rest)]
            continue
        m=re.match(r'^    - "(.*)"$',line)
        assert m,line
        out.append(m[1].replace('\\"','"'))
    open(f'corpus/{name}.txt','w').write('\n'.join(out)+'\n')

import time, pytest
from .test_faults import *
from .test_faults import steps_of, refuse, kill, interrupt, RUNS, COMMANDS, LONG
for _n in list(globals()):
    if _n.startswith("test_"): del globals()[_n]
PLAN=[]
for n in COMMANDS:
    for w in ("full","kill","read-only","interrupt"): PLAN.append((n,w,1,1,10**6))
for n in RUNS: PLAN.append((n,"kill",1,1,34))
for n in ("hamiltonian","xc","ksr"): PLAN.append((n,"full",1,4,10**6))
for n in ("hamiltonian","xc","ksr"): PLAN.append((n,"kill",35,6,10**6))
for n in ("hamiltonian","xc","ksr"): PLAN.append((n,"interrupt",3,9,10**6))
for n in LONG:
    PLAN.append((n,"full",1,7,10**6)); PLAN.append((n,"kill",3,9,10**6))
for n in ("hamiltonian","xc","ksr"): PLAN.append((n,"read-only",2,9,10**6))
for n in ("hamiltonian","xc","ksr"): PLAN.append((n,"full",3,4,10**6))
@pytest.mark.parametrize("name,what,first,stride,last",PLAN)
def test_sweep(cases,name,what,first,stride,last,tmp_path):
    t=time.time(); case=cases(name); bad=[]
    steps=list(range(first,min(last,steps_of(case,tmp_path/"count",what))+1,stride))
    for at in steps:
        folder=tmp_path/f"{at}"
        try:
            if what=="kill": kill(case,folder,at)
            elif what=="interrupt": interrupt(case,folder,at)
            else: refuse(case,folder,at,what)
        except AssertionError as e:
            bad.append((at,str(e)[:600]))
    with open("/tmp/d_sweep.txt","a") as f:
        f.write(f"{name} {what} from {first} by {stride}: {len(steps)} faults, {len(bad)} bad, {time.time()-t:.0f} s\n")
        for b in bad[:6]: f.write(f"    {b}\n")

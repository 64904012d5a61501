"""Writes the story from the first record (a DAG with tasks a and b) of `--show dates`."""
import copy, json, sys
base = [json.loads(line) for line in open(sys.argv[1])]
first, second = base[0], base[1]
at = [f"2026-01-01T00:{n//60:02}:{n%60:02}Z" for n in range(5, 400, 5)]
out = []
def rec(facts, by=None, scope=None):
    r = {"at": at[len(out)], "scope": scope or second["scope"], "by": by or {"Executor": "e1"}, "facts": facts}
    out.append(r)
dag = copy.deepcopy(first); 
reg = dag["facts"][0]["DagRegistered"]
for t in reg["spec"]["tasks"]:
    for k in ("start_date","end_date","depends_on_past","wait_for_downstream","ignore_first_depends_on_past","wait_for_past_depends_before_skipping"):
        t.pop(k, None)
reg["spec"]["tasks"][1]["task_id"]="m"
reg["spec"]["tasks"][1]["expand"]={"Literal":{"length":2}}
dag["at"]=at[0]; out.append(dag)
created = [f for f in second["facts"] if "RunCreated" in f or "RunStarted" in f]
q = lambda t, n, m=None, leg=None: {"TaskQueued": {"task_id": t, **({"map_index": m} if m is not None else {}), "try_number": n, **({"leg": leg} if leg else {}), "pool": "default_pool", "pool_slots": 1, "queue": "default"}}
s = lambda t, n, m=None, leg=None: {"TryStarted": {"task_id": t, **({"map_index": m} if m is not None else {}), "try_number": n, **({"leg": leg} if leg else {}), "executor": "e1", "hostname": "host", "pid": 7, "started_at": at[len(out)], "inputs": {}}}
files = lambda *d: {"pieces": [x*64 for x in d], "files": len(d), "bytes": 1000*len(d)}
sch = "Scheduler"
rec(created + [q("a", 1)], by={"User": "ada"})
rec([s("a", 1)])
rec([{"TryProgressed": {"task_id": "a", "try_number": 1, "done": 0, "said_at": at[len(out)]}}])
rec([{"CheckpointKept": {"task_id": "a", "try_number": 1, "values": {"step": "4", "best": "0.25"}}}])
rec([{"CheckpointKept": {"task_id": "a", "try_number": 1, "files": files("1", "2"), "values": {"step": "5", "best": None}}}])
rec([{"TryProgressed": {"task_id": "a", "try_number": 1, "done": 5000, "text": "epoch 5 of 10", "said_at": at[len(out)]}}])
u = {"max_rss_bytes": 1, "user_us": 1, "system_us": 1}
rec([{"TryRescheduled": {"task_id": "a", "try_number": 1, "ended_at": at[len(out)], "due": at[len(out)], "usage": u}}])
rec([q("a", 1, leg=1)], by=sch)
rec([s("a", 1, leg=1)])
rec([{"CheckpointKept": {"task_id": "a", "try_number": 1, "leg": 1, "files": files("1", "3")}}])
rec([{"TryProgressed": {"task_id": "a", "try_number": 1, "leg": 1, "done": 6000, "text": "epoch 6 of 10", "said_at": at[len(out)]}}])
rec([{"ReportRefused": {"task_id": "a", "try_number": 1, "report": w, "executor": "e2", "why": "held_by_another"}} for w in ("checkpoint", "progress")], by={"Executor": "e2"})
rec([{"TrySucceeded": {"task_id": "a", "try_number": 1, "leg": 1, "ended_at": at[len(out)], "usage": u}}, {"TaskExpanded": {"task_id": "m", "length": 2}}, q("m", 1, 0), q("m", 1, 1)])
rec([s("m", 1, 0), s("m", 1, 1)])
for m in (0, 1):
    rec([{"CheckpointKept": {"task_id": "m", "map_index": m, "try_number": 1, "files": files() if m == 0 else files("4"), "values": {"step": "1"}}}])
rec([{"TryProgressed": {"task_id": "m", "map_index": 1, "try_number": 1, "done": 10000, "text": "all", "said_at": at[len(out)]}}])
f = {"kind": "signal", "fault": "system", "message": "killed", "retryable": True}
for m in (0, 1):
    rec([{"TryFailed": {"task_id": "m", "map_index": m, "try_number": 1, "ended_at": at[len(out)], "failure": f, "usage": u}}] + ([{"RunFailed": {"failed": ["m"]}}] if m == 1 else []))
c = lambda t, **k: {"TaskCleared": {"task_id": t, **k}}
rec([{"RunCleared": {}}, c("a"), {"CheckpointDropped": {"task_id": "m", "map_index": 0}}, {"CheckpointDropped": {"task_id": "m", "map_index": 1}}, {"CheckpointDropped": {"task_id": "a"}}], by={"User": "ada"})
rec([q("a", 2)], by=sch)
rec([s("a", 2)])
rec([{"CheckpointKept": {"task_id": "a", "try_number": 2, "files": files("5"), "values": {"step": "1"}}}])
for r in out: print(json.dumps(r))

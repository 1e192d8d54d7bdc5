"""Runs one test program and judges it.

A program runs in a session of its own, without standard input, with stdout and stderr in one log. It has failed when a
result of it is `not ok`, and also when it crashes, runs over its time, gives fewer results than it planned or none at all,
when a sanitizer reported something whatever the exit code, or when it leaves a process behind.
"""
import ctypes
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field

SANITIZER = re.compile(
    r'ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error: |'
    r'SUMMARY: \w+Sanitizer|LeakSanitizer has encountered a fatal error|ERROR: libFuzzer')
RESULT = re.compile(r'^(not )?ok\b\s*(\d+)?\s*-?\s*(.*)$')
PLAN = re.compile(r'^1\.\.(\d+)(\s*#\s*skip\b(.*))?', re.I)
SKIP = re.compile(r'#\s*skip\b:?\s*(.*)$', re.I)
REASON = re.compile(r'^#\s*skip:\s*(.*)$', re.I)
FIRINGS = re.compile(r'^# fault profile (\w+) seed \d+: (\d+) firings', re.M)
EXIT_SKIPPED = 77


@dataclass
class Outcome:
    passed: int = 0
    failed: list = field(default_factory=list)    # names of results that are not ok
    problems: list = field(default_factory=list)  # what is wrong with the program as a whole
    skipped: list = field(default_factory=list)   # (name, reason)
    seconds: float = 0.0
    log: str = ''

    @property
    def failures(self):
        return len(self.failed) + len(self.problems)


def become_subreaper():
    """Orphans of a test become children of this process, so that they can be seen and reaped."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def session_members(sid):
    """(pid, is a zombie) of every process of a session but its leader."""
    found = []
    for name in os.listdir('/proc'):
        if not name.isdigit() or int(name) == sid:
            continue
        try:
            with open(f'/proc/{name}/stat') as f:
                fields = f.read().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[3]) == sid:
            found.append((int(name), fields[0] == 'Z'))
    return found


def sweep(sid, grace=1.0):
    """Reaps what the session left behind; kills what still runs after the grace. Answers the names of the killed."""
    end = time.monotonic() + grace
    killed = []
    while True:
        members = session_members(sid)
        alive = [pid for pid, zombie in members if not zombie]
        for pid, zombie in members:
            if zombie:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
        if not alive:
            return killed
        if time.monotonic() > end:
            for pid in alive:
                try:
                    with open(f'/proc/{pid}/comm') as f:
                        killed.append(f.read().strip())
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            end = time.monotonic() + grace
        time.sleep(0.02)


running = set()  # leaders of the sessions that run now


def end_all():
    """Kills every test that runs: this runner was told to stop."""
    for pid in list(running):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(argv, env, timeout, log_path, cwd):
    """Runs to the end or the timeout. Answers (exit code or None, output, seconds, names of left processes)."""
    began = time.monotonic()
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    with open(log_path, 'wb') as log:
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=cwd,
                             start_new_session=True)
        running.add(p.pid)
        try:
            code = p.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            # A sanitizer or a core would say where it hangs: ask the whole group first, then kill.
            for sig in (signal.SIGABRT, signal.SIGKILL):
                try:
                    os.killpg(p.pid, sig)
                    p.wait(3)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except ProcessLookupError:
                    break
            p.wait()
        running.discard(p.pid)
    left = sweep(p.pid, 0.0 if code is None else 1.0)
    with open(log_path, 'rb') as f:
        text = f.read().decode('utf-8', 'replace')
    return code, text, time.monotonic() - began, [] if code is None else left


def read_tap(text, out):
    """Adds the results of a TAP text to `out`; answers (planned, seen)."""
    planned, seen, reason = 0, 0, ''
    for line in text.splitlines():
        line = line.strip()
        plan, result, why = PLAN.match(line), RESULT.match(line), REASON.match(line)
        if why:
            reason = why.group(1)
        elif plan:
            planned += int(plan.group(1))
            if plan.group(2) and int(plan.group(1)) == 0:
                out.skipped.append(('all of it', plan.group(3).strip() or 'no reason given'))
        elif result:
            seen += 1
            name = result.group(3)
            skip = SKIP.search(name)
            if skip:
                # cmocka writes `not ok 3 # SKIP name`; plain TAP `ok 3 - name # SKIP reason`.
                before = name[:skip.start()].strip(' -')
                out.skipped.append((before or skip.group(1), reason or (before and skip.group(1)) or 'no reason given'))
            elif result.group(1):
                out.failed.append(name)
            else:
                out.passed += 1
            reason = ''
    return planned, seen


def judge(code, text, left, timeout, mode='auto'):
    """The outcome of a program that ended with `code` (None: over its time).

    mode: auto (TAP if there is a plan, else the exit code), tap (a plan is a must), survive (results do not matter, the
    program must only not crash, hang or be reported by a sanitizer).
    """
    out = Outcome()
    has_plan = any(PLAN.match(line.strip()) for line in text.splitlines())
    firings = FIRINGS.search(text)
    if mode == 'survive':
        if code is not None and code >= 0:
            out.passed = 1
    elif has_plan or mode == 'tap':
        planned, seen = read_tap(text, out)
        if seen < planned:
            out.problems.append(f'{seen} results of {planned} planned')
        elif not planned and not out.skipped:
            out.problems.append('executes no test')
        elif planned and not seen:
            out.problems.append('executes no test')
    elif code == 0:
        out.passed = 1
    elif code == EXIT_SKIPPED:
        out.skipped.append(('all of it', text.strip().splitlines()[-1] if text.strip() else 'no reason given'))
    if code is None:
        out.problems.append(f'ran over its time of {timeout:.0f} s')
    elif code < 0:
        out.problems.append(f'died of signal {-code} ({signal.Signals(-code).name})')
    elif SANITIZER.search(text):
        out.problems.append('sanitizer: ' + next(l.strip() for l in text.splitlines() if SANITIZER.search(l))[:200])
    elif code not in (0, EXIT_SKIPPED) and not out.failed and not out.problems and mode != 'survive':
        out.problems.append(f'exit code {code}')
    if left:
        out.problems.append('left processes behind: ' + ', '.join(left))
    if firings and int(firings.group(2)) == 0:
        out.problems.append(f'fault profile {firings.group(1)} never fired')
    if mode == 'survive' and not firings and not out.problems:
        out.problems.append('no line tells that the fault profile fired')
    if out.problems and mode == 'survive':
        out.passed = 0
    return out


def execute(job, cwd, log_path):
    code, text, seconds, left = run(job.argv, job.env, job.timeout, log_path, cwd)
    out = judge(code, text, left, job.timeout, job.mode)
    out.seconds, out.log = seconds, text
    return out
